"""Workload windows: counts and joules of each workload and model, between the same two attributions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from perwatt_aggregator.readings.facts import GpuFacts, WorkloadFacts
from perwatt_aggregator.readings.gauges import UP, Gauge
from perwatt_aggregator.readings.increases import Increases
from perwatt_aggregator.readings.objectives import Objectives
from perwatt_aggregator.readings.sample import (
    BUCKETS,
    EFFECTIVE_TOKENS,
    ENGINE_FLOPS,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    WASTED_TOKENS,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
    Counter,
    NodeSample,
)
from perwatt_aggregator.window.request_ends import has_too_few_ends
from perwatt_aggregator.window.slo import slo_reasons, slo_window
from perwatt_aggregator.window.window import Counts, GpuWindow, SloWindow, StateJoules, WorkloadWindow

# Rounding error of a sum of many joules.
NEGLIGIBLE_JOULES = 1e-3
# Counters that a workload has for each of its models.
_OF_MODELS = (
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    EFFECTIVE_TOKENS,
    REQUESTS,
    WASTED_TOKENS,
    ENGINE_FLOPS,
    *BUCKETS,
)


def workload_windows(
    increases: Increases, sample: NodeSample, objectives: Objectives
) -> Iterator[WorkloadWindow]:
    """One window for each workload and model that was read twice."""
    energy: dict[tuple[str, str], list[Counter]] = {}
    counts: dict[tuple[str, str], list[Counter]] = {}
    for counter in increases.counters(WORKLOAD_ENERGY):
        energy.setdefault((counter.workload, counter.model), []).append(counter)
    for name in _OF_MODELS:
        for counter in increases.counters(name):
            counts.setdefault((counter.workload, counter.model), []).append(counter)
    models = _models(increases, sample)
    for counter in increases.counters(WORK):
        model = models.get(counter.workload, "")
        counts.setdefault((counter.workload, model), []).append(counter)
    for key in sorted(energy.keys() | counts.keys()):
        reader = _WorkloadReader(increases, sample, objectives, *key)
        work = reader.window(energy.get(key, []), counts.get(key, []))
        if work is not None:
            yield work


def without_ended(workloads: Iterable[WorkloadWindow], gpus: Iterable[GpuWindow]) -> Iterator[WorkloadWindow]:
    """
    Leave out workloads that ended before the window: no increase, and no waiting joules on their GPUs.

    One that lacks a GPU has not ended, even if its page does not answer: the node is not read completely.
    """
    waiting = {gpu.gpu for gpu in gpus if gpu.waiting_joules > NEGLIGIBLE_JOULES}
    for work in workloads:
        moved = work.covered_seconds or any(work.counts.work.values())
        if work.up or moved or work.missing_gpus or not waiting.isdisjoint(work.joules):
            yield work


def _models(increases: Increases, sample: NodeSample) -> dict[str, str]:
    """The model of each workload's newest joules, which is also the model of its work in other units."""
    models: dict[str, str] = {}
    for counter in increases.counters(WORKLOAD_ENERGY):
        if counter in sample.counters or counter.workload not in models:
            models[counter.workload] = counter.model
    return models


