"""Collector of GPU readings: reads all GPUs in each cycle, through every generation of the driver."""

import logging
from collections import Counter as Tally
from functools import partial

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.gpu import GpuInfo, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.readings import GpuSample
from perwatt_agent.gpu.backend import Device, GenerationEnded, GpuFailure
from perwatt_agent.sampling.driver import STARTING, Driver
from perwatt_agent.sampling.gpu_inventory import GpuInventory
from perwatt_agent.sampling.total_failure import TotalFailure
from perwatt_agent.threads.pool import Call, NotStarted, ThreadPool

logger = logging.getLogger(__name__)

Read = tuple[GpuReading, GpuSlowReading | GpuFailure | None]
"""The reading, and the slow facts where they were due."""


class Timing(Struct, frozen=True):
    """
    How long a cycle waits for its GPUs, when a busy GPU counts as hung, and the periods of slow reads and of
    retries, in seconds.
    """

    wait_seconds: float
    hung_seconds: float = 2.0
    slow_period_seconds: float = 15.0
    lost_retry_seconds: float = 5.0

    @staticmethod
    def for_interval(interval_seconds: float) -> "Timing":
        """A cycle waits for a late GPU for less than an interval, so the others are never delayed."""
        return Timing(wait_seconds=min(2.0, 0.6 * interval_seconds))


class _Gpu:
    """One GPU over all driver generations: its current device, its call in flight, and its state."""

    def __init__(self, info: GpuInfo, clock: Clock, timing: Timing) -> None:
        self.info = info
        self._device: Device | None = None
        self._clock = clock
        self._timing = timing
        self._read: Call[Read] | None = None
        self._late: Call[Read] | None = None
        self._reason = ""
        self._retry_at = 0.0
        self._slow_due_at = 0.0
        self.state: GpuState = "ok"
        self.sample: GpuSample = GpuSample(info.uuid, "error")

    @property
    def is_busy(self) -> bool:
        return any(call is not None and not call.is_done for call in (self._read, self._late))

    def use(self, device: Device) -> None:
        """Read the GPU through *device* from now on, in this driver generation or a new one."""
        self.info = device.info
        self._device = device
        self._retry_at = self._slow_due_at = 0.0

    def start(self, now: float) -> Call[Read] | None:
        """The read to make in this cycle; None while one is still in flight, or none is due."""
        self._read = None
        if self._late is not None and self._late.is_done:
            self._late = None  # its reading belongs to a cycle that is over
        if self._late is not None or now < self._retry_at:
            return None
        with_slow = now >= self._slow_due_at
        if with_slow:
            self._slow_due_at = now + self._timing.slow_period_seconds
        assert self._device is not None  # only GPUs that the driver lists are read
        self._read = Call(partial(_read, self._device, with_slow), now)
        return self._read

    def finish(self, health: Health) -> None:
        """Set `sample` to the result of this cycle; raises GenerationEnded when the driver went away."""
        if self._read is not None and self._read.is_done:
            self._set_sample(self._read, health)
            return
        self.sample = self._empty_sample()
        self._late = self._late or self._read
        if self._late is None:
            health.failed(self._reason)  # the next try is not due yet
        else:
            self._report_busy(self._late.submitted_at, health)

    def fail(self, state: GpuState, reason: str, message: str, health: Health) -> None:
        health.failed(reason)
        if (state, reason) != (self.state, self._reason):
            logger.warning(
                "GPU %s (%s) is %s (%s): %s",
                self.info.index,
                self.info.uuid,
                state,
                reason,
                message,
                extra={"kind": f"{state} {reason}"},
            )
        self.state, self._reason = state, reason
        self.sample = GpuSample(self.info.uuid, state)
        if state == "lost":
            self._retry_at = self._clock.monotonic() + self._timing.lost_retry_seconds

    def _set_sample(self, read: Call[Read], health: Health) -> None:
        try:
            reading, slow = read.result()
        except GpuFailure as failure:
            self.fail(failure.state, failure.reason, str(failure), health)
            return
        except NotStarted as error:
            self.fail("error", "late", str(error), health)
            return
        except GenerationEnded:
            self.sample = self._empty_sample()
            raise
        except Exception as error:  # noqa: BLE001 - an unexpected failure of one GPU must not affect the others
            self.fail("error", "unexpected", repr(error), health)
            return
        if self.state != "ok":
            logger.info("GPU %s (%s) answers again", self.info.index, self.info.uuid)
        self.state, self._reason = "ok", ""
        if isinstance(slow, GpuFailure):
            health.noted(slow.reason)  # absent until the next slow read; the fast facts are there
            slow = None
        self.sample = GpuSample(self.info.uuid, "ok", reading, slow)

    def _empty_sample(self) -> GpuSample:
        return GpuSample(self.info.uuid, self.state if self.state != "ok" else "error")

    def _report_busy(self, since: float, health: Health) -> None:
        if self._clock.monotonic() - since >= self._timing.hung_seconds:
            self.fail("hung", "hung", "a call into the driver does not return", health)
        else:
            self.fail("error", "late", "it did not answer within the cycle", health)


