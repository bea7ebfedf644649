"""Every GPU is isolated: one that hangs, is lost or errs never delays or blanks another."""

import logging
import threading
from contextlib import ExitStack

import pytest
from support.gpus.devices import FakeBackend, FakeDevice, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import GpuSample
from perwatt_agent.gpu.backend import BackendBroken, BackendUnavailable, GenerationEnded, GpuFailure
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuCollector, Timing

PATIENT = Timing(wait_seconds=30.0)
HASTY = Timing(wait_seconds=1.0)
"""For cycles in which a call hangs: the first one waits this long in real time."""

LOST = GpuFailure("lost", "gpu_is_lost", "it fell off the bus")


class Machine:
    """GPUs behind a fake driver, read by hand, a second apart on the injected clock."""

    def __init__(self, clock: ManualClock, gpus: int = 2, timing: Timing = PATIENT) -> None:
        self.clock = clock
        self.devices = [FakeDevice(index, clock) for index in range(gpus)]
        self.backend = FakeBackend(*self.devices)
        self.driver = Driver(self.backend, clock, timing.hung_seconds)
        self.collector = GpuCollector(self.driver, clock, timing)

    async def collect(self) -> tuple[GpuSample, ...]:
        self.clock.advance(1.0)
        return await self.collector.collect()

    async def states(self) -> list[str]:
        return [sample.state for sample in await self.collect()]

    def fail_all(self, failure: Exception | None) -> None:
        """Let every read fail, or none."""
        for device in self.devices:
            device.reads.failure = failure

    def failures(self) -> dict[str, int]:
        return dict(self.collector.health.snapshot().failures)


def is_fresh(sample: GpuSample, clock: ManualClock) -> bool:
    return sample.reading is not None and sample.reading.monotonic_seconds == clock.monotonic()


async def test_all_well(clock: ManualClock) -> None:
    """Every GPU is read in every cycle, in the driver's order, and the slow tier every 15 s."""
    machine = Machine(clock, gpus=8)
    for _ in range(31):
        samples = await machine.collect()
        assert [f"GPU-{index}" for index in range(8)] == [sample.uuid for sample in samples]
        assert all(sample.state == "ok" and is_fresh(sample, clock) for sample in samples)

    assert [(31, 3)] * 8 == [(device.reads.count, device.slow_reads.count) for device in machine.devices]
    assert (True, {}) == (machine.collector.health.snapshot().success, machine.failures())


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (GpuFailure("error", "no_permission", "not allowed"), "no_permission"),
        (GenerationEnded("uninitialized"), "driver_reloaded"),
    ],
)
async def test_slow_facts_fail_alone(clock: ManualClock, failure: Exception, reason: str) -> None:
    """A GPU whose limits cannot be read is still read; they are tried again later, and counted."""
    machine = Machine(clock, gpus=1)
    machine.devices[0].slow_reads.failure = failure
    for _ in range(16):
        (sample,) = await machine.collect()
        assert ("ok", None) == (sample.state, sample.slow)
        assert is_fresh(sample, clock)

    assert (True, {reason: 2}) == (machine.collector.health.snapshot().success, machine.failures())


