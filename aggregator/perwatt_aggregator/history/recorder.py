"""Recorder: makes a tick of the history of what all nodes used and did since the tick before."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.history.increments import Increments, increments
from perwatt_aggregator.history.kept import kept_of
from perwatt_aggregator.history.owners import Groups, HistoryOwner, owners_of
from perwatt_aggregator.history.values import Kept, Tick
from perwatt_aggregator.readings.node_ring import NodeRing

VIEW_SECONDS = 60.0
"""The window of a view, unless the node's meter needs a longer one."""
MAX_VIEW_SECONDS = 900.0
_METER_REFRESHES = 11.0
_VIEW_TICKS = 8
"""A view serves so many ticks while nothing happens on its node."""
_WATCHED_TICKS = 5
"""After something happened, each tick has a view of its own until the event has left the window."""
_NODES_AT_ONCE = 10

Share = Callable[[tuple[NodeView, ...]], Iterable[NodeView]]
"""Divides the joules of shared meters among views."""


class _Record(Struct):
    """
    What is recorded of a node: up to which row, when that was read, and its owners.

    `age_ticks` is how many ticks its view is old, `watched_ticks` for how many more each tick has its own.
    """

    row: int = -1
    unix: float = 0.0
    state: object = None
    view: NodeView | None = None
    owners: tuple[HistoryOwner, ...] = ()
    age_ticks: int = _VIEW_TICKS
    watched_ticks: int = _WATCHED_TICKS


class Recorder:
    """
    Makes ticks of nodes. A tick has for each node the time from its last recorded reading to its newest one.

    *share* divides the joules of shared meters; None if there are none.
    """

    def __init__(self, share: Share | None = None) -> None:
        self._share = share
        self._records: dict[Node, _Record] = {}
        self._groups = Groups({}, set())

    async def tick(
        self,
        start: int,
        seconds: int,
        now: float,
        nodes: Iterable[Node],
        left_out: Iterable[str],
        facilities: Mapping[str, FacilityState],
    ) -> Tick:
        """
        The tick that ends *now*, in monotonic seconds; other work goes on between nodes.

        Nodes that are *left_out* show what others show: nothing is kept of them.
        """
        left_out = frozenset(left_out)
        found: dict[Node, Increments] = {}
        for index, node in enumerate(tuple(nodes)):
            if index % _NODES_AT_ONCE == 0:
                await asyncio.sleep(0)
            record = self._records.setdefault(
                node, _Record(watched_ticks=_WATCHED_TICKS + index % _VIEW_TICKS)
            )
            found[node] = _increments(node.ring, record)
            if node.target.node in left_out:
                found.pop(node).record_all()
            else:
                self._look(node, record, found[node], now, facilities[node.facility.name])
        self._divide()
        owners: dict[str, Kept] = {}
        for index, (node, own) in enumerate(found.items()):
            if index % _NODES_AT_ONCE == 0:
                await asyncio.sleep(0)
            for name, kept in self._kept(node, own, seconds, facilities[node.facility.name]):
                if name in owners:
                    owners[name].add(kept)
                else:
                    owners[name] = kept
        self._records = {node: self._records[node] for node in found}
        return Tick(start, seconds, owners)

    def _look(
        self, node: Node, record: _Record, found: Increments, now: float, facility: FacilityState
    ) -> None:
        """Make a new view of the node if something happened on it, or if the last one is old."""
        state = _state(node.ring)
        has_event = found.has_event or state != record.state or found.readings == 0
        if has_event or found.seconds > node.ring.gap_seconds + found.readings * node.ring.interval_seconds:
            record.watched_ticks = _WATCHED_TICKS
        record.state = state
        record.age_ticks += 1
        if record.watched_ticks or record.age_ticks >= _VIEW_TICKS:
            record.watched_ticks = max(0, record.watched_ticks - 1)
            record.age_ticks = 0
            record.view = node.view(_view_seconds(node.ring), now, facility)
            record.owners = owners_of(record.view, self._groups) if record.view is not None else ()

    def _divide(self) -> None:
        """Give the nodes under shared meters their shares."""
        if self._share is None:
            return
        by_node = {one.view.node: one for one in self._records.values() if one.view is not None}
        for view in self._share(tuple(one.view for one in by_node.values() if one.view is not None)):
            record = by_node[view.node]
            if record.view is not view:
                record.owners = owners_of(view, self._groups)

    def _kept(
        self, node: Node, found: Increments, seconds: int, facility: FacilityState
    ) -> Iterator[tuple[str, Kept]]:
        record, ring = self._records[node], node.ring
        longest_seconds = seconds + ring.gap_seconds
        for owner in record.owners:
            running = None
            if owner.counts_at_end:
                running = ring.max_running(owner.key[0], max(record.row, ring.first_row), ring.last_row)
            yield from kept_of(owner, found, seconds, longest_seconds, facility, running)
        for owner in record.owners:
            found.record(owner.key)
            found.record((owner.key[0], "*"))
        if ring.sample is not None:
            record.row, record.unix = ring.last_row, ring.unix(ring.last_row)


def _increments(ring: NodeRing, record: _Record) -> Increments:
    """The increments since the last recorded row; since the first one if the ring was cleared."""
    if ring.sample is None:
        return increments(ring, 0, 0.0, 0)
    is_cleared = record.row > ring.last_row or (
        record.row >= ring.first_row and ring.unix(record.row) != record.unix
    )
    if record.row < 0 or is_cleared:
        record.row, record.unix = ring.first_row, ring.unix(ring.first_row)
    seconds = ring.unix(ring.last_row) - record.unix
    return increments(ring, record.row, seconds, ring.last_row - record.row)


def _state(ring: NodeRing) -> object:
    """What changes when something happens on a node: its workloads, its GPUs, its series, what is refused."""
    sample = ring.sample
    if sample is None:
        return None
    return (
        len(ring.columns.live),
        tuple((one.workload, one.up, one.missing_gpus) for one in sample.workloads.values()),
        tuple(gpu.up for gpu in sample.gpus.values()),
        max((one.row for one in ring.refused.values()), default=-1),
    )


def _view_seconds(ring: NodeRing) -> float:
    """Long enough for the node's meter: the factor from boards to the node is that of this window."""
    periods = ring.sample.meter_periods.values() if ring.sample is not None else ()
    period = max(periods, default=0.0)
    return min(MAX_VIEW_SECONDS, max(VIEW_SECONDS, _METER_REFRESHES * period))
