"""
Every meter with every fault: its health says what is wrong, and no joule is shown that was not used.

The meters are those of tests/support/meters/meter_benches.py, where one more is a row more.
"""

import math
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext

import pytest
from support.accounts.readings import At, sweep
from support.meters.meter_benches import BENCHES, Bench

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.host_meter import MeterSnapshot
from perwatt_agent.meters.collector import MeterPoller

pytestmark = pytest.mark.slow

BEFORE_SECONDS = 90
FAULT_SECONDS = 60
AFTER_SECONDS = 120

BROKEN = {"absent": "absent", "permission_denied": "permission_denied", "garbage": "malformed"}
"""What breaks a meter, and the reason by which its collector says so."""

WRONG = {
    "negative": {"negative", "implausible"},
    "jump": {"jump", "implausible"},
    "off by 1000 up": {"jump", "implausible"},
    "off by 1000 down": {"implausible"},
    "frozen": {"frozen"},
}
"""What makes its number wrong, and the reasons, by whoever is the first to notice."""

FACTORS = {"off by 1000 up": 1000.0, "off by 1000 down": 0.001, "negative": -1.0}


PEAK = 1_090.0
"""When the first fault begins: at the highest power, so that a number that stands still is too high."""


def boards_watts(t: float) -> float:
    return 600.0 + 300.0 * math.sin(2 * math.pi * t / 40.0)


def meter_watts(bench: Bench, t: float) -> float:
    """What the meter's part of the node draws: never less than the boards if it contains them."""
    if bench.scope in ("node", "module"):
        return 2.0 * boards_watts(t) + 400.0
    return 100.0 + boards_watts(t) / 2.0


class World:
    """A node with one GPU, one meter and an agent; time passes second by second."""

    def __init__(self, bench: Bench, clock: ManualClock) -> None:
        self.bench = bench
        self.true_joules = 50_000.0
        self._clock = clock
        self._gpu_joules = 0.0
        self._poller = MeterPoller(bench.meter, clock)
        self._account = Account(1.0)
        self._due = clock.monotonic()
        self._rejections: set[str] = set()
        self.shown: MeterSnapshot | None = None
        self.series: list[tuple[float, float]] = []
        """The true joules, and those on the page, whenever the page's have moved."""

    @property
    def reasons(self) -> set[str]:
        """Every reason that the page has given so far."""
        return self._rejections | {reason for reason, _ in self._poller.health.snapshot().failures}

    @property
    def watts(self) -> float:
        return meter_watts(self.bench, self._clock.monotonic())

    async def run(self, seconds: int, fault: str = "", *, reading: bool = True) -> None:
        stuck = (self.watts, self.true_joules)
        for _ in range(seconds):
            t = self._clock.monotonic()
            self._gpu_joules += (boards_watts(t) + boards_watts(t + 1)) / 2
            self.true_joules += (meter_watts(self.bench, t) + meter_watts(self.bench, t + 1)) / 2
            self._clock.advance(1.0)
            if reading and self._clock.monotonic() >= self._due:
                self._due = self._clock.monotonic() + self.bench.meter.interval_seconds
                with self._shown(fault, stuck):
                    await self._poller.poll()
            self._sweep()

    def _shown(self, fault: str, stuck: tuple[float, float]) -> AbstractContextManager[None]:
        """Let the meter read what it is to read, rightly or not."""
        bench, watts, joules = self.bench, self.watts, self.true_joules
        factor = FACTORS.get(fault, 1.0)
        if fault == "frozen":
            bench.show(*stuck)
        elif fault == "jump":
            bench.show(watts + 500_000.0, joules + 7_000.0 * self._clock.monotonic())
        else:
            bench.show(watts * factor, joules * factor)
        if fault == "absent":
            bench.take_away()
        elif fault == "garbage":
            bench.garble()
        return bench.deny() if fault == "permission_denied" else nullcontext()

    def _sweep(self) -> None:
        t = self._clock.monotonic()
        gpus = {0: At(self._gpu_joules, boards_watts(t), 0.5)}
        shown = self._account.advance(sweep(t, gpus, meters=self._poller.drain())).meters
        self.shown = next((meter for meter in shown if meter.meter == self.bench.label), None)
        if self.shown is not None:
            self._rejections |= {reason for reason, _ in self.shown.rejections}
            joules = self.shown.energy_joules
            if joules is not None and (not self.series or joules != self.series[-1][1]):
                self.series.append((self.true_joules, joules))

    async def assert_recovers(self) -> None:
        """Once it is well again, it goes on with what is used from then on; no joule was ever false."""
        moves = len(self.series)
        await self.run(AFTER_SECONDS)
        assert self.shown is not None
        assert self.shown.is_believed
        (first_true, first_shown), (true, shown) = self.series[moves], self.series[-1]
        assert pytest.approx(true - first_true, rel=0.05) == shown - first_shown
        self.assert_no_false_joule()

    def assert_no_false_joule(self) -> None:
        """From any moment at which the page moved to any later one, it grew by no more than was used."""
        least_ahead = math.inf
        for true_joules, shown_joules in self.series:
            ahead = shown_joules - true_joules
            least_ahead = min(least_ahead, ahead)
            assert ahead - least_ahead <= 2.0 * meter_watts(self.bench, PEAK)  # straight lines, not a sine
        assert sorted(self.series) == self.series


@pytest.fixture(params=BENCHES)
async def world(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[World]:
    async with BENCHES[request.param](clock) as bench:
        yield World(bench, clock)


async def test_well(world: World) -> None:
    """A meter without a fault shows what was used, and nothing to complain of."""
    await world.run(BEFORE_SECONDS)
    (first_true, first_shown), (true, shown) = world.series[0], world.series[-1]

    assert pytest.approx(true - first_true, rel=0.02) == shown - first_shown
    assert set() == world.reasons


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken(world: World, fault: str) -> None:
    """A meter that cannot be read is absent and says why; when it can be again, it goes on."""
    await world.run(BEFORE_SECONDS)
    await world.run(FAULT_SECONDS, fault)

    assert {world.bench.reasons.get(fault, BROKEN[fault])} == world.reasons
    assert world.shown is None
    await world.assert_recovers()


@pytest.mark.parametrize("fault", WRONG)
async def test_wrong(world: World, fault: str) -> None:
    """A number that cannot be adds nothing and is said not to be believed, until it is right again."""
    await world.run(BEFORE_SECONDS)
    await world.run(FAULT_SECONDS, fault)

    if fault == "off by 1000 down" and world.bench.scope != "node":
        assert world.reasons <= {"reset"}  # beside nothing else can it be told, and it adds next to nothing
    else:
        assert world.reasons & WRONG[fault]
        assert world.shown is None or not world.shown.is_believed
    await world.assert_recovers()


async def test_late(world: World) -> None:
    """Readings that come ten seconds late add what is known, and time that is not known is not covered."""
    await world.run(BEFORE_SECONDS)
    for _ in range(5):
        await world.run(10, reading=False)
        await world.run(1)

    assert set() == world.reasons
    await world.assert_recovers()


@pytest.mark.parametrize("world", ["rapl"], indirect=True)
async def test_wraps(world: World) -> None:
    """A counter that goes round loses and invents nothing; a power does not go round."""
    await world.run(600)
    (first_true, first_shown), (true, shown) = world.series[0], world.series[-1]

    assert pytest.approx(true - first_true, rel=1e-6) == shown - first_shown
    assert set() == world.reasons