@pytest.mark.slow
async def test_hung(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """
    A GPU that hangs is an error at first and hung after 2 s; the others stay fresh in every cycle; it
    gets no further call, and when it answers again that is noticed.
    """
    machine = Machine(clock, gpus=3, timing=HASTY)
    await machine.collect()
    with machine.devices[1].reads.hanging():
        states = []
        for _ in range(6):
            samples = await machine.collect()
            states.append(samples[1].state)
            assert samples[1].reading is None
            assert is_fresh(samples[0], clock)
            assert is_fresh(samples[2], clock)
        assert ["error", "error", "hung", "hung", "hung", "hung"] == states
        assert 2 == machine.devices[1].reads.count
        assert {"late": 2, "hung": 4} == machine.failures()
        assert not machine.collector.health.snapshot().success

    caplog.set_level(logging.INFO)
    await eventually(lambda: not machine.collector._gpus["GPU-1"].is_busy)
    samples = await machine.collect()
    assert ["ok"] * 3 == [sample.state for sample in samples]
    assert is_fresh(samples[1], clock)
    assert ["error (late)", "hung (hung)", "answers again"] == [
        word
        for record in caplog.records
        for word in ("error (late)", "hung (hung)", "answers again")
        if word in record.getMessage()
    ]


@pytest.mark.slow
async def test_late_result_is_not_shown(clock: ManualClock) -> None:
    """A reading that comes after its cycle is nobody's: the next cycle's is a new one."""
    machine = Machine(clock, gpus=1, timing=HASTY)
    with machine.devices[0].reads.hanging():
        (sample,) = await machine.collect()
        assert ("error", None) == (sample.state, sample.reading)
    await eventually(lambda: not machine.collector._gpus["GPU-0"].is_busy)

    (sample,) = await machine.collect()
    assert is_fresh(sample, clock)


async def test_lost(clock: ManualClock) -> None:
    """A lost GPU is tried again after 5 s, not before; the others go on."""
    machine = Machine(clock)
    machine.devices[0].reads.failure = LOST
    tries = []
    for _ in range(11):
        before = machine.devices[0].reads.count
        samples = await machine.collect()
        tries.append(machine.devices[0].reads.count - before)
        assert ["lost", "ok"] == [sample.state for sample in samples]
        assert is_fresh(samples[1], clock)
    assert [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] == tries
    assert {"gpu_is_lost": 11} == machine.failures()

    machine.devices[0].reads.failure = None
    assert ["lost", "ok"] == await machine.states()
    clock.advance(5.0)
    assert ["ok", "ok"] == await machine.states()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(GpuFailure("error", "no_data", "not now"), "no_data"), (ZeroDivisionError("surprise"), "unexpected")],
)
async def test_error(clock: ManualClock, failure: Exception, reason: str) -> None:
    """A GPU that errs, even by surprise, does so alone, and is read again in the next cycle."""
    machine = Machine(clock)
    machine.devices[0].reads.failure = failure
    assert ["error", "ok"] == await machine.states()
    assert {reason: 1} == machine.failures()

    machine.devices[0].reads.failure = None
    assert ["ok", "ok"] == await machine.states()


async def test_one_says_that_the_driver_went(clock: ManualClock) -> None:
    """While others are read the driver is there, whatever one GPU says: that one fails, alone."""
    machine = Machine(clock)
    machine.devices[0].reads.failure = GenerationEnded("uninitialized")
    for _ in range(10):
        samples = await machine.collect()
        assert ["error", "ok"] == [sample.state for sample in samples]
        assert is_fresh(samples[1], clock)

    assert (1, {"driver_reloaded": 10}) == (machine.driver.generations, machine.failures())


async def test_driver_reloaded(clock: ManualClock) -> None:
    """When the generation ends, the backend is closed and opened anew, and all GPUs are read again."""
    machine = Machine(clock, timing=HASTY)
    await machine.collect()
    machine.fail_all(GenerationEnded("uninitialized"))
    with machine.backend.closes.hanging():
        assert ["error", "error"] == await machine.states()
        assert not machine.collector.health.snapshot().success
        assert ["lost", "lost"] == await machine.states()
        assert not machine.collector.health.snapshot().success

    machine.fail_all(None)
    while "lost" in (states := await machine.states()):
        pass
    assert ["ok", "ok"] == states
    assert (2, 1, 2) == (
        machine.backend.opens.count,
        machine.backend.closes.count,
        machine.driver.generations,
    )


