"""One configured agent: how its scrapes fare, and what its readings say over a window."""

from collections import Counter as Tally

from msgspec import Struct

from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.state import UNKNOWN, FacilityState
from perwatt_aggregator.fleet import NodeView
from perwatt_aggregator.measure import node_window
from perwatt_aggregator.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.parts import NodeParts, node_parts
from perwatt_aggregator.ring import NodeRing
from perwatt_aggregator.sample import NodeSample
from perwatt_aggregator.uncertainty import UncertaintyConfig
from perwatt_aggregator.window import NodeWindow

# A window that was asked for within this many readings is kept current, so that asking again is cheap.
_WARM_ROWS = 12
_MAX_WARM_WINDOWS = 8


class Target(Struct, frozen=True):
    """Where an agent shows its page, and the name of its node: host and port, as Prometheus has it."""

    node: str
    url: str


class _Kept(Struct, frozen=True):
    asked_row: int
    window: NodeWindow | None
    parts: NodeParts | None


class Node:
    """
    What is known of one agent. Times are monotonic seconds of the aggregator's clock, unless named unix.

    Windows are worked out once for each new reading, and before they are asked for again.
    """

    def __init__(
        self,
        target: Target,
        ring: NodeRing,
        facility: FacilityConfig,
        uncertainty: UncertaintyConfig = UncertaintyConfig(),  # noqa: B008 - frozen
        objectives: Objectives = NO_OBJECTIVES,
    ) -> None:
        self.target = target
        self.ring = ring
        self.up = False
        self.failure: str | None = None
        self.failures: Tally[str] = Tally()
        self.last_success_unix: float | None = None
        self.scrape_seconds: float | None = None
        self.facility = facility
        self.objectives = objectives
        self._uncertainty = uncertainty
        self._kept: dict[float, _Kept] = {}

    @property
    def sample(self) -> NodeSample | None:
        """The newest reading."""
        return self.ring.sample

    def hear(self, sample: NodeSample, unix_seconds: float) -> None:
        """Take in a reading that was fetched now. Raises TooManySeries."""
        if self.ring.add(sample):
            self._keep_warm()
        self.up = True
        self.failure = None
        self.last_success_unix = unix_seconds

    def fail(self, reason: str) -> None:
        self.up = False
        self.failure = reason
        self.failures[reason] += 1

    def age_seconds(self, now: float) -> float | None:
        """How old the newest reading is. The agent's clock and ours need not agree."""
        return None if self.sample is None else max(0.0, now - self.sample.monotonic_seconds)

    def is_stale(self, now: float) -> bool:
        age = self.age_seconds(now)
        return age is None or age > self.ring.gap_seconds

    def window(self, seconds: float, now: float) -> NodeWindow | None:
        """The last *seconds* of readings; None when the newest is older than that."""
        age = self.age_seconds(now)
        return None if age is None or age >= seconds else self._at(seconds).window

    def view(self, seconds: float, now: float, facility: FacilityState = UNKNOWN) -> NodeView:
        """How the node looks over the last *seconds*, during which *facility* held."""
        age = self.age_seconds(now)
        gpus = len(self.sample.gpus) if self.sample else 0
        if age is None or age >= seconds:
            return NodeView(self.target.node, age_seconds=age, gpus=gpus, facility=facility)
        hidden_seconds = max(0.0, age - self.ring.gap_seconds)
        return NodeView(
            node=self.target.node,
            parts=self._at(seconds).parts,
            age_seconds=age,
            fresh_ratio=1.0 - hidden_seconds / seconds,
            stale=self.is_stale(now),
            gpus=gpus,
            facility=facility,
        )

    def _at(self, seconds: float) -> _Kept:
        kept = self._kept.get(seconds)
        row = self.ring.last_row
        if kept is None or kept.asked_row != row:
            window, parts = self._work_out(seconds) if kept is None else (kept.window, kept.parts)
            kept = self._kept[seconds] = _Kept(row, window, parts)
            if len(self._kept) > _MAX_WARM_WINDOWS:
                del self._kept[next(iter(self._kept))]
        return kept

    def _keep_warm(self) -> None:
        """Work out anew the windows that are still asked for, and forget the others."""
        row = self.ring.last_row
        self._kept = {
            seconds: _Kept(kept.asked_row, *self._work_out(seconds))
            for seconds, kept in self._kept.items()
            if 0 <= row - kept.asked_row <= _WARM_ROWS
        }

    def _work_out(self, seconds: float) -> tuple[NodeWindow | None, NodeParts | None]:
        window = node_window(self.ring, seconds, self.objectives)
        if window is None:
            return None, None
        return window, node_parts(self.target.node, window, self.facility, self._uncertainty)
