"""Captures of real cards (tests/data/cards), and the settings with which a fake GPU plays one of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fakenvml.waveforms import Constant, Square, Waveform
from msgspec import Struct

FOLDER = Path(__file__).parents[1] / "data" / "cards"
MIB = 1 << 20

State = Literal["idle", "load"]
STATES: tuple[State, ...] = ("idle", "load")


def _ecc_fields() -> Iterator[str]:
    """The places of memory errors in the order of their fields, of which the first is 3."""
    for kind in ("volatile", "aggregate"):
        yield from (f"{kind}_{type_}_all" for type_ in ("corrected", "uncorrected"))
    for kind in ("volatile", "aggregate"):
        for location in ("l1", "l2", "device_memory", "register_file", "texture"):
            yield from (f"{kind}_{type_}_{location}" for type_ in ("corrected", "uncorrected"))
        yield f"{kind}_uncorrected_cbu"


ECC_FIELDS = {place: field for field, place in enumerate(_ecc_fields(), 3)}
THROTTLE_FIELDS = {
    "sw_power_cap": 74,
    "sync_boost": 76,
    "sw_thermal": 269,
    "hw_thermal": 270,
    "hw_power_brake": 271,
}
MARGIN_FIELDS = {"shutdown": 193, "slowdown": 194, "memory_max": 195, "gpu_max": 196}
RETIRED_FIELDS = {"corrected": 29, "uncorrected": 30, "pending": 31}
REMAPPED_FIELDS = {"corrected": 142, "uncorrected": 143, "pending": 144, "failed": 145}
THRESHOLDS = ("shutdown", "slowdown", "memory_max", "gpu_max")
FABRIC_STATES = (None, "not started", "in progress", "completed")
VIRTUALIZATION = ("none", "passthrough")
DRAWS = {"C": 0, "C+G": 1, "G": 2}


class Card(Struct, frozen=True):
    """One capture: what the card showed idle and under load, by the names of tests/data/cards."""

    name: str
    profile: str
    driver: str
    idle: dict[str, Any]
    load: dict[str, Any]

    def state(self, state: State) -> dict[str, Any]:
        """The facts of this state, and `profile`."""
        return {**(self.idle if state == "idle" else self.load), "profile": self.profile}


@cache
def card(capture: str) -> Card:
    """The capture of this name, such as `h100-590.48.01`."""
    return Card(**json.loads((FOLDER / f"{capture}.json").read_text()))


def captures() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one state as settings of a fake GPU, without its MIG instances and its power."""
    fields = numbered_fields(facts)
    direct = (
        *("limit_watts", "limit_default_watts", "limit_min_watts", "limit_max_watts"),
        *("pcie_generation", "pcie_generation_max", "pcie_width", "pcie_width_max"),
        *("performance_state", "event_reasons", "clock_mhz", "clock_max_mhz", "persistence", "vbios"),
        *("temperature_core_celsius", "nvlink_count"),
    )
    processes = facts["processes"]
    return {
        **{name: facts[name] for name in direct},
        **{name: facts[name] or 0 for name in ("margin_celsius", "temperature_memory_celsius")},
        **{name: facts[name] or 0 for name in ("utilization_percent", "memory_utilization_percent")},
        **{name: facts[name] or 0 for name in ("encoder_percent", "decoder_percent")},
        **_memory(facts),
        **_bar1(facts),
        **_health(facts),
        "memory_watts": facts["memory_power_average_watts"] or 0.0,
        "has_memory_temperature": int(facts["temperature_memory_celsius"] is not None),
        "has_margin": int(facts["margin_celsius"] is not None),
        "threshold_celsius": [facts[f"threshold_{name}_celsius"] or 0 for name in THRESHOLDS],
        "fan_count": int(facts["fan_percent"] is not None),
        "fan_percent": [facts["fan_percent"] or 0],
        "mig_capable": int(facts["mig_enabled"] is not None),
        "virtualization_mode": VIRTUALIZATION.index(facts["virtualization"]),
        "field_value": {field: number for field, number in fields.items() if number is not None},
        "field_known": {field: int(number is not None) for field, number in fields.items()},
        "process_count": len(processes),
        "process_pid": [pid for pid, *_ in processes],
        "process_draws": [DRAWS[type_] for _, type_, *_ in processes],
        "process_bytes": [size * MIB for _, _, size, _ in processes],
        "process_sm_percent": [0] * len(processes),
    }


def _memory(facts: Mapping[str, Any]) -> dict[str, int]:
    parts = ("total", "reserved", "used")
    return {f"memory_{part}_bytes": facts[f"memory_{part}_mib"] * MIB for part in parts}


def _bar1(facts: Mapping[str, Any]) -> dict[str, int]:
    """Boards that map all their memory show 1 MiB more than is used; with MIG they map all there is."""
    maps = facts["bar1_total_mib"] > facts["memory_total_mib"] + facts["memory_reserved_mib"]
    used = int(not facts["mig_enabled"]) if maps else facts["bar1_used_mib"]
    return {
        "bar1_total_bytes": facts["bar1_total_mib"] * MIB,
        "bar1_used_bytes": used * MIB,
        "bar1_maps_memory": int(maps),
    }


def _health(facts: Mapping[str, Any]) -> dict[str, Any]:
    sram = [number or 0 for number in facts["sram"].values()]
    banks = facts["remap_banks"]
    return {
        "has_sram": int(facts["sram"]["threshold_exceeded"] is not None),
        "sram_count": sram[:-1],
        "sram_threshold_exceeded": sram[-1],
        "has_remap_banks": int(None not in banks),
        "remap_banks": [number or 0 for number in banks],
        "fabric_state": FABRIC_STATES.index(facts["fabric_state"]),
        "fabric_health": int(facts["fabric_health"] is not None),
    }


def numbered_fields(facts: Mapping[str, Any]) -> dict[int, int | None]:
    """NVML's fields with their raw numbers; None is one that the card refuses."""
    microseconds = facts["throttled_microseconds"]
    with_mig = facts["mig_enabled"]
    return {
        1: facts["ecc_enabled"],
        94: facts["pcie_replays"],
        230: 0 if facts["recovery_action"] == "none" else None,
        **{ECC_FIELDS[place]: errors for place, errors in facts["ecc_errors"].items() if place in ECC_FIELDS},
        **{field: 1000 * microseconds[reason] for reason, field in THROTTLE_FIELDS.items()},
        **{field: facts[f"margin_{name}_celsius"] for name, field in MARGIN_FIELDS.items()},
        **{field: facts["retired_pages"][name] for name, field in RETIRED_FIELDS.items()},
        # The fake refuses these itself while MIG is on, and gives them again afterwards.
        **{field: 0 if with_mig else facts["remapped_rows"][name] for name, field in REMAPPED_FIELDS.items()},
    }


def waveform(facts: Mapping[str, Any]) -> Waveform:
    """Power of which the sensor shows the card's mean and instantaneous value, at even tenths of a second."""
    average, instant = facts["power_average_watts"], facts["power_instant_watts"]
    if average is None:
        return Constant(instant)
    return Square(instant, 2 * average - instant, period_seconds=0.2, duty=0.5)


def instances(facts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The MIG instances as facts of their slots, in order."""
    return [
        {
            "profile": one["profile"].encode(),
            **{name: one[name] for name in ("gpu_instance", "compute_instance", "multiprocessors")},
            **_memory(one),
        }
        for one in facts.get("mig", ())
    ]
