"""Members of the fleet: a node for each target, from when it is named until its last window has passed."""

from collections.abc import Callable, Iterable

from perwatt_agent.net.page_identity import PageIdentity, page_identity
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.targets.target import Target

Build = Callable[[Target, FacilityConfig], Node]
FacilityOf = Callable[[str], FacilityConfig]


class Members:
    """
    The nodes of the fleet. *build* makes a node, *facility_of* names the facility of a node's name.

    A node is known by its page: a target whose labels, credentials or name change keeps its readings. A node
    that is not named any more counts for the time until then, for at most *history_seconds*.
    """

    is_whole = True

    def __init__(self, build: Build, facility_of: FacilityOf, history_seconds: float) -> None:
        self._build = build
        self._facility_of = facility_of
        self._history_seconds = history_seconds
        self._nodes: dict[PageIdentity, Node] = {}
        self._ended: dict[PageIdentity, Node] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are named now, in the order of their targets."""
        return tuple(self._nodes.values())

    def ended(self, now: float) -> tuple[Node, ...]:
        """The nodes that are not named any more, and that a window may still have."""
        self._ended = {
            page: node
            for page, node in self._ended.items()
            if node.left_seconds is not None and now - node.left_seconds < self._history_seconds
        }
        return tuple(self._ended.values())

    def follow(self, targets: Iterable[Target], now: float, unix_seconds: float, *, joins: bool) -> None:
        """
        Take over *targets* as the whole list.

        With *joins*, nodes that are new begin now; else they belong to the fleet from its start, and the time
        without readings of them is missing.
        """
        before, self._nodes = self._nodes, {}
        for target in targets:
            page = page_identity(target.url)
            node = before.pop(page, None) or self._ended.pop(page, None)
            if node is None:
                node = self._build(target, self._facility_of(target.node))
                if joins:
                    node.join(now, unix_seconds)
            elif node.target != target:
                node.retarget(target, self._facility_of(target.node))
            node.left_seconds = None
            self._nodes[page] = node
        for page, node in before.items():
            node.left_seconds = now
            self._ended[page] = node
