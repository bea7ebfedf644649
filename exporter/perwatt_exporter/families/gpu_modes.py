"""Families of GPU modes: settings, maximum clocks, video engines."""

from typing import get_args

from perwatt_agent.facts.gpu_status import ComputeMode, VirtualizationMode
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import each, of_slow_reading, only, state
from perwatt_exporter.page.family import Family

COMPUTE_MODES: tuple[str, ...] = get_args(ComputeMode)
VIRTUALIZATION_MODES: tuple[str, ...] = get_args(VirtualizationMode)

FAMILIES: tuple[Family[Snapshot], ...] = (
    of_slow_reading(
        "perwatt_gpu_performance_state",
        "Performance state of the GPU: 0 is the fastest, 15 the slowest.",
        only(lambda slow: slow.performance_state),
    ),
    of_slow_reading(
        "perwatt_gpu_clock_max_hertz",
        "Highest frequency that the board allows, in hertz, by clock.",
        each(
            {
                "sm": lambda slow: slow.clock_sm_max_hertz,
                "memory": lambda slow: slow.clock_memory_max_hertz,
            }
        ),
        ("clock",),
        {"clock": ("sm", "memory")},
    ),
    of_slow_reading(
        "perwatt_gpu_codec_utilization_ratio",
        "Share of the driver's latest sample period in which the video encoder or decoder worked, 0 to 1.",
        each({"encoder": lambda slow: slow.encoder_ratio, "decoder": lambda slow: slow.decoder_ratio}),
        ("codec",),
        {"codec": ("encoder", "decoder")},
    ),
    of_slow_reading(
        "perwatt_gpu_compute_mode",
        "1 for the mode that decides who may compute on the GPU, else 0.",
        state(COMPUTE_MODES, lambda slow: slow.compute_mode),
        ("mode",),
        {"mode": COMPUTE_MODES},
    ),
    of_slow_reading(
        "perwatt_gpu_persistence_enabled",
        "1 if the driver stays loaded while nobody uses the GPU.",
        only(lambda slow: slow.persistence),
    ),
    of_slow_reading(
        "perwatt_gpu_virtualization_mode",
        "1 for the virtualization mode of the GPU, else 0.",
        state(VIRTUALIZATION_MODES, lambda slow: slow.virtualization_mode),
        ("mode",),
        {"mode": VIRTUALIZATION_MODES},
    ),
    of_slow_reading(
        "perwatt_gpu_active_vgpus",
        "Virtual GPUs that run on the GPU; only on a vGPU host.",
        only(lambda slow: slow.active_vgpus),
    ),
)
