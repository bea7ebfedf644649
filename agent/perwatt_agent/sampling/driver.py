"""Driver connection: opens a GPU backend, and opens it again when its driver went away."""

import asyncio
import logging

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.snapshot import BackendStatus
from perwatt_agent.gpu.backend import Backend, BackendBroken, BackendUnavailable, Generation
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

STARTING = "starting"
"""The reason while the driver was never tried."""

# How often the inventory of GPUs is refreshed, which takes two calls a GPU; and while one is unidentified.
INVENTORY_SECONDS = 30.0
UNIDENTIFIED_SECONDS = 10.0
# Waits between attempts to open the backend; the last one repeats.
REOPEN_SECONDS = (1.0, 2.0, 4.0, 8.0, 10.0)


class Driver:
    """
    Keeps a backend open, on a worker thread. `generation` is None while the driver is down.

    A driver that is absent, comes late, shows no GPU, or goes away is tried again. Each change is logged
    once. Raises BackendBroken when only a new process can help.
    """

    def __init__(self, backend: Backend, clock: Clock, hung_seconds: float) -> None:
        self._backend = backend
        self._clock = clock
        self._hung_seconds = hung_seconds
        self._thread = WorkerThread("backend", clock)
        self._opening: asyncio.Future[Generation] | None = None
        self._refreshing: asyncio.Future[Generation] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._refreshed_at = 0.0
        self._reopen_at = 0.0
        self._attempts = 0
        self.generation: Generation | None = None
        self.generations = 0
        self.health = Health("backend")
        self.status = BackendStatus(backend.name, up=False, reason=STARTING)

    async def update(self, wait_seconds: float) -> bool:
        """
        Open the backend or refresh its inventory, where that is due; True when the devices have changed.

        Waits at most `wait_seconds` for a shutdown that is under way, and as long for an opening.
        """
        if self.generation is not None and not self._is_empty():
            return self._update_inventory(self.generation)
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=wait_seconds)
        if self._opening is None and not self._start_opening():
            self._report_hung()
            return False
        assert self._opening is not None
        started = self._clock.monotonic()
        done, _ = await asyncio.wait([self._opening], timeout=wait_seconds)
        if not done:
            self._report_hung()
            return False
        opening, self._opening = self._opening, None
        try:
            self._begin(opening.result())
        except BackendBroken:
            raise
        except BackendUnavailable as error:
            self._fail(error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - an unexpected failure at start is tried again as well
            self._fail("unexpected", repr(error))
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
        return self.generation is not None

    def end(self, reason: str, message: str, *, may_close: bool) -> None:
        """End this generation; the driver is shut down only when no call hangs in it (`may_close`)."""
        self.close(may_close=may_close)
        self._fail(reason, message)
        self.health.attempted(self._clock.unix(), 0.0)

    def close(self, *, may_close: bool) -> None:
        """Drop the generation and the calls in flight for it, without waiting."""
        for in_flight in (self._opening, self._refreshing):
            if in_flight is not None:
                in_flight.cancel()
        self._opening = self._refreshing = None
        if self.generation is not None and may_close and self._thread.busy_since is None:
            self._closing = self._thread.submit(self._backend.close)
            self._closing.add_done_callback(self._closed)
        self.generation = None

    def _update_inventory(self, generation: Generation) -> bool:
        """Whether the latest inventory has changed. Nobody waits for an inventory."""
        if self._refreshing is None:
            self._start_refresh(generation)
            return False
        if not self._refreshing.done():
            self._report_hung_refresh()
            return False
        refreshing, self._refreshing = self._refreshing, None
        try:
            self.generation = refreshing.result()
        except BackendUnavailable as error:
            self.health.failed(error.reason)
        except Exception as error:  # noqa: BLE001 - the known GPUs are read all the same
            self.health.failed("unexpected")
            logger.warning("cannot list the GPUs (%r); will keep trying", error)
        self.health.attempted(self._clock.unix(), 0.0)
        return self.generation is not generation

    def _start_refresh(self, generation: Generation) -> None:
        now, inventory = self._clock.monotonic(), generation.inventory
        if inventory is None or self._thread.busy_since is not None:
            return
        wait_seconds = UNIDENTIFIED_SECONDS if generation.unidentified else INVENTORY_SECONDS
        if now - self._refreshed_at >= wait_seconds or inventory.is_outdated:
            self._refreshed_at = now
            self._refreshing = self._thread.submit(inventory.refresh)

    def _report_hung_refresh(self) -> None:
        since = self._thread.busy_since
        if since is not None and self._clock.monotonic() - since > self._hung_seconds:
            self.health.failed("hung")
            self.health.attempted(self._clock.unix(), 0.0)

    def _closed(self, closing: "asyncio.Future[None]") -> None:
        closing.exception()  # a failed shutdown needs no action: the next opening starts anew
        self._closing = None

    def _is_empty(self) -> bool:
        return self.generation is not None and not self.generation.devices

    def _start_opening(self) -> bool:
        if self._thread.busy_since is not None or self._clock.monotonic() < self._reopen_at:
            return False
        if self.generation is not None:
            self.close(may_close=True)
            return False
        self._opening = self._thread.submit(self._backend.open)
        return True

    def _begin(self, generation: Generation) -> None:
        self.generations += 1
        self.generation = generation
        self._refreshed_at = self._clock.monotonic()
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
        self._report_down(reason, message)

    def _back_off(self) -> None:
        wait_seconds = REOPEN_SECONDS[min(self._attempts, len(REOPEN_SECONDS) - 1)]
        self._reopen_at = self._clock.monotonic() + wait_seconds
        self._attempts += 1

    def _report_hung(self) -> None:
        since = self._thread.busy_since
        if since is not None and self._clock.monotonic() - since > self._hung_seconds:
            self._report_down("hung", "the driver's initialisation or shutdown does not return")

    def _report_down(self, reason: str, message: str) -> None:
        if self.status.reason != reason:
            logger.warning(
                "no GPU readings (%s): %s; will keep trying; on a machine without a GPU, set `backend`",
                reason,
                message,
            )
        self.status = BackendStatus(self._backend.name, up=False, reason=reason)
