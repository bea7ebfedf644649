"""Agent: one configured target, its recent readings, and its scrape health."""

import logging
from collections import Counter as Tally

from msgspec.structs import replace

from perwatt_aggregator.readings.node_memory import NodeMemory
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.readings.sample import NodeSample
from perwatt_aggregator.targets.target import Target

logger = logging.getLogger(__name__)

MAX_CLOCK_OFFSET_SECONDS = 5.0
"""A smaller difference of two clocks moves a window by less than its readings are apart."""
REPLAY = "replay"
"""The backend of a recording, which has a clock of its own."""


Marks = tuple[tuple[str, ...], ...]
"""What only one node shows: its GPUs, and its agent with its start."""


class Agent:
    """One agent. Times are monotonic seconds of the aggregator's clock, unless named unix."""

    def __init__(
        self,
        target: Target,
        ring: NodeRing,
        objectives: Objectives = NO_OBJECTIVES,
        memory: NodeMemory | None = None,
    ) -> None:
        self.target = target
        self.ring = ring
        self.objectives = objectives
        self._memory = memory or NodeMemory()
        self.marks: Marks = ()
        self.up = False
        self.failure: str | None = None
        self.failures: Tally[str] = Tally()
        self.last_success_unix: float | None = None
        self.scrape_seconds: float | None = None
        self._clock_offset_seconds = 0.0
        self._has_refusals = False

    @property
    def sample(self) -> NodeSample | None:
        """The newest reading."""
        return self.ring.sample

    @property
    def gpus(self) -> int | None:
        """How many GPUs the node has, also those without a name; None if that was never read."""
        return self._memory.gpus_of(self.target.node)

    def add(self, sample: NodeSample, unix_seconds: float) -> bool:
        """
        Add a reading that was fetched now; return whether it was new.

        Raises TooManySeries and HistoryFull.
        """
        sample = self._aligned(sample, unix_seconds)
        is_new = self.ring.add(sample)
        if is_new:
            self._log_refusals()
            marks = _marks(sample)
            # The same object as before is compared at once.
            self.marks = self.marks if marks == self.marks else marks
        gpus = known_gpus(sample, self.gpus)
        if gpus is not None:
            self._memory.add(self.target.node, gpus)
        self.up = True
        self.failure = None
        self.last_success_unix = unix_seconds
        return is_new

    def _aligned(self, sample: NodeSample, unix_seconds: float) -> NodeSample:
        """The sample at the aggregator's time, if the node's clock is wrong; windows of nodes then agree."""
        if sample.backend == REPLAY:
            return sample
        offset = sample.unix_seconds - unix_seconds
        if abs(offset - self._clock_offset_seconds) > MAX_CLOCK_OFFSET_SECONDS:
            self._clock_offset_seconds = offset if abs(offset) > MAX_CLOCK_OFFSET_SECONDS else 0.0
            if self._clock_offset_seconds:
                logger.warning(
                    "the clock of %s differs by %.0f s from that of the aggregator, whose time is used; "
                    "synchronise both with NTP",
                    self.target.node,
                    offset,
                )
        return replace(sample, unix_seconds=sample.unix_seconds - self._clock_offset_seconds)

    def _log_refusals(self) -> None:
        """Log the first reading that does not count; the next one only after a history without any."""
        row = self.ring.last_row
        newest = next((one for one in self.ring.refused.items() if one[1].row == row), None)
        if newest is not None and not self._has_refusals:
            labels = ", ".join(f"{label}={value!r}" for label, value in newest[0]._asdict().items() if value)
            logger.warning(
                "%s: a reading does not count (%s): %s; docs/validity.md says what to do",
                self.target.node,
                newest[1].reason,
                labels,
            )
        self._has_refusals = bool(self.ring.refused)

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


def _marks(sample: NodeSample) -> Marks:
    gpus = (("gpu", gpu) for gpu in sample.gpus if not gpu.startswith("SIM-"))
    return (*gpus, ("agent", sample.agent, sample.agent_start)) if sample.agent else tuple(gpus)


def known_gpus(sample: NodeSample, before: int | None) -> int | None:
    """
    How many GPUs a node has, of which *before* were known; None if that is not known.

    A page has fewer than before if GPUs were removed or excluded. But a page without any, or of a backend
    that is down, does not know them: the node has them still.
    """
    listed = sample.listed_gpus
    if listed and sample.backend_up:
        return listed
    if listed or before is not None:
        return max(listed, before or 0)
    return 0 if sample.backend_up else None
