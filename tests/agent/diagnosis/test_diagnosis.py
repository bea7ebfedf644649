"""Each rule holds when it must and not before, and each event is reported once."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from perwatt_agent.diagnosis.diagnosis import Diagnosis
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.diagnosis.gpu_history import LOAD_RATIO
from perwatt_agent.diagnosis.rules import RULES
from perwatt_agent.diagnosis.xids import MAX_CODES, OTHER
from perwatt_agent.facts.ecc import EccCount, SramErrors
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.event import Event
from perwatt_agent.facts.gpu import GpuEnergy, GpuInfo, GpuSnapshot, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.health import HEALTH_REASONS
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_agent.facts.workload import Role, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot

UP = BackendStatus("nvml", up=True, driver_version="580.1")
INFO = GpuInfo("GPU-0", 0, "H100")
ENERGY = GpuEnergy("counter", 1.0, 1.0, 1.0, None, None)


class Ward:
    """One GPU under diagnosis, a sweep a second unless said otherwise."""

    def __init__(self) -> None:
        self.diagnosis = Diagnosis(EventRing("run"))
        self.now = 1_000.0
        self.backend = UP
        self.state: GpuState = "ok"
        self.reading = GpuReading(
            0.0, power_watts=500.0, utilization_ratio=0.5, temperature_core_celsius=60.0
        )
        self.slow = GpuSlowReading(0.0)
        self.energy = ENERGY
        self.workloads: tuple[WorkloadSnapshot, ...] = ()
        self.xids = 0
        self.latest = self.sweep(0.0)

    def sweep(self, seconds: float = 1.0) -> Snapshot:
        self.now += seconds
        gpu = GpuSnapshot(INFO, self.state)
        if self.state == "ok":
            reading = replace(self.reading, monotonic_seconds=self.now)
            gpu = GpuSnapshot(
                INFO, "ok", reading, replace(self.slow, monotonic_seconds=self.now), self.energy
            )
        snapshot = Snapshot(self.now + 1e9, self.now, self.backend, (gpu,), workloads=self.workloads)
        self.latest = self.diagnosis.examine(snapshot)
        return self.latest

    def xid(self, code: int) -> None:
        self.xids += 1
        event = XidEvent(self.xids, INFO.uuid, code, self.now, self.now + 1e9)
        self.latest = self.diagnosis.receive_xid(self.latest, event)

    @property
    def health(self) -> tuple[str, tuple[str, ...]]:
        health = self.latest.gpus[0].health
        assert health is not None
        return health.state, health.reasons

    def events(self) -> list[Event]:
        return list(reversed(self.diagnosis.events.newest(0, 1_000)))


def ecc(kind: str, errors: int) -> GpuSlowReading:
    return GpuSlowReading(0.0, ecc_errors=(EccCount("volatile", kind, "all", errors),))  # type: ignore[arg-type]


def errors_rise(kind: str, *counts: int) -> Callable[[Ward], None]:
    def happen(ward: Ward) -> None:
        for count in counts:
            ward.slow = ecc(kind, count)
            ward.sweep(10.0)

    return happen


def shows(seconds: float = 1.0, **facts: object) -> Callable[[Ward], None]:
    """The GPU's slow facts are these for a while."""

    def happen(ward: Ward) -> None:
        ward.slow = GpuSlowReading(0.0, **facts)  # type: ignore[arg-type]
        ward.sweep()
        ward.sweep(seconds)

    return happen


def is_in(state: GpuState, seconds: float = 0.0) -> Callable[[Ward], None]:
    def happen(ward: Ward) -> None:
        ward.state = state
        ward.sweep()
        ward.sweep(seconds)

    return happen


def tells(*codes: int) -> Callable[[Ward], None]:
    def happen(ward: Ward) -> None:
        for code in codes:
            ward.xid(code)

    return happen


def driver_goes(ward: Ward) -> None:
    ward.backend, ward.state = BackendStatus("nvml", up=False, reason="driver_not_loaded"), "lost"
    ward.sweep()


def calls_fail(ward: Ward) -> None:
    ward.reading = replace(ward.reading, failed_calls={"utilization": "unknown"})
    ward.sweep()
    ward.sweep(5.0)


