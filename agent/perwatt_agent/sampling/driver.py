"""The life of a GPU backend: opened, ended, opened again, on a lane of its own."""

import asyncio
import logging

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.snapshot import BackendStatus
from perwatt_agent.gpu.backend import Backend, BackendBroken, BackendUnavailable, Generation
from perwatt_agent.threads.lane import Lane

logger = logging.getLogger(__name__)

STARTING = "starting"
"""Why a driver is down that was never tried yet."""

# How often the driver is asked which GPUs there are, which takes two calls a GPU; and while one has no name.
ROLL_CALL_SECONDS = 30.0
UNIDENTIFIED_SECONDS = 10.0
# Waits between attempts to open the backend; the last one repeats.
REOPEN_SECONDS = (1.0, 2.0, 4.0, 8.0, 10.0)


class Driver:
    """
    Keep a backend open. `generation` is None while there is none to read from.

    A driver that is absent, comes late, shows no GPU, or goes away is tried again; each change is
    logged once. Raises BackendBroken when only a new process can help.
    """

    def __init__(self, backend: Backend, clock: Clock, hung_seconds: float) -> None:
        self._backend = backend
        self._clock = clock
        self._hung_seconds = hung_seconds
        self._lane = Lane("backend", clock)
        self._opening: asyncio.Future[Generation] | None = None
        self._calling: asyncio.Future[Generation] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._called_at = 0.0
        self._reopen_at = 0.0
        self._attempts = 0
        self.generation: Generation | None = None
        self.generations = 0
        self.health = Health("backend")
        self.status = BackendStatus(backend.name, up=False, reason=STARTING)

    async def attend(self, wait_seconds: float) -> bool:
        """
        Open the backend where that is due, or ask which GPUs there are; True when there are others to meet.

        It waits for what it began, be it a shutdown, and for no more than `wait_seconds` each.
        """
        if self.generation is not None and not self._is_empty():
            return self._look_around(self.generation)
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=wait_seconds)
        if self._opening is None and not self._start_opening():
            self._note_hung()
            return False
        assert self._opening is not None
        started = self._clock.monotonic()
        done, _ = await asyncio.wait([self._opening], timeout=wait_seconds)
        if not done:
            self._note_hung()
            return False
        opening, self._opening = self._opening, None
        try:
            self._begin(opening.result())
        except BackendBroken:
            raise
        except BackendUnavailable as error:
            self._fail(error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - a driver's surprise at start is tried again as well
            self._fail("unexpected", repr(error))
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
        return self.generation is not None

    def end(self, reason: str, message: str, *, may_close: bool) -> None:
        """End this generation; the driver is shut down only when no call hangs in it (`may_close`)."""
        self.close(may_close=may_close)
        self._fail(reason, message)
        self.health.attempted(self._clock.unix(), 0.0)

    def close(self, *, may_close: bool) -> None:
        """Give up the generation and what is under way for it, without waiting."""
        for under_way in (self._opening, self._calling):
            if under_way is not None:
                under_way.cancel()
        self._opening = self._calling = None
        if self.generation is not None and may_close and self._lane.busy_since is None:
            self._closing = self._lane.submit(self._backend.close)
            self._closing.add_done_callback(self._closed)
        self.generation = None

    def _look_around(self, generation: Generation) -> bool:
        """Whether GPUs came, moved or said who they are by the latest roll call; nobody waits for one."""
        if self._calling is None:
            self._call_the_roll(generation)
            return False
        if not self._calling.done():
            self._note_slow_call()
            return False
        calling, self._calling = self._calling, None
        try:
            self.generation = calling.result()
        except BackendUnavailable as error:
            self.health.failed(error.reason)
        except Exception as error:  # noqa: BLE001 - the GPUs that are known are read all the same
            self.health.failed("unexpected")
            logger.warning("which GPUs there are cannot be asked (%r); will keep trying", error)
        self.health.attempted(self._clock.unix(), 0.0)
        return self.generation is not generation

    def _call_the_roll(self, generation: Generation) -> None:
        now, roster = self._clock.monotonic(), generation.roster
        if roster is None or self._lane.busy_since is not None:
            return
        wait_seconds = UNIDENTIFIED_SECONDS if generation.unidentified else ROLL_CALL_SECONDS
        if now - self._called_at >= wait_seconds or roster.has_news:
            self._called_at = now
            self._calling = self._lane.submit(roster.call)

    def _note_slow_call(self) -> None:
        since = self._lane.busy_since
        if since is not None and self._clock.monotonic() - since > self._hung_seconds:
            self.health.failed("hung")
            self.health.attempted(self._clock.unix(), 0.0)

    def _closed(self, closing: "asyncio.Future[None]") -> None:
        closing.exception()  # A failure to shut down leaves nothing to mend: the next opening starts afresh.
        self._closing = None

    def _is_empty(self) -> bool:
        return self.generation is not None and not self.generation.devices

    def _start_opening(self) -> bool:
        if self._lane.busy_since is not None or self._clock.monotonic() < self._reopen_at:
            return False
        if self.generation is not None:
            self.close(may_close=True)
            return False
        self._opening = self._lane.submit(self._backend.open)
        return True

    def _begin(self, generation: Generation) -> None:
        self.generations += 1
        self.generation = generation
        self._called_at = self._clock.monotonic()
        reason = "" if generation.devices else "no_gpus"
        if reason:
            self._back_off()
            self.health.failed(reason)
            if self.status.reason != reason:
                logger.warning("the driver answers but shows no GPU: check the devices given to this machine")
        else:
            self._attempts = 0
            logger.info("driver %s shows %d GPUs", generation.driver_version, len(generation.devices))
        self.status = BackendStatus(
            self._backend.name, True, generation.driver_version, generation.nvml_version, reason
        )

    def _fail(self, reason: str, message: str) -> None:
        self._back_off()
        self.health.failed(reason)
        self._say_down(reason, message)

    def _back_off(self) -> None:
        wait_seconds = REOPEN_SECONDS[min(self._attempts, len(REOPEN_SECONDS) - 1)]
        self._reopen_at = self._clock.monotonic() + wait_seconds
        self._attempts += 1

    def _note_hung(self) -> None:
        since = self._lane.busy_since
        if since is not None and self._clock.monotonic() - since > self._hung_seconds:
            self._say_down("hung", "the driver's initialisation or shutdown does not return")

    def _say_down(self, reason: str, message: str) -> None:
        if self.status.reason != reason:
            logger.warning("no GPU readings (%s): %s; will keep trying", reason, message)
        self.status = BackendStatus(self._backend.name, up=False, reason=reason)
