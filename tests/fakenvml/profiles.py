"""
The boards that the fake driver can play.

Sensor windows are those measured in "Part-time Power Measurements" (arXiv 2312.02741) for drivers >= 535:
what `GetPowerUsage`, POWER_AVERAGE and POWER_INSTANT average over, and how often the sensor refreshes.
A window of 0 is "not supported".
"""

from typing import Any

GIB = 1 << 30

_COMMON: dict[str, Any] = {
    "has_energy": 1,
    "has_gpu_scope": 1,
    "has_module_scope": 0,
    "has_memory_temperature": 0,
    "module_extra_watts": 0.0,
    "refresh_seconds": 0.1,
    "utilization_percent": 0,
    "memory_utilization_percent": 0,
    "temperature_core_celsius": 41,
    "temperature_memory_celsius": 52,
    "memory_used_bytes": 0,
    "vbios": "96.00.89.00.01",
    "numa_node": -1,
    "persistence": 1,
    "bar1_used_bytes": 4 << 20,
}


def _board(
    name: str, architecture: int, compute: tuple[int, int], memory_gib: int, watts: float, **more: Any
) -> dict[str, Any]:
    limits = {
        "limit_watts": watts,
        "limit_default_watts": watts,
        "limit_min_watts": round(watts * 0.3),
        "limit_max_watts": watts,
    }
    memory = {"memory_total_bytes": memory_gib * GIB, "memory_reserved_bytes": GIB * memory_gib // 128}
    identity = {
        "name": name,
        "architecture": architecture,
        "compute_major": compute[0],
        "compute_minor": compute[1],
    }
    board = {**_COMMON, **identity, **limits, **memory, "bar1_total_bytes": memory_gib * GIB, **more}
    return {**board, **_depth(architecture)}


# NVML's field ids by what they tell; every one of these starts at 0.
_ECC = (1, *range(3, 29))
_RETIRED_PAGES = (29, 30, 31)
_THROTTLE = range(74, 80)
_NEWER_THROTTLE = range(269, 272)
_REMAPPED_ROWS = range(142, 146)
_LINK_ERRORS = (38, 45, 52, 59)
_NEWER_LINK_ERRORS = range(206, 213)
_PCIE = (94, 197, 198)
_RECOVERY_ACTION = 230
_MARGINS = {193: -8, 194: -2, 195: 0, 196: 0}


def _depth(architecture: int) -> dict[str, Any]:
    """What boards of an architecture tell beyond power and load."""
    ampere, ada, hopper = architecture >= 7, architecture >= 8, architecture >= 9
    fields = dict.fromkeys((*_ECC, *_THROTTLE, 94), 0)
    fields |= dict.fromkeys(_REMAPPED_ROWS if ampere else _RETIRED_PAGES, 0)
    if ampere:
        fields |= dict.fromkeys((*_PCIE, *_NEWER_THROTTLE, _RECOVERY_ACTION), 0)
    if architecture in (7, 9):
        fields |= dict.fromkeys(_LINK_ERRORS, 0)
    if architecture >= 10:
        fields |= dict.fromkeys(_NEWER_LINK_ERRORS, 0)
    if ada:
        fields |= _MARGINS
    generation = {4: 3, 5: 3, 6: 3, 7: 4, 8: 4}.get(architecture, 5)
    return {
        "field_value": fields,
        "field_known": dict.fromkeys(fields, 1),
        # shutdown, slowdown, memory, GPU
        "threshold_celsius": (0, 0, 0, 0) if ada else (95, 92, 0, 85),
        "has_margin": int(ada),
        "margin_celsius": 46 if ada else 0,
        "pcie_generation": generation,
        "pcie_generation_max": generation,
        "pcie_width": 16,
        "pcie_width_max": 16,
        "has_gpm": int(hopper),
        "gpm_value": dict.fromkeys(range(64), 0.0),
        "fabric_state": 3 if hopper else 0,
        "fabric_health": int(hopper),
        "mig_capable": int(hopper),
    }


def _windows(usage: float, average: float, instant: float) -> dict[str, float]:
    return {
        "usage_window_seconds": usage,
        "average_window_seconds": average,
        "instant_window_seconds": instant,
    }


def _clocks(graphics: int, memory: int) -> dict[str, tuple[int, ...]]:
    clocks = (graphics, graphics, memory, graphics * 4 // 5)
    return {"clock_mhz": clocks, "clock_max_mhz": clocks}


_HOPPER = {
    **_windows(1.0, 1.0, 0.025),
    **_clocks(1980, 2619),
    "has_memory_temperature": 1,
    "nvlink_count": 18,
}
# Grace Hopper answers for the module (CPU and GPU together) where it does not for the GPU alone.
_MODULE_ONLY = {
    "usage_window_seconds": 0.0,
    "has_gpu_scope": 0,
    "has_module_scope": 1,
    "module_extra_watts": 120.0,
}

PROFILES: dict[str, dict[str, Any]] = {
    "hopper": _board("NVIDIA H100 80GB HBM3", 9, (9, 0), 80, 700, **_HOPPER),
    "hopper_h200": _board("NVIDIA H200", 9, (9, 0), 141, 700, **_HOPPER),
    "gh200": _board(
        "NVIDIA GH200 480GB", 9, (9, 0), 96, 900,
        **{**_HOPPER, **_MODULE_ONLY},
    ),
    "blackwell": _board("NVIDIA B200", 10, (10, 0), 180, 1000, **{**_HOPPER, **_clocks(1965, 3996)}),
    "ada": _board("NVIDIA L40S", 8, (8, 9), 48, 350, **_windows(1.0, 1.0, 0.1), **_clocks(2520, 9001)),
    "ampere": _board("NVIDIA A40", 7, (8, 6), 48, 300, **_windows(1.0, 1.0, 0.1), **_clocks(1740, 7251)),
    "ga100": _board(
        "NVIDIA A100-SXM4-80GB", 7, (8, 0), 80, 400,
        **_windows(0.025, 0.0, 0.025), **_clocks(1410, 1593), has_memory_temperature=1,
    ),
    "turing": _board("Tesla T4", 6, (7, 5), 16, 70, **_windows(0.1, 0.0, 0.1), **_clocks(1590, 5001)),
    "volta": _board(
        "Tesla V100-SXM2-32GB", 5, (7, 0), 32, 300,
        **_windows(0.01, 0.0, 0.01), **_clocks(1530, 877), refresh_seconds=0.02, has_memory_temperature=1,
    ),
    "pascal": _board(
        "Tesla P100-SXM2-16GB", 4, (6, 0), 16, 300,
        **_windows(0.01, 0.0, 0.01), **_clocks(1480, 715), refresh_seconds=0.02, has_energy=0,
    ),
}  # fmt: skip
