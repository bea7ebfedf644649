"""
The boards that the fake driver can play, as they are at rest.

`hopper`, `geforce_ada` and `geforce_turing` are real cards that were captured (cards.py). The other boards
have what the captured card of the nearest architecture has; their clocks and states at rest are assumptions.

Sensor windows are those measured in "Part-time Power Measurements" (arXiv 2312.02741) for drivers >= 535:
what `GetPowerUsage`, POWER_AVERAGE and POWER_INSTANT average over, and how often the sensor refreshes.
A window of 0 is "not supported".
"""

from typing import Any

from fakenvml.cards import card, settings

GIB = 1 << 30
MIB = 1 << 20

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
    "bar1_used_bytes": MIB,
    "bar1_maps_memory": 1,
    "event_reasons": 1,  # idle
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
    memory = {"memory_total_bytes": memory_gib * GIB, "memory_reserved_bytes": _reserved(memory_gib)}
    identity = {
        "name": name,
        "architecture": architecture,
        "compute_major": compute[0],
        "compute_minor": compute[1],
    }
    board = {**_COMMON, **identity, **limits, **memory, "bar1_total_bytes": 2 * memory_gib * GIB}
    return {**board, **_depth(architecture), **more}


def _reserved(memory_gib: int) -> int:
    """What the driver keeps: 479 MiB of 80 GiB on an H100, 447 MiB of 15 GiB on a T4."""
    return (479 if memory_gib > 16 else 447) * MIB


# NVML's field ids by what they tell; every one of these starts at 0. Since Turing, memory errors are told for
# the whole GPU and its memory only.
_ECC = (1, *range(3, 29))
_NEWER_ECC = (1, *range(3, 7), 11, 12, 22, 23)
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
    turing, ampere, ada, hopper = (architecture >= first for first in (6, 7, 8, 9))
    fields = dict.fromkeys((*(_NEWER_ECC if turing else _ECC), *_THROTTLE, 94), 0)
    fields |= dict.fromkeys(_REMAPPED_ROWS if ampere else _RETIRED_PAGES, 0)
    if turing:
        fields |= dict.fromkeys((*_NEWER_THROTTLE, _RECOVERY_ACTION), 0)
    if ampere:
        fields |= dict.fromkeys(_PCIE, 0)
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
        "fabric_health": int(architecture >= 10),
        "mig_capable": int(hopper),
        "has_sram": int(ampere),
        "has_remap_banks": int(ampere),
        "remap_banks": (2560, 0, 0, 0, 0),
    }


def _windows(usage: float, average: float, instant: float) -> dict[str, float]:
    return {
        "usage_window_seconds": usage,
        "average_window_seconds": average,
        "instant_window_seconds": instant,
    }


def _clocks(graphics: int, memory: int, idle: int, *, idle_memory: int = 0) -> dict[str, tuple[int, ...]]:
    """Clocks at rest and their maxima; the video clock follows, as on the captured cards."""
    return {
        "clock_mhz": (idle, idle, idle_memory or memory, 765 * idle // 345),
        "clock_max_mhz": (graphics, graphics, memory, 1545 * graphics // 1980),
    }


# A workstation's or inference board lets its clocks, its memory and its link rest.
_RESTS = {"performance_state": 8, "pcie_generation": 1}


def _captured(
    capture: str, name: str, architecture: int, compute: tuple[int, int], **more: Any
) -> dict[str, Any]:
    """A board of which a capture exists, with what no text shows."""
    board, shown = _board(name, architecture, compute, 16, 0.0), settings(card(capture).idle)
    values = {**board["field_value"], **shown["field_value"], _PCIE[0]: 0}
    known = {**board["field_known"], **shown["field_known"]}
    return {**board, **shown, "field_value": values, "field_known": known, **more}


_HOPPER = {
    **_windows(1.0, 1.0, 0.025),
    **_clocks(1980, 2619, 345),
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

# GeForce cards have no ECC, no margins, no memory temperature and no serial number.
_GEFORCE = {"serial": "", "has_gpm": 0, "mig_capable": 0}

PROFILES: dict[str, dict[str, Any]] = {
    "hopper": _captured(
        "h100-590.48.01", "NVIDIA H100 80GB HBM3", 9, (9, 0),
        **_windows(1.0, 1.0, 0.025), virtualization_mode=0,
    ),
    "hopper_h200": _board("NVIDIA H200", 9, (9, 0), 141, 700, **_HOPPER, limit_min_watts=200),
    "gh200": _board(
        "NVIDIA GH200 480GB", 9, (9, 0), 96, 900,
        **{**_HOPPER, **_MODULE_ONLY},
    ),
    "blackwell": _board("NVIDIA B200", 10, (10, 0), 180, 1000, **{**_HOPPER, **_clocks(1965, 3996, 345)}),
    "ada": _board(
        "NVIDIA L40S", 8, (8, 9), 48, 350,
        **_windows(1.0, 1.0, 0.1), **_clocks(2520, 9001, 210, idle_memory=405), **_RESTS,
    ),
    "geforce_ada": _captured(
        "rtx4080super-595.71.05", "NVIDIA GeForce RTX 4080 SUPER", 8, (8, 9),
        **_windows(1.0, 1.0, 0.1), **_GEFORCE,
    ),
    "ampere": _board(
        "NVIDIA A40", 7, (8, 6), 48, 300,
        **_windows(1.0, 1.0, 0.1), **_clocks(1740, 7251, 210, idle_memory=405), **_RESTS,
    ),
    "ga100": _board(
        "NVIDIA A100-SXM4-80GB", 7, (8, 0), 80, 400,
        **_windows(0.025, 0.0, 0.025), **_clocks(1410, 1593, 210), has_memory_temperature=1, mig_capable=1,
    ),
    "turing": _board(
        "Tesla T4", 6, (7, 5), 16, 70,
        **_windows(0.1, 0.0, 0.1), **_clocks(1590, 5001, 300, idle_memory=405), **_RESTS,
        bar1_total_bytes=256 * MIB, bar1_maps_memory=0,
    ),
    "geforce_turing": _captured(
        "rtx2080super-595.71.05", "NVIDIA GeForce RTX 2080 SUPER", 6, (7, 5),
        **_windows(0.1, 0.0, 0.1), **_GEFORCE,
    ),
    "volta": _board(
        "Tesla V100-SXM2-32GB", 5, (7, 0), 32, 300,
        **_windows(0.01, 0.0, 0.01), **_clocks(1530, 877, 135),
        refresh_seconds=0.02, has_memory_temperature=1,
    ),
    "pascal": _board(
        "Tesla P100-SXM2-16GB", 4, (6, 0), 16, 300,
        **_windows(0.01, 0.0, 0.01), **_clocks(1480, 715, 405), refresh_seconds=0.02, has_energy=0,
    ),
}  # fmt: skip
