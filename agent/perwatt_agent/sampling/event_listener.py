"""Listener for GPU error events, on a worker thread."""

import asyncio
import logging
from collections.abc import Callable

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.gpu.backend import EventSource, EventsUnsupported, GenerationEnded, GpuFailure, XidError
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

# Seconds between attempts after a failure; the last one repeats.
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# What a driver supports may change while it runs.
UNSUPPORTED_RETRY_SECONDS = 600.0
# A wait lasts some seconds. After one that ends at once without an event, and beyond this many events, the
# next wait starts with the next collection cycle, so that no driver can keep the agent busy.
EARLY_SECONDS = 0.1
MAX_EVENTS_PER_CYCLE = 64
HUNG_SECONDS = 5.0


class EventListener:
    """
    Waits for events of one source after another. Each event goes to `on_event` at once, and is kept until it
    is drained.

    A wait that never returns blocks the worker thread and nothing else.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thread = WorkerThread("events", clock)
        self._source: EventSource | None = None
        self._is_waiting = False
        self._is_unsupported = False
        self._retry_at = 0.0
        self._attempts = 0
        self._events: list[XidEvent] = []
        self._count = 0
        self._failure = ""
        self.on_event: Callable[[XidEvent], None] = lambda event: None
        self.health = Health("events")

    def update(self, source: EventSource | None) -> None:
        """Listen to *source* from now on. Called in each collection cycle."""
        if source is not self._source:
            self._source, self._is_unsupported, self._retry_at, self._attempts = source, False, 0.0, 0
        since = self._thread.busy_since
        if since is not None and self._clock.monotonic() - since > HUNG_SECONDS:
            self._fail("hung", "waiting for the driver's events does not return")
        elif not self._is_waiting and self._clock.monotonic() >= self._retry_at:
            self._start_wait()

    @property
    def is_used(self) -> bool:
        """Whether there ever was a source of events."""
        return self._source is not None or self._count > 0 or self._failure != ""

    def drain(self) -> tuple[XidEvent, ...]:
        """The events since the last call."""
        events, self._events = tuple(self._events), []
        return events

    def _start_wait(self) -> None:
        source, started = self._source, self._clock.monotonic()
        if source is None or self._thread.busy_since is not None:
            return
        # The thread is free before its result arrives here. `_finish_wait` starts the next wait.
        self._is_waiting = True
        waiting = self._thread.submit(source.wait)
        waiting.add_done_callback(lambda waiting: self._finish_wait(waiting, source, started))

    def _finish_wait(
        self, waiting: "asyncio.Future[XidError | None]", source: EventSource, started: float
    ) -> None:
        self._is_waiting = False
        if waiting.cancelled():
            return
        error = waiting.exception()
        if error is not None:
            self._handle(error)
            return
        if self._failure:
            logger.info("GPU error events are received again")
        self._failure, self._attempts = "", 0
        self.health.attempted(self._clock.unix(), 0.0)
        xid = waiting.result()
        if xid is not None:
            self._add(xid)
        early = xid is None and self._clock.monotonic() - started < EARLY_SECONDS
        if source is self._source and not early and len(self._events) < MAX_EVENTS_PER_CYCLE:
            self._start_wait()

    def _add(self, xid: XidError) -> None:
        self._count += 1
        event = XidEvent(self._count, xid.uuid, xid.code, self._clock.monotonic(), self._clock.unix())
        self._events.append(event)
        self.on_event(event)

    def _handle(self, error: BaseException) -> None:
        """Decide by the failure of a wait when the next one starts."""
        if isinstance(error, EventsUnsupported):
            self.health.attempted(self._clock.unix(), 0.0)
            if not self._is_unsupported:
                logger.info("GPU error events (XID) are not available: %s", error)
            self._is_unsupported = True
            self._retry_at = self._clock.monotonic() + UNSUPPORTED_RETRY_SECONDS
            return
        wait_seconds = RETRY_SECONDS[min(self._attempts, len(RETRY_SECONDS) - 1)]
        self._retry_at = self._clock.monotonic() + wait_seconds
        self._attempts += 1
        # The reads of the GPUs decide whether a generation has ended; then a new source comes.
        reason = "driver_reloaded" if isinstance(error, GenerationEnded) else "unexpected"
        self._fail(error.reason if isinstance(error, GpuFailure) else reason, str(error))

    def _fail(self, reason: str, message: str) -> None:
        self.health.failed(reason)
        self.health.attempted(self._clock.unix(), 0.0)
        if self._failure != reason:
            logger.warning("GPU error events are not received (%s): %s; will keep trying", reason, message)
        self._failure = reason
