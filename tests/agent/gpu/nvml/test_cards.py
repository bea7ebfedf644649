"""What perwatt reads over the fake driver is what real cards have shown (tests/data/cards)."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pynvml
import pytest
from fakenvml.cards import MIB, STATES, Card, State, captures, card
from msgspec.structs import replace
from support.gpus.cards import play
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.accounting.idle_power import LEARN_SECONDS, IdlePower
from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.ecc import SramErrors
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.readers.memory_health import AVAILABILITIES
from perwatt_agent.gpu.nvml.readers.tables import ECC_PLACES

Facts: TypeAlias = dict[str, Any]
Check: TypeAlias = tuple[Callable[[Facts], Any], Callable[[GpuReading, GpuSlowReading], Any]]

REASONS = (
    *("idle", "application_clocks", "sw_power_cap", "hw_slowdown", "sync_boost"),
    *("sw_thermal", "hw_thermal", "hw_power_brake", "display_clocks"),
)
SRAM_PARTS = ("l2", "sm", "pcie", "mcu", "other")
CAP_IS_NO_CAP = ("geforce_turing",)


def scaled(name: str, factor: float, place: int | None = None) -> Callable[[Facts], Any]:
    """The number of a fact in perwatt's unit; None where the card has none."""

    def number(facts: Facts) -> Any:
        value = facts[name] if place is None else facts[name][place]
        return None if value is None else pytest.approx(value * factor)

    return number


def present(facts: Facts, prefix: str) -> dict[str, float]:
    names = ("shutdown", "slowdown", "memory_max", "gpu_max")
    return {name: value for name in names if (value := facts[f"{prefix}_{name}_celsius"]) is not None}


def ecc(facts: Facts) -> dict[str, int]:
    """Only a card that has ECC at all shows errors."""
    counts = facts["ecc_errors"] if facts["ecc_enabled"] is not None else {}
    return {f"ecc_{place}": errors for place, errors in counts.items() if errors is not None}


def sram(facts: Facts) -> SramErrors | None:
    """Only of a card that has ECC; the driver answers 0 on an RTX 4080 SUPER too."""
    counts = dict(facts["sram"])
    if facts["ecc_enabled"] is None:
        return None
    parts = {"microcontroller" if part == "mcu" else part: counts.pop(part) for part in SRAM_PARTS}
    exceeded = bool(counts.pop("threshold_exceeded"))
    return SramErrors(**counts, aggregate_uncorrected=parts, threshold_exceeded=exceeded)


def row(name: str) -> Callable[[Facts], Any]:
    return lambda facts: facts["remapped_rows"][name]