class GpuCollector:
    """
    Reads the GPUs of a driver, each at most once at a time.

    Threads of a pool make the calls, so that no call can block the loop.
    """

    def __init__(
        self, driver: Driver, clock: Clock, timing: Timing, inventory: GpuInventory | None = None
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._timing = timing
        self._inventory = inventory or GpuInventory()
        self._gpus: dict[str, _Gpu] = {}
        self._present: list[_Gpu] = []
        self._pool = ThreadPool("gpus")
        self._total_failure = TotalFailure()
        self.health = Health("gpu")
        self.known: tuple[GpuInfo, ...] = ()
        """Every GPU that was ever listed, by index."""

    @property
    def unidentified(self) -> int:
        """How many GPUs are there that have no identity."""
        return self._inventory.unidentified

    async def collect(self) -> tuple[GpuSample, ...]:
        """Read every GPU once. A GPU that does not answer in time has no reading in this cycle."""
        started = self._clock.monotonic()
        if await self._driver.update(self._timing.wait_seconds):
            self._use_devices()
        if self._driver.generation is None:
            self._expect_remembered()
            self.health.failed(self._driver.status.reason)
            self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
            return tuple(GpuSample(info.uuid, self._state_without_driver(info)) for info in self.known)
        await self._read_all()
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
        return tuple(self._gpus[info.uuid].sample for info in self.known)

    def close(self) -> None:
        self._driver.close(may_close=not self._any_busy())

    async def _read_all(self) -> None:
        present, now = self._present, self._clock.monotonic()
        reads = [read for gpu in present if (read := gpu.start(now)) is not None]
        await self._pool.run(reads, self._timing.wait_seconds)
        ended: dict[_Gpu, str] = {}
        for gpu in present:
            try:
                gpu.finish(self.health)
            except GenerationEnded as raised:
                ended[gpu] = str(raised)
        # A driver that went away is gone for all GPUs: where others are read, only this GPU fails.
        others_answer = any(gpu.sample.state == "ok" for gpu in present)
        for gpu, why in ended.items() if others_answer else ():
            gpu.fail("error", "driver_reloaded", why, self.health)
        if ended and not others_answer:
            self.health.failed("driver_reloaded")
            why = next(iter(ended.values()))
            self._driver.end("driver_reloaded", why, may_close=not self._any_busy())
        elif self._total_failure.should_reopen([gpu.sample.state for gpu in present]):
            why = "no GPU can be read any more, though the driver answers"
            self._driver.end("all_gpus_fail", why, may_close=not self._any_busy())

    def _use_devices(self) -> None:
        """Use the devices of the current generation. A GPU that it does not list is lost."""
        assert self._driver.generation is not None
        generation = self._driver.generation
        devices = [one for one in generation.devices if not self._inventory.is_excluded(one.info)]
        # A UUID that two GPUs have is the identity of neither.
        times = Tally(device.info.uuid for device in devices)
        listed = {one.info.uuid: one for one in devices if times[one.info.uuid] == 1}
        infos = [device.info for device in listed.values()]
        gone = self._inventory.update(infos, generation.unidentified + len(devices) - len(listed))
        self.known = self._inventory.known
        for device in listed.values():
            self._gpu(device.info).use(device)
        for info in gone:
            self._gpu(info).fail("lost", "gone", "the driver does not list it", self.health)
        known = {info.uuid: info for info in self.known}
        self._gpus = {uuid: gpu for uuid, gpu in self._gpus.items() if uuid in known}
        self._present = [gpu for uuid, gpu in self._gpus.items() if uuid in listed]

    def _expect_remembered(self) -> None:
        """The GPUs of before are lost while the driver fails; while it starts, nothing is said of them."""
        if self._driver.status.reason == STARTING:
            return
        for info in self._inventory.expect_remembered():
            self._gpu(info).fail("lost", "gone", "the driver does not answer", self.health)
            self.known = self._inventory.known

    def _gpu(self, info: GpuInfo) -> _Gpu:
        if info.uuid not in self._gpus:
            self._gpus[info.uuid] = _Gpu(info, self._clock, self._timing)
        return self._gpus[info.uuid]

    def _state_without_driver(self, info: GpuInfo) -> GpuState:
        return "hung" if self._gpus[info.uuid].state == "hung" else "lost"

    def _any_busy(self) -> bool:
        return any(gpu.is_busy for gpu in self._gpus.values())


def _read(device: Device, with_slow: bool) -> Read:
    # The slow facts first, so that the reading names the failed calls of both.
    slow = _read_slow(device) if with_slow else None
    return device.read(), slow


def _read_slow(device: Device) -> GpuSlowReading | GpuFailure:
    try:
        return device.read_slow()
    except GpuFailure as failure:
        return failure.with_traceback(None)  # it refers to `_read`, which refers to the failure
    except GenerationEnded as end:
        # If so, the read that follows fails too; if not, only the slow facts of this GPU fail.
        return GpuFailure("error", "driver_reloaded", str(end))
