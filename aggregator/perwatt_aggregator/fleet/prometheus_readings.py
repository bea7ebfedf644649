"""Source of readings: a server with the HTTP API of Prometheus, asked anew for each request."""

import asyncio
import logging

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.fleet.raw_nodes import RawNodes, RawPlan
from perwatt_aggregator.fleet.readings import Keeps, Readings
from perwatt_aggregator.prometheus.client import SETTING, PrometheusClient, PrometheusFailed
from perwatt_aggregator.schema.common import Source
from perwatt_aggregator.targets.config import PrometheusConfig

logger = logging.getLogger(__name__)

SHARED_SECONDS = 1.0
"""Requests for the same nodes and the same window within this time share their readings."""
MAX_REQUESTS = 4
"""Different ones at once; others wait for their turn."""
MAX_RECENT = 8

_Key = tuple[float, frozenset[tuple[str, frozenset[str]]]]


class _Shared(Struct):
    """The readings that several requests share: while they are read, and shortly after."""

    task: "asyncio.Task[Readings]"
    started: float

    def is_usable(self, now: float) -> bool:
        if not self.task.done():
            return True
        has_result = not self.task.cancelled() and self.task.exception() is None
        return has_result and now - self.started < SHARED_SECONDS


class PrometheusReadings:
    """
    Raw samples of the server of *config* as the readings of nodes, as *plan* says.

    Nothing is kept between two requests, so that any number of aggregators answer alike.
    """

    name: Source = "prometheus:raw"

    def __init__(self, config: PrometheusConfig, plan: RawPlan, clock: Clock) -> None:
        self._timeout_seconds = config.timeout
        self._plan = plan
        self._clock = clock
        self._client = PrometheusClient(config)
        self._requests = asyncio.Semaphore(MAX_REQUESTS)
        self._recent: dict[_Key, _Shared] = {}
        self._has_failed = False

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def read(self, seconds: float, where: Where, keeps: Keeps) -> Readings:
        """Raises PrometheusFailed and TooManyReadings. *keeps* follows from *where*."""
        now = self._clock.monotonic()
        self._recent = {key: one for key, one in self._recent.items() if one.is_usable(now)}
        key = (seconds, frozenset(where.items()))
        shared = self._recent.get(key)
        if shared is None:
            shared = _Shared(asyncio.ensure_future(self._bounded(seconds, where, keeps)), now)
            if len(self._recent) < MAX_RECENT:
                self._recent[key] = shared
        # A client that goes away does not end what others wait for.
        return await asyncio.shield(shared.task)

    async def _bounded(self, seconds: float, where: Where, keeps: Keeps) -> Readings:
        try:
            readings = await asyncio.wait_for(self._read(seconds, where, keeps), self._timeout_seconds)
        except asyncio.TimeoutError:
            failed = PrometheusFailed(
                f"`{SETTING}.url`: not all readings within {self._timeout_seconds:g} s; ask for a shorter "
                f"window or fewer nodes, or raise `{SETTING}.timeout`"
            )
            self._report(failed)
            raise failed from None
        except PrometheusFailed as failed:
            self._report(failed)
            raise
        self._report(None)
        return readings

    async def _read(self, seconds: float, where: Where, keeps: Keeps) -> Readings:
        async with self._requests:
            return await RawNodes(self._plan, self._client, self._clock, seconds).read(where, keeps)

    def _report(self, failed: PrometheusFailed | None) -> None:
        """Log the first failure, and the first success after it."""
        if failed is not None and not self._has_failed:
            logger.warning("no readings: %s", failed)
        elif failed is None and self._has_failed:
            logger.info("`%s.url` answers again", SETTING)
        self._has_failed = failed is not None
