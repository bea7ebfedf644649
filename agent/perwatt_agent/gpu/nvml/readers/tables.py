"""
Table of numbered fields and the facts that they give. A fact `group.key` is an entry of a group.

Ids up to 250 are the same in all drivers. Ids above are chosen by driver version.
"""

from collections.abc import Iterator
from typing import TypeAlias

from perwatt_agent.facts.ecc import EccKind, EccLocation, EccType
from perwatt_agent.facts.gpu_reading import Detail
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.fields import ALL_LINKS, MODULE, Field
from perwatt_agent.gpu.nvml.driver.traits import BLACKWELL, Traits

Table: TypeAlias = dict[str, tuple[Field, ...]]
"""Fact -> the fields that can give it, best first."""

POWER_AVERAGE = 185

# Energy 191 is 83 with scopes; power 185 is the mean of one second where the board has it, 186 is what the
# sensor sees now.
_POWER: Table = {
    "energy_joules": (
        Field(83, values.joules, counts=True),
        Field(191, values.joules, MODULE, counts=True),
    ),
    "power_watts": (
        Field(185, values.watts),
        Field(186, values.watts),
        Field(185, values.watts, MODULE),
        Field(186, values.watts, MODULE),
    ),
    "temperature_memory_celsius": (Field(82, values.memory_celsius),),
}
_LIMITS: Table = {
    "power_limit_watts": (Field(190, values.limit_watts), Field(190, values.limit_watts, MODULE)),
    "power_limit_default_watts": (Field(189, values.limit_watts), Field(189, values.limit_watts, MODULE)),
    "power_limit_min_watts": (Field(187, values.limit_watts), Field(187, values.limit_watts, MODULE)),
    "power_limit_max_watts": (Field(188, values.limit_watts), Field(188, values.limit_watts, MODULE)),
}

# The header says nanoseconds; that nvidia-smi shows microseconds is its own conversion.
_THROTTLE = {
    "sw_power_cap": 74,
    "thermal": 75,
    "sync_boost": 76,
    "board_limit": 77,
    "low_utilization": 78,
    "reliability": 79,
}
# Driver version -> the first of three ids: thermal in software, in hardware, power brake. Drivers before
# the first version keep other things there.
_NEWER_THROTTLE = ((580, 82), 269), ((575,), 251)
_NEWER_THROTTLE_REASONS = ("sw_thermal", "hw_thermal", "hw_power_brake")

_PCIE: Table = {
    "pcie_transmitted_bytes": (Field(197, values.count),),
    "pcie_received_bytes": (Field(198, values.count),),
    "pcie_replays": (Field(94, values.count),),
}
_NVLINK: Table = {
    "nvlink_transmitted_bytes": (
        Field(138, values.kibibytes, ALL_LINKS, counts=True),
        Field(202, values.count, ALL_LINKS, counts=True),
    ),
    "nvlink_received_bytes": (
        Field(139, values.kibibytes, ALL_LINKS, counts=True),
        Field(204, values.count, ALL_LINKS, counts=True),
    ),
}
_NVLINK_ERRORS = {"crc_flit": 38, "crc_data": 45, "replay": 52, "recovery": 59}
_NEWER_NVLINK_ERRORS = {
    "malformed": 206,
    "buffer_overrun": 207,
    "received": 208,
    "remote": 209,
    "general": 210,
    "link_integrity": 211,
    "discarded": 212,
    "recovery_failed": 214,
    "recovery": 215,
}

EccPlace: TypeAlias = tuple[EccKind, EccType, EccLocation]

# In the order of the header, from the first id on: sums of both kinds, then place by place; the CBU has
# uncorrected errors only.
_ECC_FIRST_ID = 3
_ECC_KINDS: tuple[EccKind, ...] = ("volatile", "aggregate")
_ECC_TYPES: tuple[EccType, ...] = ("corrected", "uncorrected")
_ECC_LOCATIONS: tuple[EccLocation, ...] = ("l1", "l2", "device_memory", "register_file", "texture")


def _ecc_places() -> Iterator[EccPlace]:
    for kind in _ECC_KINDS:
        yield from ((kind, type_, "all") for type_ in _ECC_TYPES)
    for kind in _ECC_KINDS:
        yield from ((kind, type_, location) for location in _ECC_LOCATIONS for type_ in _ECC_TYPES)
        yield kind, "uncorrected", "cbu"


ECC_PLACES: dict[str, EccPlace] = {"ecc_" + "_".join(place): place for place in _ecc_places()}
"""Each fact of memory errors, and where the errors were."""

_ECC: Table = {fact: (Field(id_, values.count),) for id_, fact in enumerate(ECC_PLACES, _ECC_FIRST_ID)}

_HEALTH: Table = {
    "ecc_enabled": (Field(1, values.flag),),
    "retired_pages_corrected": (Field(29, values.count),),
    "retired_pages_uncorrected": (Field(30, values.count),),
    "retired_pages_pending": (Field(31, values.flag),),
    "remapped_rows_corrected": (Field(142, values.count),),
    "remapped_rows_uncorrected": (Field(143, values.count),),
    "remapped_rows_pending": (Field(144, values.flag),),
    "remapped_rows_failed": (Field(145, values.flag),),
    "recovery_action": (Field(230, values.recovery_action),),
    "temperature_margins_celsius.shutdown": (Field(193, values.margin_celsius),),
    "temperature_margins_celsius.slowdown": (Field(194, values.margin_celsius),),
    "temperature_margins_celsius.memory_max": (Field(195, values.margin_celsius),),
    "temperature_margins_celsius.gpu_max": (Field(196, values.margin_celsius),),
}


def fast_fields(traits: Traits, detail: Detail = "full") -> Table:
    """What is read each second."""
    if detail == "core":
        return _POWER
    return {**_POWER, **_throttle(traits), **_PCIE, **_nvlink(traits)}


def slow_fields(traits: Traits, detail: Detail = "full") -> Table:
    """What is read every 10 to 15 seconds."""
    if detail == "core":
        return _LIMITS
    return {**_LIMITS, **_HEALTH, **_ECC, **_nvlink_errors(traits)}


def _throttle(traits: Traits) -> Table:
    ids = dict(_THROTTLE)
    if not traits.reports_power_caps:
        del ids["sw_power_cap"]
    for version, first in _NEWER_THROTTLE:
        if traits.driver >= version:
            ids |= {reason: first + place for place, reason in enumerate(_NEWER_THROTTLE_REASONS)}
            break
    return {f"throttled_seconds.{reason}": (Field(id_, values.nanoseconds),) for reason, id_ in ids.items()}


def _nvlink(traits: Traits) -> Table:
    """Each generation of links has counters of its own, which an older or newer one may hold at 0."""
    turn = -1 if traits.architecture >= BLACKWELL else 1
    return {fact: fields[::turn] for fact, fields in _NVLINK.items()}


def _nvlink_errors(traits: Traits) -> Table:
    ids = _NEWER_NVLINK_ERRORS if traits.architecture >= BLACKWELL else _NVLINK_ERRORS
    return {f"nvlink_errors.{kind}": (Field(id_, values.count, ALL_LINKS),) for kind, id_ in ids.items()}
