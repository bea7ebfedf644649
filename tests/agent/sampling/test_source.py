"""Live source: one cycle reads everything, on schedule, whatever the cycle before took."""

import asyncio

import pytest
from support.accounts.readings import counts
from support.gpus.devices import FakeBackend, FakeDevice, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.engine.collector import EngineCollector
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.gpu.backend import BackendUnavailable
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuCollector, Timing
from perwatt_agent.sampling.source import LiveSource


class Silent:
    """An engine that never answers."""

    engine = "vllm"
    faults = ()

    def __init__(self) -> None:
        self.asked = 0

    async def read(self) -> EngineCounts:
        self.asked += 1
        await asyncio.Event().wait()
        return counts()


def source_of(
    clock: ManualClock, *readers: Silent, wait_seconds: float = 30.0
) -> tuple[LiveSource, FakeBackend]:
    backend = FakeBackend(FakeDevice(0, clock), FakeDevice(1, clock))
    timing = Timing(wait_seconds)
    driver = Driver(backend, clock, timing.hung_seconds)
    pollers = [
        EndpointPoller(Endpoint(WorkloadInfo(f"w{number}"), 8000, (number,), reader), clock, 5.0)
        for number, reader in enumerate(readers)
    ]
    collectors = [EngineCollector(pollers)] if pollers else []
    return LiveSource(driver, GpuCollector(driver, clock, timing), collectors, clock, 1.0), backend


async def test_collect(clock: ManualClock) -> None:
    """A cycle has every GPU, claims, versions, the generation, and the health of the collectors."""
    source, _ = source_of(clock, Silent(), Silent())
    readings = await source.collect()

    assert (clock.monotonic(), clock.unix()) == (readings.monotonic_seconds, readings.unix_seconds)
    assert (True, 1) == (readings.backend.up, readings.generation)
    assert ["GPU-0", "GPU-1"] == [known.uuid for known in readings.known]
    assert ["ok", "ok"] == [gpu.state for gpu in readings.gpus]
    assert [("w0", ("GPU-0",)), ("w1", ("GPU-1",))] == [
        (engine.info.workload, engine.gpus) for engine in readings.engines
    ]
    assert ["backend", "gpu", "engines"] == [health.name for health in readings.collectors]


async def test_without_a_driver(clock: ManualClock) -> None:
    """Where there is no driver the readings say so; nothing is invented."""
    source, backend = source_of(clock)
    backend.opens.failure = BackendUnavailable("no_driver", "no driver is loaded")
    readings = await source.collect()

    assert (False, "no_driver") == (readings.backend.up, readings.backend.reason)
    assert ((), ()) == (readings.known, readings.gpus)
    assert [("backend", False), ("gpu", False)] == [
        (health.name, health.success) for health in readings.collectors
    ]


async def test_beat(clock: ManualClock) -> None:
    """Sweeps keep their beat; beats that were missed are skipped, not made up for."""
    source, _ = source_of(clock)
    at = []
    for late_seconds in (0.0, 0.3, 0.9, 5.5, 0.0, 0.0):
        at.append((await source.next()).monotonic_seconds)
        clock.advance(late_seconds)

    assert pytest.approx([1_000.0, 1_001.0, 1_002.0, 1_003.0, 1_008.5, 1_009.0]) == at


async def test_silent_engines_delay_nobody(clock: ManualClock) -> None:
    """Pages are fetched beside the cycles, and given up when the source is closed."""
    reader = Silent()
    source, _ = source_of(clock, reader)
    for _ in range(3):
        assert ["ok", "ok"] == [gpu.state for gpu in (await source.next()).gpus]
    await eventually(lambda: reader.asked == 1)
    source.close()
    (polling,) = source._running
    await eventually(polling.cancelled)


async def test_no_page_before_the_driver_was_tried(clock: ManualClock) -> None:
    """Counts that come before the first joules would be divided by joules that nobody knows."""
    reader = Silent()
    source, backend = source_of(clock, reader, wait_seconds=0.05)
    with backend.opens.hanging():
        await source.next()
        await asyncio.sleep(0.05)
        assert 0 == reader.asked

    for _ in range(200):
        await source.next()
        await asyncio.sleep(0.01)
        if reader.asked:
            break
    source.close()
    assert 1 == reader.asked