def brakes(ward: Ward) -> None:
    for seconds in (1.0, 1.5):
        ward.reading = replace(ward.reading, throttled_seconds={"hw_power_brake": seconds})
        ward.sweep()


def links_fail(ward: Ward) -> None:
    for errors in (5.0, 6.0):
        shows(nvlink_errors={"replay": errors})(ward)


def heats(ward: Ward) -> None:
    for _ in range(2 * 360):
        ward.sweep(10.0)
    ward.reading = replace(ward.reading, temperature_core_celsius=70.0)
    for _ in range(180):
        ward.sweep(10.0)


def serves(role: Role = "mixed", *, up: bool = True, tokens: float | None = 7.0) -> WorkloadSnapshot:
    counts = EngineCounts("m", output_tokens=tokens)
    holds = (WorkloadGpuEnergy(INFO.uuid, 1.0, 1.0, 1.0, "exclusive"),)
    return WorkloadSnapshot(WorkloadInfo("chat", role=role), up=up, counts=counts, energy=holds)


def spins(*workloads: WorkloadSnapshot) -> Callable[[Ward], None]:
    def happen(ward: Ward) -> None:
        ward.reading = replace(ward.reading, utilization_ratio=1.0)
        ward.workloads = workloads
        for _ in range(302):
            ward.sweep()

    return happen


SICK: list[tuple[str, str, Callable[[Ward], None]]] = [
    ("driver_down", "failed", driver_goes),
    ("lost", "failed", is_in("lost")),
    ("hung", "failed", is_in("hung")),
    ("unreadable", "failed", is_in("error", 5.0)),
    ("calls_fail", "degraded", calls_fail),
    *[("xid_fatal", "failed", tells(code)) for code in (48, 62, 64, 74, 79, 95, 119, 120)],
    *[("xid_warning", "at_risk", tells(code)) for code in (63, 94, 999, 12_345)],
    ("xid_application_repeated", "degraded", tells(13, 31, 13)),
    *[("recovery_needed", "failed", shows(recovery_action=one)) for one in ("reset", "reboot", "bus_reset")],
    *[("recovery_advised", "at_risk", shows(recovery_action=one)) for one in ("drain_p2p", "other")],
    ("sram_threshold", "at_risk", shows(sram_errors=SramErrors(threshold_exceeded=True))),
    ("remap_failed", "failed", shows(remapped_rows_failed=True)),
    ("remap_pending", "at_risk", shows(remapped_rows_pending=True)),
    ("remap_pending", "at_risk", shows(retired_pages_pending=True)),
    ("ecc_uncorrectable", "at_risk", errors_rise("uncorrected", 4, 5)),
    ("ecc_correctable_rising", "degraded", errors_rise("corrected", 1, 2, 3, 4)),
    ("nvlink_errors", "degraded", links_fail),
    ("fabric_unhealthy", "at_risk", shows(fabric_health="limited_capacity")),
    ("pcie_link_reduced", "degraded", shows(31.0, pcie_width=8, pcie_width_max=16)),
    ("pcie_link_reduced", "degraded", shows(31.0, pcie_generation=1, pcie_generation_max=5)),
    ("power_brake", "degraded", brakes),
    ("thermal_margin_shrinking", "at_risk", heats),
    ("busy_without_tokens", "degraded", spins(serves())),
    ("busy_without_tokens", "degraded", spins(serves("decode"))),
]


@pytest.mark.parametrize(("reason", "state", "happen"), SICK)
def test_holds(reason: str, state: str, happen: Callable[[Ward], None]) -> None:
    """Each reason comes from what it says, alone, and its event says so."""
    ward = Ward()
    assert ("ok", ()) == ward.health
    happen(ward)

    assert (state, (reason,)) == ward.health
    told = [event for event in ward.events() if event.kind == "health"]
    assert ("ok", state, (reason,)) == (told[-1].before, told[-1].after, told[-1].reasons)


def idle_link(ward: Ward) -> None:
    ward.reading = replace(ward.reading, utilization_ratio=LOAD_RATIO / 2)
    shows(100.0, pcie_generation=1, pcie_generation_max=5)(ward)


