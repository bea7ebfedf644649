"""GPU windows: the joules of each GPU, the time that they cover, and what no workload was given."""

from collections.abc import Iterable, Iterator, Sequence

from perwatt_aggregator.readings.facts import GpuFacts
from perwatt_aggregator.readings.growth import Growth
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
from perwatt_aggregator.window.window import GpuWindow, WorkWindow

CUMULATIVE_SOURCES = frozenset(("counter", "module", "simulated"))
"""Sources that are read off a counter: the difference of two readings covers all the time between."""


def gpu_windows(
    growth: Growth, sample: NodeSample, works: Iterable[WorkWindow], nominal_seconds: float
) -> Iterator[GpuWindow]:
    """One window for each GPU that *sample* shows, or whose energy was read."""
    energy: dict[str, list[Counter]] = {gpu: [] for gpu in sample.gpus}
    for counter in growth.of(GPU_ENERGY):
        energy.setdefault(counter.gpu, []).append(counter)
    late_joules = _late_joules(growth, works)
    for gpu, counters in energy.items():
        facts = sample.gpus.get(gpu, GpuFacts(gpu))
        yield _gpu(growth, gpu, counters, late_joules.get(gpu), gpu_activity(growth, facts, nominal_seconds))


def _late_joules(growth: Growth, works: Iterable[WorkWindow]) -> dict[str, float]:
    """Joules that workloads were given, for each GPU of a workload that waits for its engine's page."""
    settled: dict[str, float] = {}
    late: set[str] = set()
    for work in works:
        is_late = growth.ring.unix(growth.last) - work.end_unix > growth.ring.gap_seconds
        for gpu, joules in work.joules.items():
            settled[gpu] = settled.get(gpu, 0.0) + joules.total
            if is_late:
                late.add(gpu)
    return {gpu: settled[gpu] for gpu in late}


def _gpu(
    growth: Growth, gpu: str, counters: Sequence[Counter], late_joules: float | None, activity: GpuActivity
) -> GpuWindow:
    read = [counter for counter in counters if growth.increase(counter) is not None]
    increases = [growth.increase(counter) or 0.0 for counter in read]
    energy = sum(increases) * growth.calibration(gpu) if read else None
    unallocated, unknown = (_unattributed(growth, gpu, cause) for cause in ("unallocated", "unknown"))
    late = energy is not None and late_joules is not None
    waiting = max(0.0, (energy or 0.0) - (late_joules or 0.0) - unallocated - unknown) if late else 0.0
    return GpuWindow(
        gpu=gpu,
        sources=tuple(sorted({counter.part for counter in read})),
        energy_joules=energy,
        unallocated_joules=unallocated,
        unknown_joules=unknown,
        waiting_joules=waiting,
        covered_seconds=_covered_seconds(growth, gpu, read),
        reset=any(growth.resets(counter) for counter in read),
        throttled_seconds=_throttled_seconds(growth, gpu),
        activity=activity,
    )


def _unattributed(growth: Growth, gpu: str, cause: str) -> float:
    joules = growth.increase(Counter(UNATTRIBUTED, gpu=gpu, part=cause))
    return (joules or 0.0) * growth.calibration(gpu)


def _throttled_seconds(growth: Growth, gpu: str) -> dict[str, float]:
    counters = [counter for counter in growth.of(GPU_THROTTLED) if counter.gpu == gpu]
    return {counter.part: growth.increase(counter) or 0.0 for counter in counters}


def _covered_seconds(growth: Growth, gpu: str, counters: Sequence[Counter]) -> float:
    """
    The seconds that a GPU's joules cover.

    Off a counter that is all the time between two readings but that of a reset; else, and while
    the source changes, it is what the agent says.
    """
    cumulative = all(counter.part in CUMULATIVE_SOURCES for counter in counters)
    if len(counters) == 1 and cumulative:
        return _bridged_seconds(growth, counters[0])
    return growth.increase(Counter(GPU_COVERED, gpu=gpu)) or 0.0


def _bridged_seconds(growth: Growth, counter: Counter) -> float:
    span = growth.span(counter)
    if span is None:
        return 0.0
    unix = growth.ring.unix
    lost = sum(unix(row) - unix(row - 1) for row in growth.resets(counter))
    return unix(span[1]) - unix(span[0]) - lost
