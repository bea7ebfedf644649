"""GPU windows: the joules of each GPU, the time that they cover, and the joules of no workload."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from perwatt_aggregator.optional import product
from perwatt_aggregator.readings.facts import GpuFacts
from perwatt_aggregator.readings.increases import Increases
from perwatt_aggregator.readings.sample import (
    GPU_COVERED,
    GPU_ENERGY,
    GPU_THROTTLED,
    UNATTRIBUTED,
    Counter,
    NodeSample,
)
from perwatt_aggregator.window.activity import GpuActivity
from perwatt_aggregator.window.activity_reader import gpu_activity
from perwatt_aggregator.window.window import GpuWindow, WorkloadWindow

CUMULATIVE_SOURCES = frozenset(("counter", "module", "simulated"))
"""Sources that are counters: the difference of two readings covers all the time between them."""


def gpu_windows(
    increases: Increases, sample: NodeSample, workloads: Iterable[WorkloadWindow], nominal_seconds: float
) -> Iterator[GpuWindow]:
    """One window for each GPU in *sample*, and for each GPU with energy readings in between."""
    energy: dict[str, list[Counter]] = {gpu: [] for gpu in sample.gpus}
    for counter in increases.counters_ever(GPU_ENERGY):
        energy.setdefault(counter.gpu, []).append(counter)
    late_joules = _late_joules(increases, workloads)
    for gpu, counters in energy.items():
        facts = sample.gpus.get(gpu, GpuFacts(gpu))
        activity = gpu_activity(increases, facts, nominal_seconds)
        window = _gpu(increases, gpu, counters, late_joules.get(gpu), activity)
        # A GPU that had a counter in the whole history failed; one that never had any cannot be measured.
        has_meter = counters or facts.power_watts is not None or not facts.up
        yield window if has_meter else replace(window, is_measurable=False)


def _late_joules(increases: Increases, workloads: Iterable[WorkloadWindow]) -> dict[str, float]:
    """Joules of workloads, for each GPU with a workload whose engine's page is overdue."""
    attributed: dict[str, float] = {}
    late: set[str] = set()
    for work in workloads:
        is_late = increases.ring.unix(increases.last) - work.end_unix > increases.ring.gap_seconds
        for gpu, joules in work.joules.items():
            attributed[gpu] = attributed.get(gpu, 0.0) + joules.total
            if is_late:
                late.add(gpu)
    return {gpu: attributed[gpu] for gpu in late}


def _gpu(
    increases: Increases,
    gpu: str,
    counters: Sequence[Counter],
    late_joules: float | None,
    activity: GpuActivity,
) -> GpuWindow:
    read = [counter for counter in counters if increases.of(counter) is not None]
    joules = increases.joules_of(gpu, increases.first, increases.last)
    energy = product(joules, increases.calibration(gpu))
    unallocated, unknown = (_unattributed(increases, gpu, cause) for cause in ("unallocated", "unknown"))
    late = energy is not None and late_joules is not None
    has_counter = any(counter.part != "integrated" for counter in read)
    waiting = max(0.0, (energy or 0.0) - (late_joules or 0.0) - unallocated - unknown) if late else 0.0
    return GpuWindow(
        gpu=gpu,
        sources=tuple(sorted({counter.part for counter in read})),
        energy_joules=energy,
        unallocated_joules=unallocated,
        unknown_joules=unknown,
        waiting_joules=waiting,
        covered_seconds=_covered_seconds(increases, gpu, read),
        reset=any(increases.resets(counter) for counter in read),
        throttled_seconds=_throttled_seconds(increases, gpu),
        activity=activity,
        # An agent that integrates now, or has just started, shows no ratio of the counter before.
        divergence_ratio=increases.divergence(gpu) if has_counter else None,
        refused=increases.refusals.of_gpu(gpu),
    )


def _unattributed(increases: Increases, gpu: str, cause: str) -> float:
    joules = increases.of(Counter(UNATTRIBUTED, gpu=gpu, part=cause))
    return (joules or 0.0) * increases.calibration(gpu)


def _throttled_seconds(increases: Increases, gpu: str) -> dict[str, float]:
    counters = [counter for counter in increases.counters(GPU_THROTTLED) if counter.gpu == gpu]
    return {counter.part: increases.of(counter) or 0.0 for counter in counters}


def _covered_seconds(increases: Increases, gpu: str, counters: Sequence[Counter]) -> float:
    """
    The seconds that a GPU's joules cover.

    Joules of a counter cover all the time between two readings, except across a reset, and except while the
    agent does not trust the counter, which it reports. For other sources, and while the source changes, the
    agent reports the seconds.
    """
    covered = Counter(GPU_COVERED, gpu=gpu)
    reported = increases.of(covered)
    if len(counters) != 1 or counters[0].part not in CUMULATIVE_SOURCES:
        return reported or 0.0
    bridged = _bridged_seconds(increases, counters[0])
    # An agent that lost its memory reports anew; the counter has gone on.
    return bridged if reported is None or increases.resets(covered) else min(bridged, reported)


def _bridged_seconds(increases: Increases, counter: Counter) -> float:
    span = increases.span(counter)
    if span is None:
        return 0.0
    unix = increases.ring.unix
    lost_seconds = sum(unix(row) - unix(row - 1) for row in increases.resets(counter))
    return unix(span[1]) - unix(span[0]) - lost_seconds
