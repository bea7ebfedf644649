"""Agent: one configured target, its recent readings, and its scrape health."""

from collections import Counter as Tally

from msgspec import Struct

from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.readings.sample import NodeSample


class Target(Struct, frozen=True):
    """The URL of an agent's page, and the name of its node: host and port, like `instance` in Prometheus."""

    node: str
    url: str


class Agent:
    """One agent. Times are monotonic seconds of the aggregator's clock, unless named unix."""

    def __init__(self, target: Target, ring: NodeRing, objectives: Objectives = NO_OBJECTIVES) -> None:
        self.target = target
        self.ring = ring
        self.objectives = objectives
        self.up = False
        self.failure: str | None = None
        self.failures: Tally[str] = Tally()
        self.last_success_unix: float | None = None
        self.scrape_seconds: float | None = None

    @property
    def sample(self) -> NodeSample | None:
        """The newest reading."""
        return self.ring.sample

    def add(self, sample: NodeSample, unix_seconds: float) -> bool:
        """Add a reading that was fetched now; return whether it was new. Raises TooManySeries."""
        is_new = self.ring.add(sample)
        self.up = True
        self.failure = None
        self.last_success_unix = unix_seconds
        return is_new

    def fail(self, reason: str) -> None:
        """Count a scrape that failed."""
        self.up = False
        self.failure = reason
        self.failures[reason] += 1

    def age_seconds(self, now: float) -> float | None:
        """Age of the newest reading, by the aggregator's clock alone: the agent's clock may differ."""
        return None if self.sample is None else max(0.0, now - self.sample.monotonic_seconds)

    def is_stale(self, now: float) -> bool:
        """Whether the newest reading is so old that a gap begins."""
        age = self.age_seconds(now)
        return age is None or age > self.ring.gap_seconds
