"""Redfish meter: the power that a BMC or a PDU reports, and the route of documents to it."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.json_service import Service
from perwatt_agent.meters.reading.quantity import plausible_joules, plausible_watts
from perwatt_agent.meters.reading.redfish_documents import (
    READERS,
    Document,
    Reading,
    is_present,
    is_whole_machine,
    kind_of,
    link,
    members,
    path_and_member,
    supplies_input,
)

DEADLINE_SECONDS = 15.0
ROUTE_VALID_SECONDS = 300.0
"""Power supplies can change: after this time the route is searched again."""

_CHASSIS = "/redfish/v1/Chassis"
_ROUTES = ("EnvironmentMetrics", "PowerSubsystem", "Power")
_TRY_NEXT_ROUTE = ("absent", "malformed", "permission_denied", "refused")


class _Route(Struct, frozen=True):
    """Documents to read, and the function that makes one reading from them."""

    paths: tuple[str, ...]
    read: Callable[[Sequence[Document]], Reading | None]


class RedfishMeter:
    """
    Meter of the chassis, the resource or the member of PowerControl that *config* names.

    Without a path it is the one chassis that is a whole machine. Raises ValueError for a bad URL or path.
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
        self._path, self._member = path_and_member(config.path) if config.path else ("", None)
        self._route: _Route | None = None
        self._found_at = 0.0

    @property
    def interval_seconds(self) -> float:
        """Time between reads; a mean over minutes has a new value only after those minutes."""
        return max(self._configured_seconds, self._mean_seconds)

    async def read(self) -> Sequence[MeterSample]:
        try:
            reading = await asyncio.wait_for(self._reading(), self._deadline_seconds)
        except asyncio.TimeoutError:
            self._route = None
            message = f"no complete answer within {self._deadline_seconds:g} s"
            raise MeterFailure("timeout", message) from None
        except MeterFailure:
            self._route = None
            raise
        return (self._sample(reading),)

    def _sample(self, reading: Reading) -> MeterSample:
        if reading.watts == 0.0:
            # A BMC that does not measure reports 0, and a running node draws more.
            raise MeterFailure(
                "implausible",
                "the service reports 0 W, so it does not measure power; name another resource by `path`",
            )
        factor = self._config.factor
        self._mean_seconds = reading.mean_seconds
        return MeterSample(
            source=self._config.source or "redfish",
            monotonic_seconds=self._clock.monotonic(),
            power_watts=None if reading.watts is None else plausible_watts(reading.watts * factor),
            energy_joules=None if reading.joules is None else plausible_joules(reading.joules * factor),
            power_is_mean=reading.mean_seconds > 0.0,
            scope=self._config.scope,
            period_seconds=self.interval_seconds,
        )

    async def _reading(self) -> Reading:
        now = self._clock.monotonic()
        if self._route is None or now - self._found_at > ROUTE_VALID_SECONDS:
            self._route, reading = await self._find()
            self._found_at = now
            return reading
        known = await self._follow(self._route)
        if known is None:
            raise MeterFailure("absent", "the service no longer reports its power")
        return known

    async def _follow(self, route: _Route) -> Reading | None:
        # One request at a time: a BMC is a small computer.
        return route.read([await self._get(path) for path in route.paths])

    async def _find(self) -> tuple[_Route, Reading]:
        """Return the first route to a number, and its reading. Raises the first failure if there is none."""
        failures = []
        for kind, path in await self._starts():
            try:
                route = await self._route_from(kind, path)
                reading = await self._follow(route)
            except MeterFailure as failure:
                if failure.reason not in _TRY_NEXT_ROUTE:
                    raise
                failures.append(failure)
            else:
                if reading is not None:
                    return route, reading
        raise failures[0] if failures else MeterFailure("absent", "no power found; name a resource by `path`")

    async def _starts(self) -> list[tuple[str, str]]:
        """Return where routes can begin: kinds and paths of documents, the best first."""
        path = self._path or await self._only_machine()
        document = await self._get(path)
        kind = kind_of(document)
        if kind != "Chassis":
            return [(kind, path)]
        return [(name, there) for name in _ROUTES if (there := link(document, name)) is not None]

    async def _only_machine(self) -> str:
        paths = members(await self._get(_CHASSIS))
        if len(paths) > 1:
            paths = [path for path in paths if is_whole_machine(await self._get(path))] or paths
        if len(paths) != 1:
            some = ", ".join(paths[:8]) or "none"
            raise MeterFailure(
                "refused", f"cannot choose the chassis of the node from: {some}; set `path` to it"
            )
        return paths[0]

    async def _route_from(self, kind: str, path: str) -> _Route:
        if kind == "PowerSubsystem":
            return _Route(await self._supplies_metrics(path), supplies_input)
        if kind not in READERS:
            raise MeterFailure(
                "refused",
                f"{path} is a {kind or 'document without a type'}, without power; check `path`",
            )
        return _Route((path,), lambda documents: READERS[kind](documents[0], self._member))

    async def _supplies_metrics(self, path: str) -> tuple[str, ...]:
        """Return the metrics of every present power supply. Raises MeterFailure if one has none."""
        supplies = link(await self._get(path), "PowerSupplies")
        paths = [] if supplies is None else members(await self._get(supplies))
        present = [supply for one in paths if is_present(supply := await self._get(one))]
        metrics = [there for supply in present if (there := link(supply, "Metrics")) is not None]
        if not metrics or len(metrics) < len(present):
            raise MeterFailure("absent", f"not every power supply of {path} reports its input power")
        return tuple(metrics)

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
