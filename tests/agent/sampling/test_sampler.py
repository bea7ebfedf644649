"""Sampler: it publishes each cycle as a whole, after its observers."""

import asyncio
from collections.abc import Callable

import pytest
from support.accounts.readings import At, sweep
from support.gpus.devices import FakeBackend, FakeDevice

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import Readings, XidEvent
from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_agent.gpu.backend import BackendBroken, GenerationEnded
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuCollector, Timing
from perwatt_agent.sampling.sampler import Sampler
from perwatt_agent.sampling.source import LiveSource


class Played:
    """A source of given readings."""

    def __init__(self, *readings: Readings) -> None:
        self.status = BackendStatus("nvml", up=False, reason="starting")
        self.closed = False
        self._readings = iter(readings)

    async def next(self) -> Readings | None:
        return next(self._readings, None)

    def subscribe(self, on_event: Callable[[XidEvent], None]) -> None:
        self.report = on_event

    def close(self) -> None:
        self.closed = True


class Endless(Played):
    """A source whose next cycle never comes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def next(self) -> Readings | None:
        self.asked.set()
        await asyncio.Event().wait()
        return None


def live(clock: ManualClock) -> tuple[Sampler, FakeDevice, FakeBackend]:
    device = FakeDevice(0, clock)
    backend = FakeBackend(device)
    driver = Driver(backend, clock, hung_seconds=2.0)
    gpus = GpuCollector(driver, clock, Timing(wait_seconds=30.0))
    return Sampler(LiveSource(driver, gpus, (), clock, 1.0), Account(1.0), clock), device, backend


async def test_before_the_first_cycle(clock: ManualClock) -> None:
    """There is a snapshot from the first moment on: it says that nothing is known yet."""
    latest = Sampler(Played(), Account(1.0), clock).latest

    assert (clock.unix(), (), "starting") == (latest.unix_seconds, latest.gpus, latest.backend.reason)


async def test_published_after_observed(clock: ManualClock) -> None:
    """What must survive a crash is saved before anybody can have seen it on the page."""
    latest_when_observed: list[tuple[Snapshot, Snapshot]] = []
    sampler = Sampler(
        Played(sweep(100.0, {0: At(0.0)}), sweep(101.0, {0: At(300.0)})),
        Account(1.0),
        clock,
        (lambda readings, snapshot: latest_when_observed.append((snapshot, sampler.latest)),),
    )
    first = sampler.latest
    assert await sampler.tick()
    second = sampler.latest
    assert await sampler.tick()

    assert [(second, first), (sampler.latest, second)] == latest_when_observed
    assert not await sampler.tick()


async def test_subscribed(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Subscribers find the new snapshot; one that fails is logged, and sampling goes on."""

    def broken() -> None:
        raise ZeroDivisionError

    latest: list[Snapshot] = []
    sampler = Sampler(Played(sweep(100.0, {0: At(0.0)}), sweep(101.0, {0: At(300.0)})), Account(1.0), clock)
    sampler.subscribe(lambda: latest.append(sampler.latest))
    sampler.subscribe(broken)
    for seconds in (100.0, 101.0):
        assert await sampler.tick()
        await asyncio.sleep(0)
        assert seconds == latest[-1].monotonic_seconds

    assert ["ZeroDivisionError"] * 2 == [
        record.exc_info[0].__name__ for record in caplog.records if record.exc_info and record.exc_info[0]
    ]


async def test_run_ends_with_its_source(clock: ManualClock) -> None:
    """The loop ends when there is no more, and closes its source."""
    source = Played(sweep(100.0, {}))
    await Sampler(source, Account(1.0), clock).run()

    assert source.closed


async def test_energy_goes_on_over_generations(clock: ManualClock) -> None:
    """When the driver comes back with a counter that goes on, not a joule is missing."""
    sampler, device, _ = live(clock)
    await sampler.tick()
    device.reads.failure = GenerationEnded("uninitialized")
    await sampler.tick()
    device.reads.failure = None
    while not sampler.latest.gpus or sampler.latest.gpus[0].state != "ok":
        await sampler.tick()

    energy = sampler.latest.gpus[0].energy
    assert energy is not None
    assert 300.0 * (clock.monotonic() - 1_000.0) == energy.accepted_joules


async def test_broken_backend_ends_the_loop(clock: ManualClock) -> None:
    """What only a new process can cure reaches whoever runs the loop."""
    sampler, _, backend = live(clock)
    backend.opens.failure = BackendBroken("version_mismatch", "the driver was replaced")

    with pytest.raises(BackendBroken):
        await sampler.run()


async def test_cancelled(clock: ManualClock) -> None:
    """Stopping the loop, in the middle of a cycle, closes its source."""
    source = Endless()
    running = asyncio.create_task(Sampler(source, Account(1.0), clock).run())
    await source.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert source.closed