FAST: dict[str, Check] = {
    "mean power, or what the sensor sees now": (
        lambda facts: pytest.approx(facts["power_average_watts"] or facts["power_instant_watts"]),
        lambda fast, _: fast.power_watts,
    ),
    "which of them": (
        lambda facts: facts["power_average_watts"] is not None,
        lambda fast, _: fast.power_is_mean,
    ),
    "load": (scaled("utilization_percent", 0.01), lambda fast, _: fast.utilization_ratio),
    "load of memory": (
        scaled("memory_utilization_percent", 0.01),
        lambda fast, _: fast.memory_utilization_ratio,
    ),
    "memory": (scaled("memory_total_mib", MIB), lambda fast, _: fast.memory_total_bytes),
    "memory that is used": (scaled("memory_used_mib", MIB), lambda fast, _: fast.memory_used_bytes),
    "memory of the driver": (scaled("memory_reserved_mib", MIB), lambda fast, _: fast.memory_reserved_bytes),
    "heat": (scaled("temperature_core_celsius", 1), lambda fast, _: fast.temperature_core_celsius),
    "heat of memory": (
        scaled("temperature_memory_celsius", 1),
        lambda fast, _: fast.temperature_memory_celsius,
    ),
    "SM clock": (scaled("clock_mhz", 1e6, 1), lambda fast, _: fast.clock_sm_hertz),
    "replays": (scaled("pcie_replays", 1), lambda fast, _: fast.pcie_replays),
    "throttled time": (
        lambda facts: {
            reason: pytest.approx(amount / 1e6)
            for reason, amount in facts["throttled_microseconds"].items()
            if reason != "sw_power_cap" or facts["profile"] not in CAP_IS_NO_CAP
        },
        lambda fast, _: {
            reason: seconds
            for reason, seconds in fast.throttled_seconds.items()
            if reason in ("sw_power_cap", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake")
        },
    ),
    "NVLink": (
        lambda facts: facts["nvlink_count"] > 0,
        lambda fast, _: fast.nvlink_transmitted_bytes is not None,
    ),
}
SLOW: dict[str, Check] = {
    "limit": (scaled("limit_watts", 1), lambda _, slow: slow.power_limit_watts),
    "default limit": (scaled("limit_default_watts", 1), lambda _, slow: slow.power_limit_default_watts),
    "lowest limit": (scaled("limit_min_watts", 1), lambda _, slow: slow.power_limit_min_watts),
    "highest limit": (scaled("limit_max_watts", 1), lambda _, slow: slow.power_limit_max_watts),
    "memory clock": (scaled("clock_mhz", 1e6, 2), lambda _, slow: slow.clock_memory_hertz),
    "highest SM clock": (scaled("clock_max_mhz", 1e6, 1), lambda _, slow: slow.clock_sm_max_hertz),
    "highest memory clock": (scaled("clock_max_mhz", 1e6, 2), lambda _, slow: slow.clock_memory_max_hertz),
    "P-state": (lambda facts: facts["performance_state"], lambda _, slow: slow.performance_state),
    "reasons": (
        lambda facts: tuple(
            one
            for bit, one in enumerate(REASONS)
            if facts["event_reasons"] >> bit & 1
            and not (one == "sw_power_cap" and facts["profile"] in CAP_IS_NO_CAP)
        ),
        lambda _, slow: slow.throttle_reasons,
    ),
    "reasons that are not known": (
        lambda facts: ("sw_power_cap",) if facts["profile"] in CAP_IS_NO_CAP else (),
        lambda _, slow: slow.throttle_reasons_unknown,
    ),
    "margin": (scaled("margin_celsius", 1), lambda _, slow: slow.temperature_margin_celsius),
    "margins": (lambda facts: present(facts, "margin"), lambda _, slow: slow.temperature_margins_celsius),
    "thresholds": (
        lambda facts: present(facts, "threshold"),
        lambda _, slow: slow.temperature_thresholds_celsius,
    ),
    "fans": (
        lambda facts: () if facts["fan_percent"] is None else (facts["fan_percent"] / 100,),
        lambda _, slow: slow.fan_ratios,
    ),
    "encoder": (scaled("encoder_percent", 0.01), lambda _, slow: slow.encoder_ratio),
    "decoder": (scaled("decoder_percent", 0.01), lambda _, slow: slow.decoder_ratio),
    "PCIe generation": (lambda facts: facts["pcie_generation"], lambda _, slow: slow.pcie_generation),
    "highest PCIe generation": (
        lambda facts: facts["pcie_generation_max"],
        lambda _, slow: slow.pcie_generation_max,
    ),
    "PCIe width": (lambda facts: facts["pcie_width"], lambda _, slow: slow.pcie_width),
    "fabric": (
        lambda facts: (facts["fabric_state"], facts["fabric_health"]),
        lambda _, slow: (slow.fabric_state, slow.fabric_health),
    ),
    "BAR1": (scaled("bar1_total_mib", MIB), lambda _, slow: slow.bar1_total_bytes),
    # A mebibyte of tolerance: each number was rounded.
    "BAR1 that is used": (
        lambda facts: pytest.approx(facts["bar1_used_mib"], abs=1),
        lambda _, slow: (slow.bar1_used_bytes or 0) / MIB,
    ),
    "ECC": (lambda facts: facts["ecc_enabled"], lambda _, slow: slow.ecc_enabled),
    "errors": (
        ecc,
        lambda _, slow: {
            fact: one.errors
            for one in slow.ecc_errors
            for fact, place in ECC_PLACES.items()
            if place == (one.kind, one.type, one.location)
        },
    ),
    "retired pages": (
        lambda facts: tuple(facts["retired_pages"].values()),
        lambda _, slow: (
            slow.retired_pages_corrected,
            slow.retired_pages_uncorrected,
            slow.retired_pages_pending,
        ),
    ),
    "rows remapped for corrected errors": (row("corrected"), lambda _, slow: slow.remapped_rows_corrected),
    "rows remapped for others": (row("uncorrected"), lambda _, slow: slow.remapped_rows_uncorrected),
    "rows that wait": (row("pending"), lambda _, slow: slow.remapped_rows_pending),
    "rows that failed": (row("failed"), lambda _, slow: slow.remapped_rows_failed),
    "spare rows": (
        lambda facts: (
            dict(zip(AVAILABILITIES, facts["remap_banks"], strict=True)) if facts["remap_banks"][0] else {}
        ),
        lambda _, slow: slow.remap_banks,
    ),
    "SRAM": (sram, lambda _, slow: slow.sram_errors),
    "recovery action": (lambda facts: facts["recovery_action"], lambda _, slow: slow.recovery_action),
    "persistence": (lambda facts: facts["persistence"], lambda _, slow: slow.persistence),
    "virtualization": (lambda facts: facts["virtualization"], lambda _, slow: slow.virtualization_mode),
    "processes that compute": (
        lambda facts: {
            (pid, size * MIB, type_ == "C+G" and not facts["mig_enabled"])
            for pid, type_, size, _ in facts["processes"]
            if type_ != "G"
        },
        lambda _, slow: {(one.pid, one.memory_bytes, one.draws) for one in slow.processes or ()},
    ),
    "MIG": (
        lambda facts: [
            (
                *(one["profile"], one["gpu_instance"], one["compute_instance"], one["multiprocessors"]),
                *(one[f"memory_{part}_mib"] * MIB for part in ("total", "reserved", "used")),
            )
            for one in facts.get("mig", ())
        ],
        lambda _, slow: [
            (
                *(one.profile, one.gpu_instance, one.compute_instance, one.multiprocessors),
                *(one.memory_total_bytes, one.memory_reserved_bytes, one.memory_used_bytes),
            )
            for one in slow.mig or ()
        ],
    ),
}


PROFILED = ("h100-590.48.01", "rtx4080super-595.71.05", "rtx2080super-595.71.05")


class Played:
    """A fake GPU that plays one state of a card, and what perwatt reads of it."""

    def __init__(self, driver: FakeDriver, clock: ManualClock, played: Card, state: State) -> None:
        play(driver, 0, played, state)
        driver.advance(10.0)
        self.facts = played.state(state)
        backend = NvmlBackend(clock)
        self.device = backend.open().devices[0]
        self.fast, self.slow = self.device.read(), self.device.read_slow()
        backend.close()


@pytest.fixture(params=captures())
def capture(request: pytest.FixtureRequest) -> Card:
    return card(request.param)


@pytest.fixture
def driver(tmp_path: Path, capture: Card):
    with FakeDriver.create(tmp_path, gpus=1, architecture=capture.profile).install() as driver:
        yield driver


@pytest.mark.parametrize("state", STATES)
def test_is_read_as_it_was_shown(driver: FakeDriver, capture: Card, state: State, clock: ManualClock):
    """Each fact that the card has is read, in perwatt's unit; each that it has not is absent."""
    played = Played(driver, clock, capture, state)
    checks = FAST | SLOW
    expected = {name: of_card(played.facts) for name, (of_card, _) in checks.items()}

    assert expected == {name: read(played.fast, played.slow) for name, (_, read) in checks.items()}


def test_identity(driver: FakeDriver, capture: Card, clock: ManualClock):
    """GeForce cards have no serial number."""
    info = Played(driver, clock, capture, "idle").device.info
    facts = capture.idle

    assert (capture.name, facts["vbios"], bool(facts["has_serial"])) == (
        info.name,
        info.vbios_version,
        bool(info.serial),
    )


@pytest.mark.parametrize("capture", PROFILED, indirect=True)
def test_a_profile_is_a_card_at_rest(driver: FakeDriver, capture: Card, clock: ManualClock):
    """The profile of a new fake driver is what the card showed idle, but for its power and its driver."""
    driver.set_driver_version(capture.driver)
    device = NvmlBackend(clock).open().devices[0]
    fast, slow = device.read(), device.read_slow()
    checks = dict(list((FAST | SLOW).items())[1:])
    del checks["virtualization"], checks["replays"]

    assert {name: of_card(capture.state("idle")) for name, (of_card, _) in checks.items()} == {
        name: read(fast, slow) for name, (_, read) in checks.items()
    }


@pytest.mark.parametrize("capture", ["rtx4080super-595.71.05"], indirect=True)
def test_zeros_without_ecc_are_no_count(driver: FakeDriver, capture: Card, clock: ManualClock):
    """The card counts no errors, because it cannot find one: the call is not even made."""
    assert [0] * 11 == list(driver.get(0, "sram_count"))
    assert 1 == driver.get(0, "has_sram")
    assert None is Played(driver, clock, capture, "idle").slow.sram_errors
    assert 0 == driver.calls("nvmlDeviceGetSramEccErrorStatus")


@pytest.mark.parametrize("capture", PROFILED, indirect=True)
def test_idle_power_is_learnt(driver: FakeDriver, capture: Card, clock: ManualClock):
    """Also under a desktop, whose compositor is in the list of processes that compute."""
    played = Played(driver, clock, capture, "idle")
    idle = IdlePower()
    for second in range(int(LEARN_SECONDS) + 1):
        at = played.fast.monotonic_seconds + second
        fast = replace(played.fast, monotonic_seconds=at)
        idle.add(fast, replace(played.slow, monotonic_seconds=at), held=False)

    shown = capture.idle["power_average_watts"] or capture.idle["power_instant_watts"]
    assert pytest.approx(shown) == idle.watts


@pytest.mark.parametrize("state", STATES)
def test_scopes_of_power(driver: FakeDriver, capture: Card, state: State, clock: ManualClock):
    """Mean and instantaneous power differ, and the memory of an H100 has a mean of its own."""
    facts = Played(driver, clock, capture, state).facts
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    asked = ((185, 0), (186, 0), (185, 2), (186, 2), (185, 1))
    array = (pynvml.c_nvmlFieldValue_t * len(asked))()
    for entry, (field, scope) in zip(array, asked, strict=True):
        entry.fieldId, entry.scopeId = field, scope
    pynvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")(handle, ctypes.c_int(len(asked)), array)
    watts = [None if each.nvmlReturn else each.value.uiVal / 1000 for each in array]
    pynvml.nvmlShutdown()

    memory = facts["memory_power_average_watts"]
    shown = (facts["power_average_watts"], facts["power_instant_watts"], memory, None, None)
    assert list(shown) == [watt if watt is None else pytest.approx(watt, abs=0.002) for watt in watts]
