"""Thread for a meter whose reads may block, so that the loop never waits for them."""

from collections.abc import Sequence
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.threads.worker import WorkerThread


class BlockingMeter(Protocol):
    """A Meter whose `read` is an ordinary function that may be slow or never return."""

    @property
    def name(self) -> str: ...

    @property
    def interval_seconds(self) -> float: ...

    def read(self) -> Sequence[MeterSample]: ...


class ThreadedMeter:
    """Meter that reads a BlockingMeter on its own thread: a hung read delays neither the loop nor an exit."""

    def __init__(self, meter: BlockingMeter, clock: Clock) -> None:
        self._meter = meter
        self._thread = WorkerThread(f"meter-{meter.name}", clock)

    @property
    def name(self) -> str:
        return self._meter.name

    @property
    def interval_seconds(self) -> float:
        return self._meter.interval_seconds

    async def read(self) -> Sequence[MeterSample]:
        if self._thread.busy_since is not None:
            raise MeterFailure(
                "hung", "an earlier read has not returned; see dmesg for what the kernel waits for"
            )
        return await self._thread.submit(self._meter.read)
