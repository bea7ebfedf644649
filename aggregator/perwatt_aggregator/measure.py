"""From the readings in a ring to a window: the rows it snaps to, what grew between them, what is covered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from perwatt_aggregator.compute.activity import GpuActivity
from perwatt_aggregator.compute.reading import gpu_activity
from perwatt_aggregator.ends import blurs
from perwatt_aggregator.facts import GpuFacts, WorkloadFacts
from perwatt_aggregator.growth import Growth
from perwatt_aggregator.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.ring import NodeRing
from perwatt_aggregator.sample import (
    BUCKETS,
    EFFECTIVE_TOKENS,
    ENGINE_FLOPS,
    GPU_COVERED,
    GPU_ENERGY,
    GPU_THROTTLED,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    UNATTRIBUTED,
    WASTED_TOKENS,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
    Counter,
    NodeSample,
)
from perwatt_aggregator.slo import slo_reasons, slo_window
from perwatt_aggregator.wall import host_window, meter_window
from perwatt_aggregator.window import (
    Counts,
    GpuWindow,
    NodeWindow,
    SloWindow,
    StateJoules,
    WorkWindow,
)

# What sums of many joules may be off by.
NEGLIGIBLE_JOULES = 1e-3

# What a workload counts for each of its models.
_OF_MODELS = (
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    EFFECTIVE_TOKENS,
    REQUESTS,
    WASTED_TOKENS,
    ENGINE_FLOPS,
    *BUCKETS,
)

CUMULATIVE_SOURCES = frozenset(("counter", "module", "simulated"))
"""Sources that are read off a counter: the difference of two readings covers all the time between."""


def node_window(ring: NodeRing, seconds: float, objectives: Objectives = NO_OBJECTIVES) -> NodeWindow | None:
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
    return _Reader(ring, sample, objectives, first, last).window(asked_start, seconds)


class _Reader:
    """Reads one window off a ring: rows *first* to *last*."""

    def __init__(
        self, ring: NodeRing, sample: NodeSample, objectives: Objectives, first: int, last: int
    ) -> None:
        self._ring = ring
        self._sample = sample
        self._objectives = objectives
        self._first = first
        self._last = last
        self._growth = Growth(ring, first, last)

    def window(self, asked_start: float, asked_seconds: float) -> NodeWindow:
        ring = self._ring
        start, end = ring.unix(self._first), ring.unix(self._last)
        filled = start - asked_start <= ring.interval_seconds
        nominal_seconds = end - start if filled else asked_seconds
        works = tuple(self._works())
        gpus = tuple(self._gpus(works, nominal_seconds))
        return NodeWindow(
            backend=self._sample.backend,
            start_unix=start,
            end_unix=end,
            nominal_seconds=nominal_seconds,
            filled=filled,
            readings=self._last - self._first + 1,
            largest_gap_seconds=ring.largest_gap_seconds(self._first, self._last),
            gpus=gpus,
            works=tuple(_without_ended(works, gpus)),
            meter=meter_window(self._growth, self._sample),
            host=host_window(self._growth),
        )

    # GPUs

    def _gpus(self, works: Iterable[WorkWindow], nominal_seconds: float) -> Iterator[GpuWindow]:
        energy: dict[str, list[Counter]] = {gpu: [] for gpu in self._sample.gpus}
        for counter in self._growth.of(GPU_ENERGY):
            energy.setdefault(counter.gpu, []).append(counter)
        settled: dict[str, float] = {}
        late: set[str] = set()
        for work in works:
            is_late = self._ring.unix(self._last) - work.end_unix > self._ring.gap_seconds
            for gpu, joules in work.joules.items():
                settled[gpu] = settled.get(gpu, 0.0) + joules.active + joules.idle + joules.loading
                if is_late:
                    late.add(gpu)
        for gpu, counters in energy.items():
            facts = self._sample.gpus.get(gpu, GpuFacts(gpu))
            activity = gpu_activity(self._growth, facts, nominal_seconds)
            yield self._gpu(gpu, counters, settled.get(gpu, 0.0) if gpu in late else None, activity)

    def _gpu(
        self, gpu: str, counters: list[Counter], settled: float | None, activity: GpuActivity
    ) -> GpuWindow:
        """*settled* are the joules that late workloads of this GPU were given; None when none is late."""
        read = [counter for counter in counters if self._growth.increase(counter) is not None]
        increases = [self._growth.increase(counter) or 0.0 for counter in read]
        energy = sum(increases) * self._growth.calibration(gpu) if read else None
        unallocated, unknown = self._unattributed(gpu, "unallocated"), self._unattributed(gpu, "unknown")
        late = energy is not None and settled is not None
        waiting = max(0.0, (energy or 0.0) - (settled or 0.0) - unallocated - unknown) if late else 0.0
        return GpuWindow(
            gpu=gpu,
            sources=tuple(sorted({counter.part for counter in read})),
            energy_joules=energy,
            unallocated_joules=unallocated,
            unknown_joules=unknown,
            waiting_joules=waiting,
            covered_seconds=self._gpu_covered(gpu, read),
            reset=any(self._growth.resets(counter) for counter in read),
            throttled_seconds=self._throttled_seconds(gpu),
            activity=activity,
        )

    def _unattributed(self, gpu: str, cause: str) -> float:
        joules = self._growth.increase(Counter(UNATTRIBUTED, gpu=gpu, part=cause))
        return (joules or 0.0) * self._growth.calibration(gpu)

    def _throttled_seconds(self, gpu: str) -> dict[str, float]:
        counters = [counter for counter in self._growth.of(GPU_THROTTLED) if counter.gpu == gpu]
        return {counter.part: self._growth.increase(counter) or 0.0 for counter in counters}

    def _gpu_covered(self, gpu: str, counters: list[Counter]) -> float:
        """
        The seconds that a GPU's joules cover.

        Off a counter that is all the time between two readings but that of a reset; else, and while
        the source changes, it is what the agent says.
        """
        cumulative = all(counter.part in CUMULATIVE_SOURCES for counter in counters)
        if len(counters) == 1 and cumulative:
            return self._bridged_seconds(counters[0])
        return self._growth.increase(Counter(GPU_COVERED, gpu=gpu)) or 0.0

    def _bridged_seconds(self, counter: Counter) -> float:
        span = self._ring.span(counter, self._first, self._last)
        if span is None:
            return 0.0
        unix = self._ring.unix
        lost = sum(unix(row) - unix(row - 1) for row in self._growth.resets(counter))
        return unix(span[1]) - unix(span[0]) - lost

    # workloads

    def _works(self) -> Iterator[WorkWindow]:
        energy: dict[tuple[str, str], list[Counter]] = {}
        counts: dict[tuple[str, str], list[Counter]] = {}
        for counter in self._growth.of(WORKLOAD_ENERGY):
            energy.setdefault((counter.workload, counter.model), []).append(counter)
        for name in _OF_MODELS:
            for counter in self._growth.of(name):
                counts.setdefault((counter.workload, counter.model), []).append(counter)
        models = self._models()
        for counter in self._growth.of(WORK):
            model = models.get(counter.workload, "")
            counts.setdefault((counter.workload, model), []).append(counter)
        for key in sorted(energy.keys() | counts.keys()):
            work = self._work(*key, energy.get(key, []), counts.get(key, []))
            if work is not None:
                yield work

    def _models(self) -> dict[str, str]:
        """The model by which each workload's joules are counted now: other work goes by it too."""
        models: dict[str, str] = {}
        for counter in self._growth.of(WORKLOAD_ENERGY):
            if counter in self._sample.counters or counter.workload not in models:
                models[counter.workload] = counter.model
        return models

    def _work(
        self, workload: str, model: str, energy: list[Counter], counts: list[Counter]
    ) -> WorkWindow | None:
        clock = Counter(WORKLOAD_COVERED, workload=workload)
        covered = self._growth.increase(clock)
        if covered is None or not any(
            self._growth.increase(counter) is not None for counter in energy + counts
        ):
            return None
        start = self._ring.settled_row(clock, self._first)
        end = self._ring.settled_row(clock, self._last)
        settlement = self._ring.settlements.get(workload)
        facts = self._sample.workloads.get(workload)
        joules = self._state_joules(energy)
        slo = self._slo(workload, model, counts)
        return WorkWindow(
            workload=workload,
            model=model,
            engine=facts.engine if facts else "",
            group=facts.group if facts else "",
            up=facts is not None and facts.up,
            has_served=self._has_served(workload),
            start_unix=self._start(start),
            end_unix=self._ring.unix(end),
            covered_seconds=covered,
            slack_seconds=settlement.step_seconds if settlement and covered else 0.0,
            settlements=self._ring.moves(clock, self._first, self._last),
            counts=self._counts(counts, slo),
            joules=joules,
            reasons=(*self._work_reasons(facts, joules, counts), *slo_reasons(slo)),
            missing_gpus=facts.missing_gpus if facts else 0,
            estimated_gpus=facts.estimated_gpus if facts else frozenset(),
        )

    def _slo(self, workload: str, model: str, counts: Sequence[Counter]) -> SloWindow | None:
        """Its requests against what is asked of its model; nothing is asked of what makes no output."""
        asked = self._objectives.of(model)
        if asked is None or not any(counter.name == OUTPUT_TOKENS for counter in counts):
            return None
        most_running = self._ring.most_running(workload, self._first, self._last)
        return slo_window(asked, self._growth, counts, most_running)

    def _has_served(self, workload: str) -> bool:
        """Whether it was ever active, in its agent's whole account of it."""
        columns = self._ring.columns
        return any(
            columns[counter].raw > 0.0
            for counter in self._growth.of(WORKLOAD_ENERGY)
            if counter.workload == workload and counter.part == "active"
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
        if not all(gpu.up for gpu in gpus) or (facts is not None and facts.missing_gpus):
            yield "gpus_missing"
        shared = [gpu for gpu in gpus if facts is not None and gpu.gpu in facts.shared_gpus]
        if any(gpu.idle_power_watts is None for gpu in shared):
            yield "no_baseline"
        if facts is not None and blurs(
            self._ring, facts.engine, facts.workload, counts, self._first, self._last
        ):
            yield "counts_at_request_end"
        if any(self._growth.resets(counter) for counter in counts):
            yield "counter_reset"
        uncounted = (row for counter in counts for row in self._ring.columns[counter].uncounted)
        if any(self._first < row <= self._last for row in uncounted):
            yield "tokens_uncovered"

    def _state_joules(self, energy: Iterable[Counter]) -> dict[str, StateJoules]:
        by_gpu: dict[str, dict[str, float]] = {}
        for counter in energy:
            increase = self._growth.increase(counter)
            if increase is not None:
                by_state = by_gpu.setdefault(counter.gpu, {})
                by_state[counter.part] = increase * self._growth.calibration(counter.gpu)
        return {
            gpu: StateJoules(state.get("active", 0.0), state.get("idle", 0.0), state.get("loading", 0.0))
            for gpu, state in by_gpu.items()
        }

    def _whole(self, name: str, counters: Iterable[Counter]) -> dict[str, float]:
        """
        What counters of one name grew by, as far as they were read as long as their workload was: some
        are told now and then.
        """
        found: dict[str, float] = {}
        for counter in counters:
            clock = Counter(WORKLOAD_COVERED, workload=counter.workload)
            increase = self._growth.increase(counter)
            if counter.name == name and increase is not None and self._span(counter) == self._span(clock):
                found[counter.part] = increase
        return found

    def _span(self, counter: Counter) -> tuple[int, int] | None:
        return self._ring.span(counter, self._first, self._last)

    def _counts(self, counters: Iterable[Counter], slo: SloWindow | None) -> Counts:
        found = {
            (counter.name, counter.part): increase
            for counter in counters
            if (increase := self._growth.increase(counter)) is not None
        }
        return Counts(
            output=found.get((OUTPUT_TOKENS, "")),
            prompt_computed=found.get((PROMPT_TOKENS, "computed")),
            prompt_cached=found.get((PROMPT_TOKENS, "cached")),
            effective_output=found.get((EFFECTIVE_TOKENS, "")),
            requests=_parts_of(REQUESTS, found),
            wasted=self._whole(WASTED_TOKENS, counters),
            work=_parts_of(WORK, found),
            flops_per_gpu=self._whole(ENGINE_FLOPS, counters).get(""),
            slo=slo,
        )


def _parts_of(name: str, found: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return {part: increase for (one, part), increase in found.items() if one == name}


def _without_ended(works: Iterable[WorkWindow], gpus: Iterable[GpuWindow]) -> Iterator[WorkWindow]:
    """Leave out workloads that ended before the window: nothing moved, and no joule waits for them."""
    waiting = {gpu.gpu for gpu in gpus if gpu.waiting_joules > NEGLIGIBLE_JOULES}
    for work in works:
        moved = work.covered_seconds or any(work.counts.work.values())
        if work.up or moved or not waiting.isdisjoint(work.joules):
            yield work
