"""Reader of the history: sums by group and step, from as few ticks as cover each step."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from perwatt_aggregator.fleet.groups import EVERYTHING, MAX_GROUPS, TooManyGroups, Where
from perwatt_aggregator.history.codec import Block, decode
from perwatt_aggregator.history.config import RESOLUTIONS
from perwatt_aggregator.history.roll_up import HAS_WORKLOAD, ROLL_UP_DIMENSIONS, SHARED_GROUP, labels_of
from perwatt_aggregator.history.schema import OWNERS, ROLL_UP, open_for_reading
from perwatt_aggregator.history.values import CARBON, CURRENCY, NAMES, PLACE, UNIT
from perwatt_aggregator.schema.common import Dimension

_FINE, *_ = _SECONDS = tuple(RESOLUTIONS.values())
_KEPT_AFTER_SECONDS = 5.0
"""Until a tick is made and kept."""
SEVERAL_CURRENCIES, SEVERAL_CARBON_KINDS = "several_currencies", "several_carbon_kinds"


class HistoryQuery(Struct, frozen=True):
    """Which steps are asked for, in Unix seconds: all are multiples of the seconds of a tick."""

    start: int
    end: int
    step: int
    by: tuple[Dimension, ...] = ()
    where: Where = EVERYTHING

    @property
    def starts(self) -> range:
        return range(self.start, self.end, self.step)


def past_query(now_unix: float, seconds: float, by: Sequence[Dimension], where: Where) -> HistoryQuery:
    """The last *seconds* as one step, up to a tick that must have been kept by now."""
    end = int((now_unix - _KEPT_AFTER_SECONDS) // _FINE) * _FINE
    length = round(seconds / _FINE) * _FINE
    return HistoryQuery(end - length, end, length, tuple(by), where)


class StepSums(Struct):
    """Sums of one group in one step, with all flags of its owners; `work` is by unit."""

    values: list[float]
    flags: set[str]
    work: dict[str, float]


class GroupSums(Struct):
    """One group: its labels, its currency and kind of carbon if it has one of each, its sums by step."""

    labels: dict[str, str | None]
    currency: str | None
    carbon: str | None
    steps: dict[int, StepSums]


class HistorySums(Struct, frozen=True):
    """The groups, and of each step the seconds that were recorded."""

    groups: tuple[GroupSums, ...]
    recorded: dict[int, int]


class _Placed(Struct):
    """Where an owner's values go: its group and its unit; `group` is None if it is filtered out."""

    group: tuple[str, ...] | None
    unit: str
    currency: str
    carbon: str
    engine_group: str
    has_workload: bool


