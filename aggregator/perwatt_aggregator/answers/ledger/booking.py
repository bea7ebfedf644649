"""Booking of a node's parts: the ledger lines of each part, of its boards, its node and its facility."""

from collections.abc import Iterator

from msgspec import Struct

from perwatt_aggregator.answers.ledger.active_shares import Shares
from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.attribution.board_leaves import ACTIVE
from perwatt_aggregator.attribution.node_parts import NodeParts
from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.validity.uncertainty import combined, of_difference

STATED_PUE = frozenset(("static", "category"))


class Line(Struct, frozen=True):
    """Joules of a leaf, or of a total at a boundary, with uncertainty and provenance."""

    name: str
    joules: float
    uncertainty_ratio: float | None
    provenance: frozenset[str]


class Booking(Struct, frozen=True):
    """
    One part in the ledger: a line for each of its leaves, and one for each boundary with a known total.

    `reasons` are why its host is not divided further.
    """

    part: Part
    facility: FacilityState
    lines: tuple[Line, ...]
    totals: tuple[Line, ...]
    reasons: frozenset[str] = frozenset()


class NodeLedger:
    """Books the parts of one node with a window."""

    def __init__(self, view: NodeView, parts: NodeParts) -> None:
        self._view = view
        self._parts = parts
        measured = (part for part in parts.by_workload if part.energy.joules is not None)
        self._boards = sum(sum(part.energy.leaves.values()) for part in measured)
        self._reasons = frozenset(self._host_reasons())

    def book(self, part: Part, shares: Shares) -> Booking:
        """Book *part*, with *shares* of its active joules."""
        boards = tuple(self._board_lines(part, shares))
        board = self._total(leaves.BOARDS.name, sum(line.joules for line in boards), part) if boards else None
        node = self._node(part, board)
        facility = None if node is None else self._facility(part, node)
        host = () if node is None else tuple(self._host_lines(part, board, node))
        overhead = () if node is None or facility is None else (self._overhead(node, facility),)
        totals = tuple(whole for whole in (board, node, facility) if whole is not None)
        return Booking(part, self._view.facility, (*boards, *host, *overhead), totals, self._reasons)

    def _host_reasons(self) -> Iterator[str]:
        host = self._parts.host
        if host.cpu_joules is None or host.dram_joules is None:
            yield "no_host_meter"
        if not self._host_fits():
            yield "host_meters_above_node"

    def _host_fits(self) -> bool:
        """Whether the node's joules beyond its boards are at least those of its processors and memory."""
        ratio, host = self._parts.factor.ratio, self._parts.host
        metered = (host.cpu_joules or 0.0) + (host.dram_joules or 0.0)
        return ratio is None or ratio < 1.0 or metered <= self._boards * (ratio - 1.0)

    def _board_lines(self, part: Part, shares: Shares) -> Iterator[Line]:
        if part.energy.joules is None:
            return
        uncertainty_ratio = self._view.uncertainty_at("gpu_board", part)
        provenance = frozenset(part.energy.provenance)
        for leaf, joules in part.energy.leaves.items():
            if leaf != ACTIVE:
                yield Line(leaf, joules, uncertainty_ratio, provenance)
                continue
            # Joules that are divided by tokens are an estimate, unless all tokens have the same outcome.
            split = (
                provenance | {"estimated"} if len([one for one in shares.values() if one]) > 1 else provenance
            )
            for kind, share in shares.items():
                yield Line(kind, joules * share, uncertainty_ratio, split)

    def _total(self, name: str, joules: float, part: Part) -> Line:
        return Line(
            name, joules, self._view.uncertainty_at("gpu_board", part), frozenset(part.energy.provenance)
        )

    def _node(self, part: Part, board: Line | None) -> Line | None:
        """Joules of the part at the node; None if not known, or less than its board joules."""
        factor = self._parts.factor
        joules = part.energy.meter_joules
        if board is not None and factor.ratio is not None and factor.ratio >= 1.0:
            joules = board.joules * factor.ratio
        if joules is None:
            return None
        provenance = frozenset((*part.energy.provenance, *factor.provenance))
        return Line(leaves.NODES.name, joules, self._view.uncertainty_at("node", part), provenance)

    def _host_lines(self, part: Part, board: Line | None, node: Line) -> Iterator[Line]:
        """Joules of processors, memory and the rest go to the parts in proportion to their board joules."""
        share = board.joules / self._boards if board is not None and self._boards else 0.0
        rest = node.joules - (board.joules if board else 0.0)
        metered = self._parts.host if board is not None and self._host_fits() else None
        named = (
            (leaves.HOST_CPU, metered.cpu_joules if metered else None),
            (leaves.HOST_DRAM, metered.dram_joules if metered else None),
        )
        for leaf, joules in named:
            if joules is not None:
                rest -= joules * share
                yield Line(leaf, joules * share, self._parts.host_uncertainty_ratio, frozenset(("counter",)))
        uncertainty_ratio = self._rest_uncertainty_ratio(board, node)
        yield Line(leaves.REST, rest, uncertainty_ratio, node.provenance)

    def _rest_uncertainty_ratio(self, board: Line | None, node: Line) -> float | None:
        if board is None:
            return node.uncertainty_ratio
        return of_difference(node.joules, node.uncertainty_ratio, board.joules, board.uncertainty_ratio)

    def _facility(self, part: Part, node: Line) -> Line | None:
        beyond, pue = self._view.plug_ratio("facility"), self._view.facility.pue
        if beyond is None or pue is None:
            return None
        stated = {"estimated"} if pue.kind in STATED_PUE else set()
        uncertainty_ratio = self._view.uncertainty_at("facility", part)
        return Line(leaves.TREE.name, node.joules * beyond, uncertainty_ratio, node.provenance | stated)

    def _overhead(self, node: Line, facility: Line) -> Line:
        """Joules of the building beside its nodes: (PUE - 1) times theirs."""
        pue = self._view.facility.pue
        uncertainty_ratio = None
        if pue is not None and pue.ratio > 1.0:
            own = pue.uncertainty_ratio * pue.ratio / (pue.ratio - 1.0)
            uncertainty_ratio = combined(node.uncertainty_ratio, own)
        return Line(leaves.OVERHEAD, facility.joules - node.joules, uncertainty_ratio, facility.provenance)
