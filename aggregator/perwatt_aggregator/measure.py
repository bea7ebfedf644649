"""From the readings in a ring to a window: the rows it snaps to, what grew between them, what is covered."""

from collections.abc import Iterable, Iterator

from perwatt_aggregator.ends import blurs
from perwatt_aggregator.ring import NodeRing
from perwatt_aggregator.sample import (
    EFFECTIVE_TOKENS,
    GPU_COVERED,
    GPU_ENERGY,
    NODE_COVERED,
    NODE_ENERGY,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    UNATTRIBUTED,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
    Counter,
    NodeSample,
    WorkloadFacts,
)
from perwatt_aggregator.window import (
    Counts,
    GpuWindow,
    MeterWindow,
    NodeWindow,
    StateJoules,
    WorkWindow,
)

MIN_METER_REFRESHES = 10
# What sums of many joules may be off by.
NEGLIGIBLE_JOULES = 1e-3

CUMULATIVE_SOURCES = frozenset(("counter", "module", "simulated"))
"""Sources that are read off a counter: the difference of two readings covers all the time between."""


def node_window(ring: NodeRing, seconds: float) -> NodeWindow | None:
    """
    Look at the last *seconds* up to the newest reading, snapped to real readings.

    None when fewer than two readings fall into it.
    """
    sample = ring.sample
    if sample is None:
        return None
    last = ring.last_row
    asked_start = ring.unix(last) - seconds
    first = ring.row_near(asked_start)
    if first >= last:
        return None
    return _Reader(ring, sample, first, last).window(asked_start, seconds)