class HistoryReader:
    """Reads the file at *path*. Used by one thread at a time; its methods raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._labels: dict[int, dict[str, str]] = {}
        self._flags: dict[int, frozenset[str]] = {}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def span(self) -> tuple[int, int] | None:
        """From the oldest tick to the end of the newest one; None if there is none."""
        found = self._open().execute("SELECT min(start), max(start + seconds) FROM ticks").fetchone()
        return None if found[0] is None else (found[0], found[1])

    def sums(self, query: HistoryQuery) -> HistorySums:
        """The sums that *query* asks for. Also raises TooManyGroups."""
        connection = self._open()
        kind = ROLL_UP if ROLL_UP_DIMENSIONS.issuperset((*query.by, *query.where)) else OWNERS
        gatherer = _Gatherer(query, self._labels, self._flags)
        connection.execute("BEGIN")
        try:
            chosen = _chosen(connection, kind, query)
            for seconds, starts in chosen.items():
                for start, recorded, block in _ticks(connection, kind, seconds, starts):
                    if start in starts:
                        self._learn(connection)
                        gatherer.add(
                            query.start + (start - query.start) // query.step * query.step, block, recorded
                        )
        finally:
            connection.execute("COMMIT")
        return gatherer.sums()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_for_reading(self._path)
            self._connection.isolation_level = None
            self._labels, self._flags = {}, {}
        return self._connection

    def _learn(self, connection: sqlite3.Connection) -> None:
        """Read the owners and flags that are new in this transaction."""
        owners = connection.execute("SELECT id, labels FROM owners WHERE id > ?", (len(self._labels),))
        self._labels.update((one, labels_of(labels)) for one, labels in owners)
        flags = connection.execute("SELECT id, names FROM flags WHERE id > ?", (len(self._flags),))
        self._flags.update((one, frozenset(names.split())) for one, names in flags)


def _chosen(connection: sqlite3.Connection, kind: int, query: HistoryQuery) -> dict[int, set[int]]:
    """The ticks that cover each step, the coarsest that fit, by their seconds."""
    kept = {
        seconds: {
            start
            for (start,) in connection.execute(
                "SELECT start FROM ticks WHERE seconds = ? AND kind = ? AND start >= ? AND start < ?",
                (seconds, kind, query.start, query.end),
            )
        }
        for seconds in _SECONDS
    }
    chosen: dict[int, set[int]] = {seconds: set() for seconds in _SECONDS}
    covered = query.start
    for place in sorted(set().union(*kept.values())):
        if place < covered:
            continue
        end = query.start + ((place - query.start) // query.step + 1) * query.step
        fitting = (one for one in reversed(_SECONDS) if place + one <= end and place in kept[one])
        if seconds := next(fitting, 0):
            chosen[seconds].add(place)
            covered = place + seconds
    return chosen


def _ticks(
    connection: sqlite3.Connection, kind: int, seconds: int, starts: set[int]
) -> Iterator[tuple[int, int, bytes]]:
    if starts:
        yield from connection.execute(
            "SELECT start, recorded, block FROM ticks "
            "WHERE seconds = ? AND kind = ? AND start >= ? AND start <= ?",
            (seconds, kind, min(starts), max(starts)),
        )


class _Gatherer:
    """Adds up blocks by group and step."""

    def __init__(
        self, query: HistoryQuery, labels: Mapping[int, dict[str, str]], flags: Mapping[int, frozenset[str]]
    ) -> None:
        self._query = query
        self._labels = labels
        self._flags = flags
        self._placed: dict[int, _Placed] = {}
        self._groups: dict[tuple[str, ...], GroupSums] = {}
        self._currencies: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
        self._places: dict[str, set[tuple[str, ...] | None]] = {}
        self._recorded: dict[int, int] = {}

    def add(self, step: int, blob: bytes, recorded: int) -> None:
        """Add the block of one tick to a step."""
        self._recorded[step] = self._recorded.get(step, 0) + recorded
        block = decode(blob)
        sums: dict[int, StepSums | None] = {}
        for owner, flags in zip(block.owners, block.flags, strict=True):
            placed = self._place(owner)
            if placed.group is None:
                sums[owner] = None
                continue
            own = sums[owner] = self._sums(placed.group, step)
            own.flags |= self._flags[flags]
            if placed.has_workload:
                own.flags.add(HAS_WORKLOAD)
        self._add_values(block, sums)

    def _add_values(self, block: Block, sums: Mapping[int, StepSums | None]) -> None:
        """By column, because most columns of most blocks are empty."""
        own = [sums[owner] for owner in block.owners]
        targets = [one.values if one is not None else None for one in own]
        for place, column in enumerate(block.columns):
            if column is None:
                continue
            for target, value in zip(targets, column, strict=True):
                if value and target is not None:
                    target[place] += value
        work = block.columns[PLACE["work"]]
        for owner, one, value in zip(block.owners, own, work or (), strict=bool(work)):
            unit = self._placed[owner].unit
            if unit and one is not None:
                one.work[unit] = one.work.get(unit, 0.0) + value

    def _sums(self, key: tuple[str, ...], step: int) -> StepSums:
        steps = self._groups[key].steps
        found = steps.get(step)
        if found is None:
            found = steps[step] = StepSums([0.0] * len(NAMES), set(), {})
        return found

    def _place(self, owner: int) -> _Placed:
        found = self._placed.get(owner)
        if found is None:
            found = self._placed[owner] = self._read_place(owner)
            if found.group is not None:
                self._start(found.group, found)
            if found.engine_group:
                self._places.setdefault(found.engine_group, set()).add(found.group)
        return found

    def _read_place(self, owner: int) -> _Placed:
        labels = self._labels[owner]
        kept = all(labels.get(name, "") in values for name, values in self._query.where.items())
        return _Placed(
            tuple(labels.get(name, "") for name in self._query.by) if kept else None,
            labels.get(UNIT, ""),
            labels.get(CURRENCY, ""),
            labels.get(CARBON, ""),
            labels.get("group", ""),
            "workload" in labels,
        )

    def _start(self, key: tuple[str, ...], placed: _Placed) -> None:
        if key not in self._groups:
            labels: dict[str, str | None] = {
                name: value or None for name, value in zip(self._query.by, key, strict=True)
            }
            self._groups[key] = GroupSums(labels, None, None, {})
            self._currencies[key] = set(), set()
            if len(self._groups) > MAX_GROUPS:
                raise TooManyGroups(f"more than {MAX_GROUPS} groups")
        currencies, carbons = self._currencies[key]
        if not placed.unit:
            currencies.add(placed.currency)
            carbons.add(placed.carbon)

    def sums(self) -> HistorySums:
        """The groups in order of their labels; without a label last."""
        for places in self._places.values():
            if len(places) > 1:
                for key in places:
                    if key is not None:
                        for one in self._groups[key].steps.values():
                            one.flags.add(SHARED_GROUP)
        for key, group in self._groups.items():
            currencies, carbons = self._currencies[key]
            group.currency = _only(currencies)
            group.carbon = _only(carbons)
            found = {SEVERAL_CURRENCIES} if len(currencies - {""}) > 1 else set()
            found |= {SEVERAL_CARBON_KINDS} if len(carbons - {""}) > 1 else set()
            for one in group.steps.values() if found else ():
                one.flags |= found
        keys: Sequence[tuple[str, ...]] = sorted(
            self._groups, key=lambda key: [(not value, value) for value in key]
        )
        return HistorySums(tuple(self._groups[key] for key in keys), self._recorded)


def _only(names: set[str]) -> str | None:
    return next(iter(names)) or None if len(names) == 1 else None
