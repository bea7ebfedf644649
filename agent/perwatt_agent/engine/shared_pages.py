"""Detector of one engine page that is configured twice, under addresses that do not look alike."""

import logging
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample

logger = logging.getLogger(__name__)

# Two processes of one launch may start within one tick of the clock, and count alike for a while.
AGREEMENTS = 6
# In a row. One page that several processes serve in turn shows one process here and another there at times.
OTHER_PROCESSES = 6
# Of what a page counts between two reads: work comes in bursts.
TOLERANCE = 0.3


Pair = frozenset[str]


class PairMemory(Protocol):
    """Pairs of URLs that were one page before the agent was started."""

    def load(self, urls: Sequence[str]) -> Collection[Pair]:
        """The pairs among *urls*."""

    def save(self, pairs: Collection[Pair]) -> None: ...


class NoPairMemory:
    """Memory of an agent that keeps nothing."""

    def load(self, urls: Sequence[str]) -> Collection[Pair]:
        return ()

    def save(self, pairs: Collection[Pair]) -> None: ...


class _Comparisons(Struct):
    """How often two pages were found to be one, and how often in a row they were of two processes."""

    agreements: int = 0
    other_processes: int = 0

    @property
    def is_one_page(self) -> bool:
        return self.agreements >= AGREEMENTS


class _Read(Struct, frozen=True):
    """What one workload's page showed at an instant."""

    monotonic_seconds: float
    counts: EngineCounts

    @property
    def process(self) -> tuple[float | None, str]:
        return self.counts.process_start_unix_seconds, self.counts.model

    def is_of_process_of(self, other: "_Read") -> bool:
        return self.process == other.process and self.process[0] is not None

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
    *urls* are those of the pages, *memory* keeps what was found over restarts of the agent.
    """

    def __init__(self, urls: Sequence[str], memory: PairMemory | None = None) -> None:
        self._urls = tuple(urls)
        self._memory = memory or NoPairMemory()
        self._reads: dict[int, tuple[_Read, ...]] = {}
        self._names: dict[int, str] = {}
        self._gpus: dict[int, int] = {}
        self._reported: set[frozenset[int]] = set()
        self._saved = frozenset(self._memory.load(urls))
        # By the places of two pages: one URL may be configured for several models.
        self._comparisons = {
            frozenset(pair): _Comparisons(AGREEMENTS)
            for pair in combinations(range(len(urls)), 2)
            if self._urls_of(pair) in self._saved
        }

    def mark(self, samples_of_pages: Sequence[Sequence[EngineSample]]) -> list[EngineSample]:
        """Return the samples of all pages; those of one page that is read twice have missing GPUs."""
        for page, samples in enumerate(samples_of_pages):
            for sample in samples:
                self._add(page, sample)
        self._report()
        return [
            self._marked(page, sample) for page, samples in enumerate(samples_of_pages) for sample in samples
        ]

    def _add(self, page: int, sample: EngineSample) -> None:
        self._names[page] = sample.info.workload
        self._gpus[page] = len(sample.gpus)
        if sample.ended:
            self._forget(page)
        elif sample.counts is not None and sample.counts.output_tokens is not None:
            self._add_read(page, _Read(sample.monotonic_seconds, sample.counts))

    def _add_read(self, page: int, read: _Read) -> None:
        before = self._reads.get(page, ())[-1:]
        for other, reads in self._reads.items():
            if before and other != page and before[0].process == read.process:
                self._compare(frozenset((page, other)), before[0], reads[-1], read)
        self._reads[page] = (*before, read)

    def _compare(self, pair: frozenset[int], before: _Read, other: _Read, after: _Read) -> None:
        """Compare one page with another, which was read in between."""
        if not before.monotonic_seconds <= other.monotonic_seconds < after.monotonic_seconds:
            return
        found = self._comparisons.setdefault(pair, _Comparisons())
        if not other.is_of_process_of(after):
            found.other_processes += 1
            if found.other_processes >= OTHER_PROCESSES:
                del self._comparisons[pair]
        elif not other.is_between(before, after):
            del self._comparisons[pair]
        elif _amounts(before.counts) != _amounts(after.counts):
            found.agreements += 1
            found.other_processes = 0

    def _report(self) -> None:
        """Save the pairs that are one page where they changed, and log the new ones."""
        found = {pair for pair, comparisons in self._comparisons.items() if comparisons.is_one_page}
        for pair in sorted(found - self._reported, key=sorted):
            if pair <= self._names.keys():
                self._reported.add(pair)
                logger.error(
                    "%s and %s read the page of one process, and its tokens count twice: remove one of them "
                    "from engines.endpoints, and name all GPUs of the engine in the other",
                    *sorted(self._names[page] for page in pair),
                )
        urls = frozenset(urls for urls in map(self._urls_of, found) if len(urls) > 1)
        if urls != self._saved:
            self._saved = urls
            self._memory.save(urls)

    def _urls_of(self, pages: Collection[int]) -> Pair:
        return frozenset(self._urls[page] for page in pages)

    def _marked(self, page: int, sample: EngineSample) -> EngineSample:
        others = [
            other
            for pair, comparisons in self._comparisons.items()
            if page in pair and comparisons.is_one_page
            for other in pair - {page}
        ]
        if not others:
            return sample
        missing = sum(max(1, self._gpus.get(other, 0)) for other in others)
        return replace(sample, missing_gpus=(sample.missing_gpus or 0) + missing)

    def _forget(self, page: int) -> None:
        self._reads.pop(page, None)
        for pair in [pair for pair in self._comparisons if page in pair]:
            del self._comparisons[pair]


def _amounts(counts: EngineCounts) -> tuple[float | None, ...]:
    return counts.output_tokens, counts.prompt_computed_tokens, counts.requests_ok


def _is_near(amount: float, expected: float, step: float) -> bool:
    return abs(amount - expected) <= TOLERANCE * step