@pytest.mark.slow
async def test_driver_reloaded_while_one_hangs(clock: ManualClock) -> None:
    """The driver is not shut down under a hanging call, and that GPU stays hung in the new generation."""
    machine = Machine(clock, gpus=3, timing=HASTY)
    await machine.collect()
    with machine.devices[2].reads.hanging():
        for _ in range(3):
            await machine.collect()
        machine.fail_all(GenerationEnded("uninitialized"))
        await machine.collect()
        machine.fail_all(None)
        while (states := await machine.states())[0] == "lost":
            assert "hung" == states[2]

        assert ["ok", "ok", "hung"] == states
        assert 0 == machine.backend.closes.count
    await eventually(lambda: not machine.collector._gpus["GPU-2"].is_busy)
    assert ["ok", "ok", "ok"] == await machine.states()


async def test_gone_with_a_generation(clock: ManualClock) -> None:
    """A GPU that a new generation does not list stays known, as lost; one that is new is read."""
    machine = Machine(clock)
    await machine.collect()
    machine.fail_all(GenerationEnded("uninitialized"))
    await machine.collect()
    machine.fail_all(None)
    machine.backend.devices = (machine.devices[1], FakeDevice(2, clock))
    while "ok" not in (states := await machine.states()):
        pass

    assert ["lost", "ok", "ok"] == states
    assert ["GPU-0", "GPU-1", "GPU-2"] == [info.uuid for info in machine.collector.known]


async def test_no_driver_at_first(clock: ManualClock) -> None:
    """Without a driver a cycle brings nothing and says why; when it appears, its GPUs do."""
    machine = Machine(clock)
    machine.backend.opens.failure = BackendUnavailable("no_driver", "no driver is loaded")
    assert () == await machine.collect()
    assert {"no_driver": 1} == machine.failures()

    machine.backend.opens.failure = None
    assert ["ok", "ok"] == await machine.states()


async def test_broken(clock: ManualClock) -> None:
    """What only a new process can cure ends the cycles."""
    machine = Machine(clock)
    machine.backend.opens.failure = BackendBroken("version_mismatch", "the driver was replaced")

    with pytest.raises(BackendBroken):
        await machine.collect()


async def test_close_while_all_hang(clock: ManualClock) -> None:
    """Closing waits for nobody, and shuts no driver down under a hanging call."""
    machine = Machine(clock, timing=HASTY)
    await machine.collect()
    with ExitStack() as hanging:
        for device in machine.devices:
            hanging.enter_context(device.reads.hanging())
        assert ["error", "error"] == await machine.states()
        machine.collector.close()

        assert 0 == machine.backend.closes.count


async def test_no_thread_can_start(clock: ManualClock) -> None:
    """Where threads are limited, GPUs are late and not hung, and are read as soon as there is a thread."""
    machine = Machine(clock, timing=Timing(wait_seconds=0.2))
    while not await machine.driver.update(PATIENT.wait_seconds):
        pass
    machine.collector._use_devices()
    before = threading.stack_size(1 << 47)  # more than the address space: no thread can begin
    try:
        for _ in range(4):
            assert ["error", "error"] == await machine.states()
        assert {"late": 8} == machine.failures()
    finally:
        threading.stack_size(before)
    while "error" in await machine.states():
        pass


@pytest.mark.parametrize(("interval", "wait"), [(0.1, 0.06), (1.0, 0.6), (60.0, 2.0)])
def test_timing(interval: float, wait: float) -> None:
    """A cycle waits for most of its interval at most, and never longer than 2 s."""
    assert pytest.approx(wait) == Timing.for_interval(interval).wait_seconds


async def test_two_gpus_with_one_uuid(clock: ManualClock) -> None:
    """A UUID that two GPUs have is the identity of neither: none is charged with the joules of the other."""
    machine = Machine(clock, gpus=3)
    machine.devices[2].info = machine.devices[0].info
    samples = await machine.collect()

    assert [("GPU-1", "ok")] == [(sample.uuid, sample.state) for sample in samples]
    assert 2 == machine.collector.unidentified