class _Reader:
    """Reads one window off a ring: rows *first* to *last*."""

    def __init__(self, ring: NodeRing, sample: NodeSample, first: int, last: int) -> None:
        self._ring = ring
        self._sample = sample
        self._first = first
        self._last = last
        self._counters: dict[str, list[Counter]] = {}
        self._grown: dict[Counter, float | None] = {}
        for counter in ring.columns:
            self._counters.setdefault(counter.name, []).append(counter)
            self._grown[counter] = ring.increase(counter, first, last)

    def window(self, asked_start: float, asked_seconds: float) -> NodeWindow:
        ring = self._ring
        start, end = ring.unix(self._first), ring.unix(self._last)
        filled = start - asked_start <= ring.interval_seconds
        works = tuple(self._works())
        gpus = tuple(self._gpus(works))
        return NodeWindow(
            backend=self._sample.backend,
            start_unix=start,
            end_unix=end,
            nominal_seconds=end - start if filled else asked_seconds,
            filled=filled,
            readings=self._last - self._first + 1,
            largest_gap_seconds=ring.largest_gap_seconds(self._first, self._last),
            gpus=gpus,
            works=tuple(_without_ended(works, gpus)),
            meter=self._meter(),
        )

    def _increase(self, counter: Counter) -> float | None:
        return self._grown.get(counter)

    def _of(self, name: str) -> list[Counter]:
        return self._counters.get(name, [])

    def _resets(self, counter: Counter) -> list[int]:
        resets = self._ring.columns[counter].resets
        return [row for row in resets if self._first < row <= self._last] if resets else []

    def _calibration(self, gpu: str) -> float:
        return self._ring.calibration_ratios.get(gpu, 1.0)

    # GPUs

    def _gpus(self, works: Iterable[WorkWindow]) -> Iterator[GpuWindow]:
        energy: dict[str, list[Counter]] = {gpu: [] for gpu in self._sample.gpus}
        for counter in self._of(GPU_ENERGY):
            energy.setdefault(counter.gpu, []).append(counter)
        rest = self._by_gpu(UNATTRIBUTED)
        settled: dict[str, float] = {}
        late: set[str] = set()
        for work in works:
            is_late = self._ring.unix(self._last) - work.end_unix > self._ring.gap_seconds
            for gpu, joules in work.joules.items():
                settled[gpu] = settled.get(gpu, 0.0) + joules.active + joules.idle + joules.loading
                if is_late:
                    late.add(gpu)
        for gpu, counters in energy.items():
            yield self._gpu(gpu, counters, rest.get(gpu, 0.0), settled.get(gpu, 0.0) if gpu in late else None)

    def _by_gpu(self, name: str) -> dict[str, float]:
        joules: dict[str, float] = {}
        for counter in self._of(name):
            increase = self._increase(counter) or 0.0
            joules[counter.gpu] = joules.get(counter.gpu, 0.0) + increase * self._calibration(counter.gpu)
        return joules

    def _gpu(self, gpu: str, counters: list[Counter], rest: float, settled: float | None) -> GpuWindow:
        """*settled* are the joules that late workloads of this GPU were given; None when none is late."""
        read = [counter for counter in counters if self._increase(counter) is not None]
        increases = [self._increase(counter) or 0.0 for counter in read]
        energy = sum(increases) * self._calibration(gpu) if read else None
        waiting = 0.0 if energy is None or settled is None else max(0.0, energy - settled - rest)
        return GpuWindow(
            gpu=gpu,
            sources=tuple(sorted({counter.part for counter in read})),
            energy_joules=energy,
            unattributed_joules=rest,
            waiting_joules=waiting,
            covered_seconds=self._gpu_covered(gpu, read),
            reset=any(self._resets(counter) for counter in read),
        )

    def _gpu_covered(self, gpu: str, counters: list[Counter]) -> float:
        """
        The seconds that a GPU's joules cover.

        Off a counter that is all the time between two readings but that of a reset; else, and while
        the source changes, it is what the agent says.
        """
        cumulative = all(counter.part in CUMULATIVE_SOURCES for counter in counters)
        if len(counters) == 1 and cumulative:
            return self._bridged_seconds(counters[0])
        return self._increase(Counter(GPU_COVERED, gpu=gpu)) or 0.0

    def _bridged_seconds(self, counter: Counter) -> float:
        span = self._ring.span(counter, self._first, self._last)
        if span is None:
            return 0.0
        unix = self._ring.unix
        lost = sum(unix(row) - unix(row - 1) for row in self._resets(counter))
        return unix(span[1]) - unix(span[0]) - lost

    # workloads

    def _works(self) -> Iterator[WorkWindow]:
        energy: dict[tuple[str, str], list[Counter]] = {}
        counts: dict[tuple[str, str], list[Counter]] = {}
        for counter in self._of(WORKLOAD_ENERGY):
            energy.setdefault((counter.workload, counter.model), []).append(counter)
        for name in (OUTPUT_TOKENS, PROMPT_TOKENS, EFFECTIVE_TOKENS, REQUESTS):
            for counter in self._of(name):
                counts.setdefault((counter.workload, counter.model), []).append(counter)
        models = self._models()
        for counter in self._of(WORK):
            model = models.get(counter.workload, "")
            counts.setdefault((counter.workload, model), []).append(counter)
        for key in sorted(energy.keys() | counts.keys()):
            work = self._work(*key, energy.get(key, []), counts.get(key, []))
            if work is not None:
                yield work

    def _models(self) -> dict[str, str]:
        """The model by which each workload's joules are counted now: other work goes by it too."""
        models: dict[str, str] = {}
        for counter in self._of(WORKLOAD_ENERGY):
            if counter in self._sample.counters or counter.workload not in models:
                models[counter.workload] = counter.model
        return models

    def _work(
        self, workload: str, model: str, energy: list[Counter], counts: list[Counter]
    ) -> WorkWindow | None:
        clock = Counter(WORKLOAD_COVERED, workload=workload)
        covered = self._increase(clock)
        if covered is None or not any(self._increase(counter) is not None for counter in energy + counts):
            return None
        start = self._ring.settled_row(clock, self._first)
        end = self._ring.settled_row(clock, self._last)
        settlement = self._ring.settlements.get(workload)
        facts = self._sample.workloads.get(workload)
        joules = self._state_joules(energy)
        return WorkWindow(
            workload=workload,
            model=model,
            engine=facts.engine if facts else "",
            group=facts.group if facts else "",
            up=facts is not None and facts.up,
            start_unix=self._start(start),
            end_unix=self._ring.unix(end),
            covered_seconds=covered,
            slack_seconds=settlement.step_seconds if settlement and covered else 0.0,
            settlements=self._ring.moves(clock, self._first, self._last),
            counts=self._counts(counts),
            joules=joules,
            reasons=tuple(self._work_reasons(facts, joules, counts)),
        )

    def _start(self, settled_row: int) -> float:
        """
        From when on the joules of a workload are counted: its last settlement before the window, if
        it kept the workload waiting, else the window's own start.
        """
        start, settled = self._ring.unix(self._first), self._ring.unix(settled_row)
        return settled if start - settled > self._ring.gap_seconds else start

    def _work_reasons(
        self, facts: WorkloadFacts | None, joules: dict[str, StateJoules], counts: list[Counter]
    ) -> Iterator[str]:
        if facts is None or not facts.up:
            yield "engine_unreachable"
        gpus = [self._sample.gpus[gpu] for gpu in joules if gpu in self._sample.gpus]
        if not all(gpu.up for gpu in gpus) or (facts is not None and facts.misses_gpus):
            yield "gpus_missing"
        shared = [gpu for gpu in gpus if facts is not None and gpu.gpu in facts.shared_gpus]
        if any(gpu.idle_power_watts is None for gpu in shared):
            yield "no_baseline"
        if facts is not None and blurs(
            self._ring, facts.engine, facts.workload, counts, self._first, self._last
        ):
            yield "counts_at_request_end"
        if any(self._resets(counter) for counter in counts):
            yield "counter_reset"
        uncounted = (row for counter in counts for row in self._ring.columns[counter].uncounted)
        if any(self._first < row <= self._last for row in uncounted):
            yield "tokens_uncovered"

    def _state_joules(self, energy: Iterable[Counter]) -> dict[str, StateJoules]:
        by_gpu: dict[str, dict[str, float]] = {}
        for counter in energy:
            increase = self._increase(counter)
            if increase is not None:
                by_state = by_gpu.setdefault(counter.gpu, {})
                by_state[counter.part] = increase * self._calibration(counter.gpu)
        return {
            gpu: StateJoules(state.get("active", 0.0), state.get("idle", 0.0), state.get("loading", 0.0))
            for gpu, state in by_gpu.items()
        }

    def _counts(self, counters: Iterable[Counter]) -> Counts:
        found = {
            (counter.name, counter.part): increase
            for counter in counters
            if (increase := self._increase(counter)) is not None
        }
        return Counts(
            output=found.get((OUTPUT_TOKENS, "")),
            prompt_computed=found.get((PROMPT_TOKENS, "computed")),
            prompt_cached=found.get((PROMPT_TOKENS, "cached")),
            effective_output=found.get((EFFECTIVE_TOKENS, "")),
            requests={part: increase for (name, part), increase in found.items() if name == REQUESTS},
            work={part: increase for (name, part), increase in found.items() if name == WORK},
        )

    # the node's meter

    def _meter(self) -> MeterWindow | None:
        ring = self._ring
        counters = [counter for counter in self._of(NODE_ENERGY) if self._increase(counter) is not None]
        if not counters:
            return None
        spans = [span for counter in counters if (span := ring.span(counter, self._first, self._last))]
        covered = (self._increase(Counter(NODE_COVERED, part=counter.part)) for counter in counters)
        moves = sum(ring.moves(counter, self._first, self._last) for counter in counters)
        # A meter that moves from each reading to the next may be any number of times faster.
        slower_than_us = moves < self._last - self._first
        return MeterWindow(
            sources=tuple(sorted(counter.part for counter in counters)),
            energy_joules=sum(self._increase(counter) or 0.0 for counter in counters),
            seconds=sum(ring.unix(last) - ring.unix(first) for first, last in spans),
            board_joules=sum(self._board_joules(first, last) for first, last in spans),
            covered_seconds=sum(seconds or 0.0 for seconds in covered),
            slack_seconds=ring.interval_seconds if moves else 0.0,
            too_few_refreshes=slower_than_us and moves < MIN_METER_REFRESHES,
        )

    def _board_joules(self, first: int, last: int) -> float:
        """The joules of all boards between two rows."""
        grown = ((counter.gpu, self._ring.increase(counter, first, last)) for counter in self._of(GPU_ENERGY))
        return sum((joules or 0.0) * self._calibration(gpu) for gpu, joules in grown)


def _without_ended(works: Iterable[WorkWindow], gpus: Iterable[GpuWindow]) -> Iterator[WorkWindow]:
    """Leave out workloads that ended before the window: nothing moved, and no joule waits for them."""
    waiting = {gpu.gpu for gpu in gpus if gpu.waiting_joules > NEGLIGIBLE_JOULES}
    for work in works:
        moved = work.covered_seconds or any(work.counts.work.values())
        if work.up or moved or not waiting.isdisjoint(work.joules):
            yield work
