"""Hear what GPUs tell by themselves, at once, on a lane of its own."""

import asyncio
import logging
from collections.abc import Callable

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure, NothingToHear, Watch, XidError
from perwatt_agent.threads.lane import Lane

logger = logging.getLogger(__name__)

# Waits between attempts to listen; the last one repeats.
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# A wait lasts some seconds. One that ends at once without a word, and any beyond so many words, is followed
# by the next only with the next sweep, so that no driver can keep the agent busy.
EARLY_SECONDS = 0.1
MAX_EVENTS_A_SWEEP = 64
HUNG_SECONDS = 5.0


class EventLane:
    """
    Listens to one watch after another. Each event is told at once to `hear`, and kept until it is drained.

    A wait that never returns holds the lane and nothing else.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lane = Lane("events", clock)
        self._watch: Watch | None = None
        self._waiting = False
        self._deaf = False
        self._retry_at = 0.0
        self._attempts = 0
        self._events: list[XidEvent] = []
        self._numbers = 0
        self._failure = ""
        self.hear: Callable[[XidEvent], None] = lambda event: None
        self.health = Health("events")

    def attend(self, watch: Watch | None) -> None:
        """Listen to *watch* from now on; called with every sweep."""
        if watch is not self._watch:
            self._watch, self._deaf, self._retry_at, self._attempts = watch, False, 0.0, 0
        since = self._lane.busy_since
        if since is not None and self._clock.monotonic() - since > HUNG_SECONDS:
            self._fail("hung", "waiting for the driver's events does not return")
        elif not self._waiting and self._clock.monotonic() >= self._retry_at:
            self._listen()

    @property
    def in_use(self) -> bool:
        """Whether there ever was something to listen to."""
        return self._watch is not None or self._numbers > 0 or self._failure != ""

    def drain(self) -> tuple[XidEvent, ...]:
        """What was heard since this was last asked."""
        events, self._events = tuple(self._events), []
        return events

    def _listen(self) -> None:
        watch, started = self._watch, self._clock.monotonic()
        # The lane is free before its result is here: a sweep in between listens already.
        if watch is None or self._deaf or self._lane.busy_since is not None:
            return
        # The lane is free again before what it brought is here: whoever waits for that listens again.
        self._waiting = True
        waited = self._lane.submit(watch.wait)
        waited.add_done_callback(lambda waited: self._after(waited, watch, started))

    def _after(self, waited: "asyncio.Future[XidError | None]", watch: Watch, started: float) -> None:
        self._waiting = False
        if waited.cancelled():
            return
        error = waited.exception()
        if error is not None:
            self._learn(error)
            return
        if self._failure:
            logger.info("the driver's events are heard again")
        self._failure, self._attempts = "", 0
        self.health.attempted(self._clock.unix(), 0.0)
        xid = waited.result()
        if xid is not None:
            self._take(xid)
        early = xid is None and self._clock.monotonic() - started < EARLY_SECONDS
        if watch is self._watch and not early and len(self._events) < MAX_EVENTS_A_SWEEP:
            self._listen()

    def _take(self, xid: XidError) -> None:
        self._numbers += 1
        event = XidEvent(self._numbers, xid.uuid, xid.code, self._clock.monotonic(), self._clock.unix())
        self._events.append(event)
        self.hear(event)

    def _learn(self, error: BaseException) -> None:
        """What a wait that failed means for the next one."""
        if isinstance(error, NothingToHear):
            self._deaf = True
            self.health.attempted(self._clock.unix(), 0.0)
            logger.info("XID errors cannot be heard here: %s", error)
            return
        wait_seconds = RETRY_SECONDS[min(self._attempts, len(RETRY_SECONDS) - 1)]
        self._retry_at = self._clock.monotonic() + wait_seconds
        self._attempts += 1
        # Whether a generation is over is for the reads of its GPUs to say; then a new watch comes.
        reason = "driver_reloaded" if isinstance(error, GenerationEnded) else "unexpected"
        self._fail(error.reason if isinstance(error, GpuFailure) else reason, str(error))

    def _fail(self, reason: str, message: str) -> None:
        self.health.failed(reason)
        self.health.attempted(self._clock.unix(), 0.0)
        if self._failure != reason:
            logger.warning("XID errors are not heard (%s): %s; will keep trying", reason, message)
        self._failure = reason
