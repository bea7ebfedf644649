"""Detector of one engine page that is configured twice, under addresses that do not look alike."""

import logging
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample

logger = logging.getLogger(__name__)

# Two processes of one launch may start within one tick of the clock, and count alike for a while.
AGREEMENTS = 6
# Of what a page counts between two reads: work comes in bursts.
TOLERANCE = 0.3


class _Read(Struct, frozen=True):
    """What one workload's page showed at an instant."""

    monotonic_seconds: float
    counts: EngineCounts

    def is_of_process_of(self, other: "_Read") -> bool:
        one, two = self.counts, other.counts
        return (
            one.process_start_unix_seconds is not None
            and one.process_start_unix_seconds == two.process_start_unix_seconds
            and one.model == two.model
        )

    def is_between(self, before: "_Read", after: "_Read") -> bool:
        """Whether its counts are those that a page had which showed *before* and *after*, as time passed."""
        part = (self.monotonic_seconds - before.monotonic_seconds) / (
            after.monotonic_seconds - before.monotonic_seconds
        )
        return all(
            one is not None and two is not None and _is_near(own, one + part * (two - one), two - one)
            for one, own, two in zip(
                _amounts(before.counts), _amounts(self.counts), _amounts(after.counts), strict=True
            )
            if own is not None
        )


class SharedPages:
    """
    Finds workloads whose pages are one page: the same process, and counts that continue each other's.

    Their tokens count twice, so that none of their figures is valid: each misses the GPUs of the other.
    """

    def __init__(self) -> None:
        self._reads: dict[str, tuple[_Read, ...]] = {}
        self._gpus: dict[str, int] = {}
        self._agreements: dict[frozenset[str], int] = {}
        self._reported: set[frozenset[str]] = set()

    def mark(self, samples: Sequence[EngineSample]) -> list[EngineSample]:
        """Return *samples*; those of one page that is read for several workloads have missing GPUs."""
        for sample in samples:
            name = sample.info.workload
            self._gpus[name] = len(sample.gpus)
            if sample.ended:
                self._forget(name)
            elif sample.counts is not None and sample.counts.output_tokens is not None:
                self._add(name, _Read(sample.monotonic_seconds, sample.counts))
        return [self._marked(sample) for sample in samples]

    def _add(self, name: str, read: _Read) -> None:
        before = self._reads.get(name, ())[-1:]
        for other, reads in self._reads.items():
            if before and other != name and before[0].is_of_process_of(read):
                self._compare(frozenset((name, other)), before[0], reads[-1], read)
        self._reads[name] = (*before, read)

    def _compare(self, pair: frozenset[str], before: _Read, other: _Read, after: _Read) -> None:
        """Compare the page of one workload with that of another, which was read in between."""
        if not before.monotonic_seconds <= other.monotonic_seconds < after.monotonic_seconds:
            return
        if not (other.is_of_process_of(after) and other.is_between(before, after)):
            self._agreements.pop(pair, None)
        elif _amounts(before.counts) != _amounts(after.counts):
            self._agreements[pair] = self._agreements.get(pair, 0) + 1
            if self._agreements[pair] >= AGREEMENTS and pair not in self._reported:
                self._reported.add(pair)
                logger.error(
                    "%s and %s read the page of one process, and its tokens count twice: remove one of them "
                    "from engines.endpoints, and name all GPUs of the engine in the other",
                    *sorted(pair),
                )

    def _marked(self, sample: EngineSample) -> EngineSample:
        name = sample.info.workload
        others = [
            other
            for pair, agreements in self._agreements.items()
            if name in pair and agreements >= AGREEMENTS
            for other in pair - {name}
        ]
        if not others:
            return sample
        missing = sum(max(1, self._gpus.get(other, 0)) for other in others)
        return replace(sample, missing_gpus=(sample.missing_gpus or 0) + missing)

    def _forget(self, name: str) -> None:
        self._reads.pop(name, None)
        for other in tuple(self._reads):
            self._agreements.pop(frozenset((name, other)), None)


def _amounts(counts: EngineCounts) -> tuple[float | None, ...]:
    return counts.output_tokens, counts.prompt_computed_tokens, counts.requests_ok


def _is_near(amount: float, expected: float, step: float) -> bool:
    return abs(amount - expected) <= TOLERANCE * step
