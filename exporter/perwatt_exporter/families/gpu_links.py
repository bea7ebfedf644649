"""Families of GPU links: traffic, width and errors."""

from typing import get_args

from perwatt_agent.facts.gpu_status import FabricHealth, FabricState
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import each, entries, of_reading, of_slow_reading, only, state
from perwatt_exporter.page.family import Family

DIRECTIONS = {"direction": ("transmitted", "received")}
NVLINK_ERRORS = (
    *("crc_flit", "crc_data", "replay", "recovery", "recovery_failed", "malformed", "buffer_overrun"),
    *("received", "remote", "general", "link_integrity", "discarded"),
)
FABRIC_STATES: tuple[str, ...] = get_args(FabricState)
FABRIC_HEALTH: tuple[str, ...] = get_args(FabricHealth)

FAMILIES: tuple[Family[Snapshot], ...] = (
    of_reading(
        "perwatt_gpu_pcie_bytes_total",
        "Bytes that the GPU sent and received over PCIe, by the driver's own counters, which may wrap.",
        each(
            {
                "transmitted": lambda reading: reading.pcie_transmitted_bytes,
                "received": lambda reading: reading.pcie_received_bytes,
            }
        ),
        ("direction",),
        DIRECTIONS,
    ),
    of_reading(
        "perwatt_gpu_pcie_replays_total",
        "Packets that had to be sent again over PCIe.",
        only(lambda reading: reading.pcie_replays),
    ),
    of_slow_reading(
        "perwatt_gpu_pcie_generation",
        "PCIe generation at which the link runs now; an idle link may run slower.",
        only(lambda slow: slow.pcie_generation),
    ),
    of_slow_reading(
        "perwatt_gpu_pcie_generation_max",
        "Highest PCIe generation that this GPU can have in this slot.",
        only(lambda slow: slow.pcie_generation_max),
    ),
    of_slow_reading(
        "perwatt_gpu_pcie_lanes",
        "PCIe lanes that the link uses now.",
        only(lambda slow: slow.pcie_width),
    ),
    of_slow_reading(
        "perwatt_gpu_pcie_lanes_max",
        "Highest number of PCIe lanes that this GPU can have in this slot.",
        only(lambda slow: slow.pcie_width_max),
    ),
    of_reading(
        "perwatt_gpu_nvlink_bytes_total",
        "Bytes of data that the GPU sent and received over all of its NVLinks.",
        each(
            {
                "transmitted": lambda reading: reading.nvlink_transmitted_bytes,
                "received": lambda reading: reading.nvlink_received_bytes,
            }
        ),
        ("direction",),
        DIRECTIONS,
    ),
    of_slow_reading(
        "perwatt_gpu_nvlink_errors_total",
        "Errors on all NVLinks of the GPU, by kind; the kinds depend on the generation of the links.",
        entries(lambda slow: slow.nvlink_errors),
        ("kind",),
        {"kind": NVLINK_ERRORS},
    ),
    of_slow_reading(
        "perwatt_gpu_fabric_state",
        "1 for the state of the GPU in joining its NVLink fabric, else 0.",
        state(FABRIC_STATES, lambda slow: slow.fabric_state),
        ("state",),
        {"state": FABRIC_STATES},
    ),
    of_slow_reading(
        "perwatt_gpu_fabric_health",
        "1 for the health of the GPU's NVLink fabric as the driver reports it, else 0.",
        state(FABRIC_HEALTH, lambda slow: slow.fabric_health),
        ("health",),
        {"health": FABRIC_HEALTH},
    ),
)