class _WorkloadReader:
    """Reader of the window of one workload and model; `_clock` counts the time that is covered."""

    def __init__(
        self, increases: Increases, sample: NodeSample, objectives: Objectives, workload: str, model: str
    ) -> None:
        self._increases = increases
        self._ring = increases.ring
        self._sample = sample
        self._objective = objectives.of(model)
        self._workload = workload
        self._model = model
        self._facts = sample.workloads.get(workload)
        self._clock = Counter(WORKLOAD_COVERED, workload=workload)

    def window(self, energy: Sequence[Counter], counts: Sequence[Counter]) -> WorkloadWindow | None:
        """The window; None if none of its counters was read twice."""
        increases, facts = self._increases, self._facts or WorkloadFacts(self._workload)
        covered = increases.of(self._clock)
        if covered is None or not any(increases.of(one) is not None for one in (*energy, *counts)):
            return None
        start = self._ring.attributed_row(self._clock, increases.first)
        end = self._ring.attributed_row(self._clock, increases.last)
        attribution = self._ring.attributions.get(self._workload)
        moves = self._ring.moves(self._clock, increases.first, increases.last)
        joules = self._state_joules(energy)
        slo = self._slo(counts)
        return WorkloadWindow(
            workload=self._workload,
            model=self._model,
            engine=facts.engine,
            group=facts.group,
            up=facts.up,
            has_served=self._has_served(),
            start_unix=self._start(start),
            end_unix=self._ring.unix(end),
            covered_seconds=covered,
            slack_seconds=attribution.step_seconds if attribution and covered else 0.0,
            attributions=moves,
            counts=self._counts(counts, slo),
            joules=joules,
            reasons=(*self._reasons(joules, counts), *slo_reasons(slo)),
            missing_gpus=facts.missing_gpus,
            estimated_gpus=facts.estimated_gpus,
            namespace=facts.namespace,
            pod=facts.pod,
            slurm_job=facts.slurm_job,
            systemd_unit=facts.systemd_unit,
            late_seconds=self._late_seconds(covered / moves) if moves else 0.0,
            lost_seconds=self._lost_seconds(counts),
        )

    def _late_seconds(self, step_seconds: float) -> float:
        """
        The covered time that lies before the window: the first attribution in it may be of a long wait.

        Up to *step_seconds*, the mean of an attribution, it is the phase between two clocks, at both ends.
        """
        ring, first = self._ring, self._increases.first
        row = ring.next_move(self._clock, first, self._increases.last)
        if row is None:
            return 0.0
        covered = ring.increase(self._clock, first, row) or 0.0
        phase_seconds = min(step_seconds, ring.gap_seconds)
        return max(0.0, covered - (ring.unix(row) - ring.unix(first)) - phase_seconds)

    def _lost_seconds(self, counts: Iterable[Counter]) -> float:
        """The time between a reset of the tokens and the reading before it: what came then is lost."""
        rows = {
            row
            for counter in counts
            if counter.name == OUTPUT_TOKENS
            for row in self._increases.resets(counter)
        }
        return sum(self._ring.unix(row) - self._ring.unix(row - 1) for row in rows)

    def _slo(self, counts: Sequence[Counter]) -> SloWindow | None:
        """Its requests compared with the objectives of its model; None if it makes no output."""
        increases = self._increases
        if self._objective is None or not any(counter.name == OUTPUT_TOKENS for counter in counts):
            return None
        max_running = self._ring.max_running(self._workload, increases.first, increases.last)
        return slo_window(self._objective, increases, counts, max_running)

    def _has_served(self) -> bool:
        """Whether it was ever active in the lifetime of its agent."""
        return self._workload in self._increases.served_workloads

    def _start(self, attributed_row: int) -> float:
        """
        The start of the workload's joules: its last attribution before the window if that is more than a gap
        earlier, else the start of the window.
        """
        start, attributed = self._ring.unix(self._increases.first), self._ring.unix(attributed_row)
        return attributed if start - attributed > self._ring.gap_seconds else start

    def _reasons(self, joules: Mapping[str, StateJoules], counts: Sequence[Counter]) -> Iterator[str]:
        increases, facts = self._increases, self._facts
        if facts is None or not facts.up:
            yield "engine_unreachable"
            # What was counted until the agent found it out is of one process, and its joules are of all.
            if self._ring.in_turn_row > increases.first:
                yield "several_processes"
        gpus = [self._sample.gpus.get(gpu, GpuFacts(gpu)) for gpu in joules]
        missing = facts is not None and facts.missing_gpus
        if missing or not all(gpu.up for gpu in gpus) or self._was_down(joules):
            yield "gpus_missing"
        shared = [gpu for gpu in gpus if facts is not None and gpu.gpu in facts.shared_gpus]
        if any(gpu.idle_power_watts is None for gpu in shared):
            yield "no_baseline"
        if facts is not None and has_too_few_ends(
            self._ring, facts.engine, facts.workload, counts, increases.first, increases.last
        ):
            yield "counts_at_request_end"
        yield from increases.refusals.of_workload(self._workload, joules)
        if any(increases.resets(counter) for counter in counts):
            yield "counter_reset"
        uncounted = (row for counter in counts for row in self._ring.columns[counter].uncounted)
        if any(increases.first < row <= increases.last for row in uncounted):
            yield "tokens_uncovered"

    def _was_down(self, gpus: Iterable[str]) -> bool:
        """
        Whether one of *gpus* did not answer when the window began, or less than a gap before: what it used
        until then is attributed once it answers again, which may be within the window.
        """
        ring, first = self._ring, self._increases.first
        start = ring.attributed_row(self._clock, first)
        earliest = ring.row_near(ring.unix(start) - ring.gap_seconds)
        return any(0.0 in ring.gauges.values(Gauge(UP, gpu), earliest, first) for gpu in gpus)

    def _state_joules(self, energy: Iterable[Counter]) -> dict[str, StateJoules]:
        by_gpu: dict[str, dict[str, float]] = {}
        for counter in energy:
            increase = self._increases.of(counter)
            if increase is not None:
                by_state = by_gpu.setdefault(counter.gpu, {})
                by_state[counter.part] = increase * self._increases.calibration(counter.gpu)
        return {
            gpu: StateJoules(state.get("active", 0.0), state.get("idle", 0.0), state.get("loading", 0.0))
            for gpu, state in by_gpu.items()
        }

    def _counts(self, counters: Sequence[Counter], slo: SloWindow | None) -> Counts:
        found = {
            (counter.name, counter.part): increase
            for counter in counters
            if (increase := self._increases.of(counter)) is not None
        }
        return Counts(
            output=found.get((OUTPUT_TOKENS, "")),
            prompt_computed=found.get((PROMPT_TOKENS, "computed")),
            prompt_cached=found.get((PROMPT_TOKENS, "cached")),
            effective_output=found.get((EFFECTIVE_TOKENS, "")),
            requests=_parts_of(REQUESTS, found),
            wasted=self._complete_increases(WASTED_TOKENS, counters),
            work=_parts_of(WORK, found),
            flops_per_gpu=self._complete_increases(ENGINE_FLOPS, counters).get(""),
            slo=slo,
        )

    def _complete_increases(self, name: str, counters: Iterable[Counter]) -> dict[str, float]:
        """
        The increases of counters of one name that were read in the same rows as their workload: some counters
        are not on every page.
        """
        found: dict[str, float] = {}
        for counter in counters:
            increase = self._increases.of(counter)
            if counter.name == name and increase is not None:
                clock = Counter(WORKLOAD_COVERED, workload=counter.workload)
                if self._increases.span(counter) == self._increases.span(clock):
                    found[counter.part] = increase
        return found


def _parts_of(name: str, found: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return {part: increase for (one, part), increase in found.items() if one == name}
