"""Search for power in the documents of a Redfish service, which may need more time than one read has."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import shown
from perwatt_agent.meters.reading.redfish_documents import (
    MAX_MEMBERS,
    READERS,
    Document,
    Reading,
    is_present,
    is_whole_machine,
    is_zero,
    kind_of,
    link,
    members,
    outline,
    supplies_input,
    too_many_members,
)

_CHASSIS = "/redfish/v1/Chassis"
_ROUTES = ("EnvironmentMetrics", "PowerSubsystem", "Power")
_TRY_NEXT_ROUTE = ("absent", "malformed", "permission_denied", "refused", "implausible")


class Route(Struct, frozen=True):
    """Documents to read, the function that makes one reading from them, and the *member* it takes."""

    paths: tuple[str, ...]
    read: Callable[[Sequence[Document], int | None], Reading | None]


Found = tuple[Route, Reading]


class RedfishSearch:
    """
    Search from *path*, or else from the one chassis that is a whole machine; *member* is of PowerControl.

    *get* returns one document. *check* raises MeterFailure for a reading that is not plausible: one document
    that shows such a number hides no other. What was found is kept while the search is cut short, so that the
    next call of `find` goes on from there; `restart` forgets it.
    """

    def __init__(
        self,
        get: Callable[[str], Awaitable[Document]],
        check: Callable[[Reading], None],
        path: str = "",
        member: int | None = None,
    ) -> None:
        self._get = get
        self._check = check
        self._path = path
        self._member = member
        self._outlines: dict[str, Document] = {}
        self._is_cut_short = False

    @property
    def documents(self) -> int:
        """How many documents were found so far."""
        return len(self._outlines)

    def restart(self) -> None:
        self._outlines.clear()

    async def find(self, known: Found | None = None) -> Found:
        """
        Return the first route to a number, and its reading. Raises the first failure if there is none.

        The documents of a *known* route are not read again.
        """
        self._is_cut_short = False
        try:
            return await self._find(known)
        except MeterFailure:
            if not self._is_cut_short:  # what was found leads nowhere
                self.restart()
            raise

    async def follow(self, route: Route) -> Reading | None:
        # One request at a time: a BMC is a small computer.
        return route.read([await self._get(path) for path in route.paths], self._member)

    async def _find(self, known: Found | None) -> Found:
        failures: list[MeterFailure] = []
        at_zero: Found | None = None
        for kind, path in await self._starts():
            try:
                route = await self._route_from(kind, path)
                is_known = known is not None and known[0].paths == route.paths
                reading = known[1] if known and is_known else await self.follow(route)
                if reading is not None:
                    self._check(reading)
            except MeterFailure as failure:
                self._is_cut_short = failure.reason not in _TRY_NEXT_ROUTE
                if self._is_cut_short:
                    raise
                failures.append(failure)
                continue
            if reading is not None and not is_zero(reading):
                return route, reading
            if reading is not None:
                at_zero = at_zero or (route, reading)
        if at_zero is not None:
            return at_zero  # a counter that begins, or one that does not count
        raise failures[0] if failures else MeterFailure("absent", "no power found; name a resource by `path`")

    async def _starts(self) -> list[tuple[str, str]]:
        """Return where routes can begin: kinds and paths of documents, the best first."""
        path = self._path or await self._only_machine()
        document = await self._outline(path)
        kind = kind_of(document)
        if kind != "Chassis":
            return [(kind, path)]
        return [(name, there) for name in _ROUTES if (there := link(document, name)) is not None]

    async def _only_machine(self) -> str:
        paths = await self._members(_CHASSIS)
        if len(paths) > 1:
            paths = [path for path in paths if is_whole_machine(await self._outline(path))] or paths
        if len(paths) != 1:
            some = ", ".join(paths[:8]) or "none"
            raise MeterFailure(
                "refused", f"cannot choose the chassis of the node from: {some}; set `path` to it"
            )
        return paths[0]

    async def _members(self, collection: str) -> list[str]:
        """Return the members on every page of a collection. Raises MeterFailure if there are too many."""
        found: list[str] = []
        pages: list[str] = []
        page: str | None = collection
        while page is not None:
            pages.append(page)
            more, page = members(await self._outline(page))
            found += more
            if len(found) > MAX_MEMBERS or page in pages or len(pages) > MAX_MEMBERS:
                raise too_many_members()
        return found

    async def _route_from(self, kind: str, path: str) -> Route:
        if kind == "PowerSubsystem":
            return Route(await self._supplies_metrics(path), lambda documents, _: supplies_input(documents))
        if kind not in READERS:
            raise MeterFailure(
                "refused",
                f"{path} is a document of type {shown(kind)}, without power; check `path`",
            )
        return Route((path,), lambda documents, member: READERS[kind](documents[0], member))

    async def _supplies_metrics(self, path: str) -> tuple[str, ...]:
        """Return the metrics of every present power supply. Raises MeterFailure if one has none."""
        supplies = link(await self._outline(path), "PowerSupplies")
        paths = [] if supplies is None else await self._members(supplies)
        present = [supply for one in paths if is_present(supply := await self._outline(one))]
        metrics = [there for supply in present if (there := link(supply, "Metrics")) is not None]
        if not metrics or len(metrics) < len(present):
            raise MeterFailure("absent", f"not every power supply of {path} reports its input power")
        return tuple(metrics)

    async def _outline(self, path: str) -> Document:
        """Return what leads on from the document at *path*, which is requested once in a search."""
        if path not in self._outlines:
            self._is_cut_short = True
            self._outlines[path] = outline(await self._get(path))
            self._is_cut_short = False
        return self._outlines[path]
