"""History of the aggregator: records a tick every 15 s, answers from those so far, knows its own health."""

import asyncio
import logging
import sqlite3
from collections import Counter as Tally
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perwatt_agent.clock import Clock
from perwatt_agent.threads.worker import WorkerThread
from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.reader import HistoryReader
from perwatt_aggregator.history.store import MAX_EVENTS, RAW_SECONDS, HistoryStore
from perwatt_aggregator.history.values import Tick

logger = logging.getLogger(__name__)

T = TypeVar("T")

FAILURES = ("disk_full", "clock", "file", "internal")
"""Why a tick was not kept."""

MakeTick = Callable[[int, int], Awaitable[Tick]]
"""Makes the tick that starts at a Unix time and has so many seconds."""


class NoHistory(Exception):
    """There is no history that could be read; the message says why."""


class History:
    """
    The history in one file. It is written by one thread and read by another, so that a disk that hangs or is
    full delays no scrape and no live answer.

    *store* is where ticks are kept; opened by `open`, before anything else.
    """

    def __init__(self, config: HistoryConfig, store: HistoryStore, clock: Clock) -> None:
        self.config = config
        self._store = store
        self._clock = clock
        self._reader = HistoryReader(store.path)
        self._reading = asyncio.Lock()
        self._read_thread: WorkerThread | None = None
        self._writer: WorkerThread | None = None
        self.last_tick_unix: float | None = None
        self.failures: Tally[str] = Tally()
        self.is_degraded = False
        self.saved_events: tuple[bytes, ...] = ()
        self._events: deque[bytes] = deque(maxlen=MAX_EVENTS)

    @property
    def file_bytes(self) -> int:
        """The size of the file, as of the last tick."""
        return self._store.bytes

    def open(self) -> None:
        """Open the file, if that is possible now. Raises HistoryRefused for the file of a newer perwatt."""
        try:
            self._store.open()
            self.saved_events = tuple(self._store.events())
        except (OSError, sqlite3.Error) as error:
            self._report(_reason(error), error)

    async def run(self, make: MakeTick) -> None:
        """Record a tick whenever its time has passed, until cancelled."""
        while True:
            unix = self._clock.unix()
            end = (unix // RAW_SECONDS + 1.0) * RAW_SECONDS
            await self._clock.sleep_until(self._clock.monotonic() + end - unix)
            try:
                tick = await make(int(end) - RAW_SECONDS, RAW_SECONDS)
            except Exception as error:
                # The history must go on, and so must the answers.
                logger.exception("a tick of the history cannot be made; please report this")
                self._report("internal", error)
                continue
            await self.add(tick)

    async def add(self, tick: Tick) -> None:
        """Keep *tick*; one that cannot be kept is lost, and counted."""
        self._writer = self._writer or WorkerThread("write history", self._clock)
        events = tuple(self._events)
        try:
            await self._writer.submit(lambda: self._store.add(tick, events))
        except (OSError, sqlite3.Error) as error:
            self._report(_reason(error), error)
        else:
            for _ in events[: len(self._events)]:
                self._events.popleft()
            self.last_tick_unix = float(tick.start + tick.seconds)
            if self.is_degraded:
                logger.info("history.path: ticks are kept again in %s", self._store.path)
            self.is_degraded = False

    def add_event(self, item: bytes) -> None:
        """Keep an event with the next tick."""
        self._events.append(item)

    async def span(self) -> tuple[int, int] | None:
        """From the oldest tick to the end of the newest one. Raises NoHistory."""
        return await self.read(HistoryReader.span)

    async def read(self, call: Callable[[HistoryReader], T]) -> T:
        """What *call* makes of the history, in the thread that reads it. Raises NoHistory."""
        async with self._reading:
            thread = self._read_thread
            if thread is None or thread.busy_since is not None:
                # A thread that a cancelled request left busy keeps its reader, and ends on its own.
                thread = self._read_thread = WorkerThread("read history", self._clock)
                self._reader = HistoryReader(self._store.path)
            reader = self._reader
            try:
                return await thread.submit(lambda: call(reader))
            except sqlite3.Error as error:
                raise NoHistory(f"the history cannot be read ({error}); see `history.path`") from None

    def _report(self, reason: str, error: Exception) -> None:
        self.failures[reason] += 1
        if not self.is_degraded:
            logger.warning(
                "history.path: %s is not written (%s: %s); live answers go on, and ticks are lost until it "
                "is; free space on its disk, or set another path",
                self._store.path,
                reason,
                error,
            )
        self.is_degraded = True


def _reason(error: Exception) -> str:
    if isinstance(error, sqlite3.IntegrityError):
        return "clock"
    text = str(error)
    return "disk_full" if "full" in text or "No space" in text else "file"
