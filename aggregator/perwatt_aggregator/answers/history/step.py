"""Step of the history: one group at one boundary, with its validity, from sums and flags."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from perwatt_aggregator.history.owners import COUNTS_AT_END, SOURCE
from perwatt_aggregator.history.reader import StepSums
from perwatt_aggregator.history.roll_up import HAS_WORKLOAD
from perwatt_aggregator.history.values import MEASURED, OUTPUT_COUNTED, PLACE, PROMPT_COUNTED, WORK_COUNTED
from perwatt_aggregator.optional import quotient
from perwatt_aggregator.schema.common import NODE_DIMENSIONS, PROVENANCES, Boundary, Dimension, Provenance
from perwatt_aggregator.validity.all import NAMES, is_valid, ordered
from perwatt_aggregator.validity.thresholds import (
    MIN_COVERAGE_RATIO,
    MIN_ENDS_PER_RUNNING,
    MIN_EXPLAINED_RATIO,
    MIN_READINGS,
    MIN_SECONDS_WITHOUT_RUNNING,
)
from perwatt_aggregator.validity.uncertainty import SWEEP_SECONDS

# These are true of the group, however short the time in which they are seen.
_OF_GROUPS = frozenset(("shared_group", "tokens_span_gpus"))
_KNOWN = frozenset(NAMES)
_PREFIXES: dict[Boundary, tuple[str, ...]] = {
    "gpu_board": ("gpu_board:",),
    "node": ("node:",),
    "facility": ("node:", "facility:"),
}
_BOUNDARY_PREFIXES = ("gpu_board:", "node:", "facility:")
_MEAN_TO_MAXIMUM = 2.0
"""The history has the mean of the running requests; at most twice as many run at once."""


class _Meaning(Struct, frozen=True):
    """What flags say at a boundary: all reasons, those that hold although the step is covered, provenance."""

    reasons: frozenset[str]
    notes: frozenset[str]
    provenance: tuple[Provenance, ...]


@lru_cache(maxsize=10_000)
def _meaning(flags: frozenset[str], boundary: Boundary) -> _Meaning:
    """The same flags come again and again, in most steps of most groups."""
    found = {one for one in flags if not one.startswith(_BOUNDARY_PREFIXES)}
    for prefix in _PREFIXES[boundary]:
        found |= {one.removeprefix(prefix) for one in flags if one.startswith(prefix)}
    reasons = found & _KNOWN
    return _Meaning(
        frozenset(reasons),
        frozenset(one for one in reasons if is_valid((one,)) or one in _OF_GROUPS),
        tuple(one for one in PROVENANCES if f"{SOURCE}{one}" in found),
    )


class Step:
    """
    Figures of one group at one boundary over a step of *seconds*, of which *recorded_seconds* are kept.

    *has_places* if joules of no workload have a place in the grouping.
    """

    def __init__(
        self,
        sums: StepSums,
        boundary: Boundary,
        seconds: float,
        recorded_seconds: float,
        *,
        has_places: bool,
    ) -> None:
        self._sums = sums
        self._meaning = _meaning(frozenset(sums.flags), boundary)
        self.boundary = boundary
        self._seconds = seconds
        self.recorded_seconds = recorded_seconds
        self.is_unattributed = not has_places and HAS_WORKLOAD not in sums.flags
        self.joules = self.value(boundary) if MEASURED in sums.flags else None
        self.idle_joules = (
            self._at_least_zero(self.value(f"{boundary}_idle")) if self.joules is not None else None
        )
        self.output = self.value("output") if OUTPUT_COUNTED in sums.flags else None
        self.coverage_ratio = self._coverage_ratio()
        self.reasons = frozenset(self._reasons())
        self.is_valid = is_valid(self.reasons)

    def value(self, name: str) -> float | None:
        """One of the sums; None if it is not known."""
        found = self._sums.values[PLACE[name]]
        return None if math.isnan(found) else found

    def counted(self, name: str) -> float | None:
        """One of the sums of engines; None if no engine counts tokens, or not every one counts this."""
        return self.value(name) if {OUTPUT_COUNTED, PROMPT_COUNTED} & self._sums.flags else None

    @property
    def work(self) -> dict[str, float]:
        """Work in other units."""
        return self._sums.work

    @property
    def can_divide(self) -> bool:
        """Whether the group has the tokens and the joules of the same members of each engine."""
        return "shared_group" not in self._sums.flags

    @property
    def tokens_per_joule(self) -> float | None:
        return quotient(self.output, self.joules) if self.can_divide else None

    @property
    def power_watts(self) -> float | None:
        return quotient(self.joules, self.recorded_seconds)

    @property
    def explained_ratio(self) -> float | None:
        unknown = self.value(f"{self.boundary}_unknown")
        if not self.joules or unknown is None:
            return None
        return min(1.0, max(0.0, 1.0 - unknown / self.joules))

    @property
    def uncertainty_ratio(self) -> float | None:
        return quotient(self.value(f"{self.boundary}_deviation"), self.joules)

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        return self._meaning.provenance

    def _coverage_ratio(self) -> float:
        """
        The share of the step that good readings cover. What is late is in the wrong step: it takes away as
        much as what is missing.
        """
        name = "covered" if self.boundary == "gpu_board" else "covered_at_node"
        expected, covered = (self._sums.values[PLACE[one]] for one in ("expected", name))
        if not expected:
            return 0.0
        covered *= self.recorded_seconds / self._seconds
        off = abs(expected - covered) / expected
        # An agent takes a sample every second, so that the ends of a step are known to a second.
        return max(0.0, 1.0 - max(0.0, off - SWEEP_SECONDS / self._seconds))

    def _reasons(self) -> Iterator[str]:
        covered = self.coverage_ratio >= MIN_COVERAGE_RATIO
        if not covered:
            yield "coverage_low"
        # What makes a tick not valid takes its seconds from the coverage.
        yield from self._meaning.notes if covered and self.joules is not None else self._meaning.reasons
        if self.joules is None and MEASURED not in self._sums.flags:
            yield "no_energy"
        if self.joules == 0.0:
            yield "no_joules"
        if self._has_few_readings():
            yield "too_few_readings"
        if self.is_unattributed:
            yield "unattributed"
            return
        if self.explained_ratio is not None and self.explained_ratio < MIN_EXPLAINED_RATIO:
            yield "unexplained"
        if self._has_few_ends():
            yield "counts_at_request_end"
        yield from self._reasons_of_work()

    def _reasons_of_work(self) -> Iterator[str]:
        if self.output is None:
            if PROMPT_COUNTED in self._sums.flags:
                yield "prompt_tokens_only"
            elif WORK_COUNTED in self._sums.flags:
                yield "other_units"
            else:
                yield "no_token_source"
        elif self.output == 0.0:
            yield "no_output_tokens"

    def _has_few_readings(self) -> bool:
        readings, expected = (self._sums.values[PLACE[one]] for one in ("readings", "expected"))
        return readings * self.recorded_seconds < (MIN_READINGS - 1) * expected

    def _has_few_ends(self) -> bool:
        """As of a window in memory, but with the mean of the running requests in place of their maximum."""
        if COUNTS_AT_END not in self._sums.flags:
            return False
        ended = (self.value("ok") or 0.0) + (self.value("aborted") or 0.0)
        running = self.value("running")
        if running is None or not self.recorded_seconds:
            return ended < MIN_ENDS_PER_RUNNING or self._seconds < MIN_SECONDS_WITHOUT_RUNNING
        return ended < MIN_ENDS_PER_RUNNING * _MEAN_TO_MAXIMUM * running / self.recorded_seconds

    @staticmethod
    def _at_least_zero(amount: float | None) -> float | None:
        return None if amount is None else max(0.0, amount)


def has_places(by: Sequence[Dimension], labels: Sequence[str]) -> bool:
    """Whether joules of no workload have a place in a grouping, as those of a whole node do."""
    return all(one in NODE_DIMENSIONS or one == "gpu_model" or one in labels for one in by)


def reasons_of(steps: Sequence[Step]) -> tuple[str, ...]:
    """All reasons of several steps."""
    return ordered(reason for step in steps for reason in step.reasons)
