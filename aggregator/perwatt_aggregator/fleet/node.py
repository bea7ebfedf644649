"""Node: one agent with its facility, and a cache of its windows that new readings refresh."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from perwatt_aggregator.attribution.node_parts import NodeParts, node_parts
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.state import UNKNOWN, FacilityState
from perwatt_aggregator.fleet.share_cache import ShareCache
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.fleet.window_cache import WindowCache
from perwatt_aggregator.readings.agent import Agent
from perwatt_aggregator.readings.node_memory import NodeMemory
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.readings.sample import NodeSample
from perwatt_aggregator.targets.target import Target
from perwatt_aggregator.validity.thresholds import MIN_READINGS
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig
from perwatt_aggregator.window.node_window import node_window
from perwatt_aggregator.window.window import NodeWindow

logger = logging.getLogger(__name__)

INTERNAL = "internal"
"""The failure of a node whose readings cannot be used, for an error of the aggregator."""
# A node that joins has this long to be read for the first time: one interval, and the deadline of a scrape.
_FIRST_READING_SECONDS = 10.0


T = TypeVar("T")


class _Computed(NamedTuple):
    """What a window of a node gives, until its next reading."""

    window: NodeWindow | None
    parts: NodeParts | None
    shares: ShareCache[Any]


class Node(Agent):
    """
    An agent as a node of the fleet.

    One that joins later counts from its first reading on. `left_seconds` is when it left; None while it
    belongs to the fleet. `source_reasons` are those of where its readings come from.
    """

    def __init__(
        self,
        target: Target,
        ring: NodeRing,
        facility: FacilityConfig,
        uncertainty: UncertaintyConfig = UncertaintyConfig(),  # noqa: B008 - frozen
        objectives: Objectives = NO_OBJECTIVES,
        memory: NodeMemory | None = None,
    ) -> None:
        super().__init__(target, ring, objectives, memory)
        self.facility = facility
        self._uncertainty = uncertainty
        self._windows = WindowCache(self._compute)
        self._joined_seconds: float | None = None
        self._joined_unix: float | None = None
        self.left_seconds: float | None = None
        self.source_reasons: tuple[str, ...] = ()

    def join(self, now: float, unix_seconds: float) -> None:
        """Begin now: before, there was no such node in the fleet."""
        self._joined_seconds, self._joined_unix = now, unix_seconds

    def retarget(self, target: Target, facility: FacilityConfig) -> None:
        """Take over another name, other labels or another access to the same page."""
        self.target = target
        self.facility = facility
        self._windows = WindowCache(self._compute)

    def add(self, sample: NodeSample, unix_seconds: float) -> bool:
        """Add a reading, and refresh the cached windows. Raises TooManySeries and HistoryFull."""
        is_new = super().add(sample, unix_seconds)
        if is_new:
            self._windows.refresh(self.ring.last_row)
        return is_new

    def window(self, seconds: float, now: float) -> NodeWindow | None:
        """The last *seconds* of readings; None if the newest one is older."""
        age = self.age_seconds(now)
        return None if age is None or age >= seconds else self._windows.get(seconds, self.ring.last_row)[0]

    def view(self, seconds: float, now: float, facility: FacilityState = UNKNOWN) -> NodeView | None:
        """
        The view of the node over the last *seconds*, with the state of its facility.

        None if it did not belong to the fleet then, or not for long enough to be read.
        """
        if self.left_seconds is not None:
            return self._last_view(seconds, now, self.left_seconds, facility)
        if self._is_beginning(now):
            return None
        age = self.age_seconds(now)
        reasons = self.source_reasons
        if self.ring.has_several_agents(now):
            reasons += ("several_agents",)
        if age is None or age >= seconds:
            return NodeView(
                self.target.node,
                age_seconds=age,
                fill_seconds=seconds if age is None and self.failure is None else None,
                gpus=self.gpus,
                facility=facility,
                reasons=reasons,
                labels=self.target.labels,
            )
        _, parts, shares = self._windows.get(seconds, self.ring.last_row)
        hidden_seconds = max(0.0, age - self.ring.gap_seconds)
        stale = hidden_seconds > 0.0
        return NodeView(
            node=self.target.node,
            parts=parts,
            age_seconds=age,
            fill_seconds=None if stale else _fill_seconds(parts, seconds, age),
            fresh_ratio=1.0 - hidden_seconds / seconds,
            stale=stale,
            gpus=self.gpus,
            facility=facility,
            reasons=reasons,
            labels=self.target.labels,
            shares=shares,
        )

    def duplicate_view(self, now: float, facility: FacilityState = UNKNOWN) -> NodeView | None:
        """
        The view of a node that shows what another one shows.

        None, because that one counts already; but if it lately showed another machine, nobody reads that now.
        """
        if not self.ring.has_other_agent(now):
            return None
        return NodeView(
            self.target.node,
            gpus=self.gpus,
            facility=facility,
            reasons=("several_agents",),
            labels=self.target.labels,
        )

    def _last_view(
        self, seconds: float, now: float, left_seconds: float, facility: FacilityState
    ) -> NodeView | None:
        """The view of a node that has left, over the part of the last *seconds* until its last reading."""
        age, interval_seconds = self.age_seconds(now), self.ring.interval_seconds
        if age is None:
            return None
        # In whole intervals, so that one window serves all requests within an interval.
        own_seconds = (seconds - age) // interval_seconds * interval_seconds
        if own_seconds < (MIN_READINGS - 1) * interval_seconds:
            return None
        window, parts, shares = self._windows.get(own_seconds, self.ring.last_row)
        if window is None or window.readings < MIN_READINGS:
            return None
        unread_seconds = max(0.0, left_seconds - (now - age) - self.ring.gap_seconds)
        return NodeView(
            node=self.target.node,
            parts=parts,
            fill_seconds=0.0,
            fresh_ratio=own_seconds / (own_seconds + unread_seconds),
            gpus=self.gpus,
            facility=facility,
            labels=self.target.labels,
            shares=shares,
        )

    def _is_beginning(self, now: float) -> bool:
        """Whether the node has joined so lately that it need not have enough readings yet."""
        if self._joined_seconds is None or len(self.ring) >= MIN_READINGS:
            return False
        grace_seconds = MIN_READINGS * self.ring.interval_seconds + _FIRST_READING_SECONDS
        return now - self._joined_seconds < grace_seconds

    def _own(self, seconds: float) -> float:
        """Of the last *seconds* up to the newest reading, those since a node that joined was first read."""
        ring = self.ring
        if self._joined_unix is None or ring.first_row > 0 or len(ring) < MIN_READINGS:
            return seconds
        late_seconds = ring.unix(0) - self._joined_unix
        if late_seconds > ring.interval_seconds + _FIRST_READING_SECONDS:
            return seconds
        return min(seconds, ring.unix(ring.last_row) - ring.unix(0))

    def attempt(self, compute: Callable[[], T]) -> T:
        """
        What *compute* gives. If the node's readings make it fail, they are dropped, and it is computed again.

        The last guard: values of one node must not make the answers for all others fail.
        """
        try:
            return compute()
        except Exception:
            logger.exception("the readings of %s are dropped; please report this", self.target.node)
            self.fail(INTERNAL)
            self.ring.clear()
            return compute()

    def _compute(self, seconds: float) -> _Computed:
        window, parts = self.attempt(lambda: self._window_and_parts(seconds))
        return _Computed(window, parts, ShareCache())

    def _window_and_parts(self, seconds: float) -> tuple[NodeWindow | None, NodeParts | None]:
        window = node_window(self.ring, self._own(seconds), self.objectives)
        if window is None:
            return None, None
        return window, node_parts(self.target.node, window, self.facility, self._uncertainty, self.gpus or 0)


def _fill_seconds(parts: NodeParts | None, seconds: float, age_seconds: float) -> float:
    """Seconds until the readings reach back to the start of a window of *seconds*; 0 once they do."""
    if parts is not None and parts.filled:
        return 0.0
    read_seconds = 0.0 if parts is None else parts.end_unix - parts.start_unix
    return max(0.0, seconds - read_seconds - age_seconds)
