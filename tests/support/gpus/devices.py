"""Fake GPUs and a fake backend: each call can succeed, fail, end the generation, or hang."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from perwatt_agent.clock import Clock
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import Generation

PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come; never reached where all is well."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    for _ in range(round(PATIENCE_SECONDS / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


class Calls:
    """What happens to calls: they raise `failure` if there is one, after waiting while they hang."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None
        self._may_return = threading.Event()
        self._may_return.set()

    def happen(self) -> None:
        self.count += 1
        self._may_return.wait(PATIENCE_SECONDS)
        if self.failure is not None:
            raise self.failure

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let calls hang while inside."""
        self._may_return.clear()
        try:
            yield
        finally:
            self._may_return.set()


class FakeDevice:
    """A GPU at 300 W whose energy counts from the clock's zero."""

    def __init__(self, index: int, clock: Clock) -> None:
        self.info = GpuInfo(f"GPU-{index}", index, "Fake GPU")
        self.reads = Calls()
        self.slow_reads = Calls()
        self._clock = clock

    def read(self) -> GpuReading:
        now = self._clock.monotonic()
        self.reads.happen()
        return GpuReading(now, energy_joules=300.0 * now, power_watts=300.0)

    def read_slow(self) -> GpuSlowReading:
        self.slow_reads.happen()
        return GpuSlowReading(self._clock.monotonic(), power_limit_watts=700.0)


class FakeBackend:
    """A driver that shows `devices`."""

    def __init__(self, *devices: FakeDevice, name: str = "nvml") -> None:
        self.name = name
        self.devices = devices
        self.opens = Calls()
        self.closes = Calls()

    def open(self) -> Generation:
        self.opens.happen()
        return Generation("570.00", "12.570.00", self.devices)

    def close(self) -> None:
        self.closes.happen()
