"""Redfish meter: the power that a BMC or a PDU reports, and the route of documents to it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.json_service import Service
from perwatt_agent.meters.reading.quantity import plausible_joules, plausible_watts
from perwatt_agent.meters.reading.redfish_documents import Document, Reading, path_and_member
from perwatt_agent.meters.reading.redfish_search import RedfishSearch, Route

DEADLINE_SECONDS = 15.0
ROUTE_VALID_SECONDS = 300.0
"""Power supplies can change: after this time the route is searched again."""

_KEEP_ROUTE = ("timeout", "unreachable")
_CURE = "`path` names the resource of the power, which needs no search"


class RedfishMeter:
    """
    Meter of the chassis, the resource or the member of PowerControl that *config* names.

    Without a path it is the one chassis that is a whole machine. A search that takes longer than one read
    goes on in the next. Raises ValueError for a bad URL or path.
    """

    def __init__(
        self,
        config: MeterConfig,
        clock: Clock,
        interval_seconds: float,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.name = config.label
        self._config = config
        self._clock = clock
        self._configured_seconds = interval_seconds
        self._deadline_seconds = deadline_seconds
        self._mean_seconds = 0.0
        self._service = Service(config)
        path, member = path_and_member(config.path) if config.path else ("", None)
        self._search = RedfishSearch(self._get, self._check, path, member)
        self._route: Route | None = None
        self._found_at = 0.0
        self._is_renewing = False

    @property
    def interval_seconds(self) -> float:
        """Time between reads; a mean over minutes has a new value only after those minutes."""
        return max(self._configured_seconds, self._mean_seconds)

    async def read(self) -> Sequence[MeterSample]:
        loop = asyncio.get_running_loop()
        is_searching = self._route is None
        ends_at = loop.time() + self._deadline_seconds
        try:
            reading = await asyncio.wait_for(self._reading(), self._deadline_seconds)
            self._check(reading)
        except asyncio.TimeoutError:
            raise MeterFailure("timeout", self._too_slow()) from None
        except MeterFailure as failure:
            if failure.reason not in _KEEP_ROUTE:
                self._route = None
            raise (self._with_cure(failure) if is_searching else failure) from None
        sample = self._sample(reading)
        if self._is_renewing or self._clock.monotonic() - self._found_at > ROUTE_VALID_SECONDS:
            await self._renew(reading, ends_at - loop.time())
        return (sample,)

    async def _reading(self) -> Reading:
        if self._route is None:
            self._route, reading = await self._search.find()
            self._found_at = self._clock.monotonic()
            return reading
        known = await self._search.follow(self._route)
        if known is None:
            raise MeterFailure("absent", "the service no longer reports its power")
        return known

    async def _renew(self, reading: Reading, seconds: float) -> None:
        """Search for the best route again, in the time that is left: the known one serves until then."""
        assert self._route is not None, "it gave the reading"
        if not self._is_renewing:
            self._search.restart()
            self._is_renewing = True
        with suppress(asyncio.TimeoutError, MeterFailure):
            self._route, _ = await asyncio.wait_for(self._search.find((self._route, reading)), seconds)
            self._is_renewing = False
            self._found_at = self._clock.monotonic()

    def _sample(self, reading: Reading) -> MeterSample:
        factor = self._config.factor
        self._mean_seconds = reading.mean_seconds
        return MeterSample(
            source=self._config.source or "redfish",
            monotonic_seconds=self._clock.monotonic(),
            power_watts=None if reading.watts is None else reading.watts * factor,
            energy_joules=None if reading.joules is None else reading.joules * factor,
            power_is_mean=reading.mean_seconds > 0.0,
            scope=self._config.scope,
            period_seconds=self.interval_seconds,
        )

    def _check(self, reading: Reading) -> None:
        """Raise MeterFailure for a reading that is not plausible."""
        if reading.watts == 0.0:
            # A BMC that does not measure reports 0, and a running node draws more.
            raise MeterFailure(
                "implausible",
                "the service reports 0 W, so it does not measure power; name another resource by `path`",
            )
        if reading.watts is not None:
            plausible_watts(reading.watts * self._config.factor)
        if reading.joules is not None:
            plausible_joules(reading.joules * self._config.factor)

    def _too_slow(self) -> str:
        message = f"no complete answer within {self._deadline_seconds:g} s"
        if self._route is not None:
            return message
        return f"{message}; the next read goes on after {self._search.documents} documents; {_CURE}"

    def _with_cure(self, failure: MeterFailure) -> MeterFailure:
        """Return the failure of a search with what spares the search."""
        text = str(failure)
        if self._config.path or "`path`" in text or failure.reason in ("permission_denied", "unreachable"):
            return failure
        return MeterFailure(failure.reason, f"{text}; {_CURE}")

    async def _get(self, path: str) -> Document:
        document = await self._service.document(path)
        if not isinstance(document, dict):
            raise MeterFailure("malformed", f"{path} is not a JSON object; is `url` a Redfish service?")
        return document


ROW = MeterKind(
    name="redfish",
    rank=21,
    measures="the input of the power supplies, as the BMC reports it; an outlet or a PDU that has Redfish",
    boundary="the wall (AC)",
    limits="averages over an unknown time; some count one of two supplies only",
    uncertainty_ratio=0.05,
    uncertainty_basis="a BMC, by Redfish",
    interval_seconds=10.0,
    needs=("url",),
    takes=("path", "credentials_file", "ca_file"),
    is_https_only=True,
    check_path=path_and_member,
    build=RedfishMeter,
)