def goes_on(ward: Ward) -> None:
    for second in range(400):
        spins_once = serves(tokens=float(second))
        ward.reading, ward.workloads = replace(ward.reading, utilization_ratio=1.0), (spins_once,)
        ward.sweep()


WELL: dict[str, Callable[[Ward], None]] = {
    "a sweep that failed": is_in("error", 4.0),
    "programs that fail now and then": tells(13, 31),
    "errors of long ago": shows(ecc_errors=ecc("uncorrected", 9).ecc_errors),
    "a counter that started anew": errors_rise("uncorrected", 9, 0),
    "corrected errors once": errors_rise("corrected", 1, 2),
    "a link that rests": idle_link,
    "no recovery": shows(recovery_action="none", fabric_health="healthy", remapped_rows_failed=False),
    "tokens that come": goes_on,
    "prefill makes none": spins(serves("prefill")),
    "an engine whose page is out of reach": spins(serves(up=False)),
    "an engine that does not count": spins(serves(tokens=None)),
    "an engine beside a trainer": spins(serves(), serves("trainer")),
    "nobody's load": spins(),
}


@pytest.mark.parametrize("happen", WELL.values(), ids=WELL.keys())
def test_does_not_hold(happen: Callable[[Ward], None]) -> None:
    """What is no fault, or cannot be known to be one, is none."""
    ward = Ward()
    happen(ward)

    assert ("ok", ()) == ward.health


def test_every_reason_has_its_rule_and_its_test() -> None:
    """The closed list, the table and this file name the same reasons."""
    assert set(HEALTH_REASONS) == {rule.reason for rule in RULES} == {reason for reason, _, _ in SICK}
    assert len(HEALTH_REASONS) == len(RULES)


def test_the_worst_counts() -> None:
    """Several reasons are all told, and the state is the worst of theirs."""
    ward = Ward()
    shows(remapped_rows_pending=True)(ward)
    ward.xid(79)

    assert ("failed", ("xid_fatal", "remap_pending")) == ward.health


def test_a_reset_forgives() -> None:
    """A GPU that was lost and answers again is not blamed for what it told before; the count stays."""
    ward = Ward()
    ward.xid(79)
    is_in("lost")(ward)
    is_in("ok")(ward)

    assert ("ok", ()) == ward.health
    assert [("79", 1)] == [(xid.xid, xid.count) for xid in ward.latest.gpus[0].xids]
    states = [(event.before, event.after) for event in ward.events() if event.kind == "gpu_state"]
    assert [("ok", "lost"), ("lost", "ok")] == states


def test_an_error_counts_once() -> None:
    """Told at once and with the sweep after it, an error is one; kinds of errors are bounded."""
    ward = Ward()
    ward.xid(79)
    again = XidEvent(1, INFO.uuid, 79, ward.now, ward.now + 1e9)
    ward.latest = ward.diagnosis.examine(replace(ward.latest, gpus=ward.latest.gpus), (again,))
    assert [1] == [xid.count for xid in ward.latest.gpus[0].xids]

    for code in range(1_000, 1_100):
        ward.xid(code)
    xids = ward.latest.gpus[0].xids
    assert (MAX_CODES + 1, 101) == (len(xids), sum(xid.count for xid in xids))
    assert OTHER == xids[-1].xid


def test_other_events() -> None:
    """The driver, the meter of a GPU and an engine that is started anew are told once each."""
    ward = Ward()
    counts = replace(serves().counts, process_start_unix_seconds=100.0)  # type: ignore[type-var]
    ward.workloads = (replace(serves(), counts=counts),)
    ward.sweep()
    ward.energy = replace(ENERGY, source="integrated")
    ward.workloads = (replace(serves(), counts=replace(counts, process_start_unix_seconds=200.0)),)
    ward.sweep()
    ward.backend = replace(UP, driver_version="590.1")
    ward.sweep()
    ward.sweep()

    assert ["energy_source", "engine_restart", "driver"] == [event.kind for event in ward.events()]
    assert dict(ward.latest.events)["driver"] == 1
