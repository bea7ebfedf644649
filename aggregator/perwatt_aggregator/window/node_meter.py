"""Node meter and host meters in a window: the whole node, its processors, its memory."""

from perwatt_aggregator.readings.increases import Increases
from perwatt_aggregator.readings.sample import (
    HOST_CPU_ENERGY,
    HOST_DRAM_ENERGY,
    NODE_COVERED,
    NODE_ENERGY,
    Counter,
    NodeSample,
)
from perwatt_aggregator.validity.thresholds import MIN_METER_REFRESHES
from perwatt_aggregator.window.window import HostWindow, MeterWindow


def host_window(increases: Increases) -> HostWindow:
    """Energy of the node's processors and of their memory; None if readings of it do not count."""

    def joules(name: str) -> float | None:
        return None if increases.refusals.of_meter(name) else increases.total(name)

    return HostWindow(joules(HOST_CPU_ENERGY), joules(HOST_DRAM_ENERGY))


def meter_window(increases: Increases, sample: NodeSample) -> MeterWindow | None:
    """The node's own meter; None if none was read twice."""
    ring = increases.ring
    counters = [counter for counter in increases.counters(NODE_ENERGY) if increases.of(counter) is not None]
    if not counters:
        return None
    spans = [span for counter in counters if (span := ring.span(counter, increases.first, increases.last))]
    covered_seconds = sum(
        increases.of(Counter(NODE_COVERED, part=counter.part)) or 0.0 for counter in counters
    )
    moves = sum(ring.moves(counter, increases.first, increases.last) for counter in counters)
    seconds = sum(ring.unix(last) - ring.unix(first) for first, last in spans)
    period = max((sample.meter_periods.get(counter.part, 0.0) for counter in counters), default=0.0)
    joules = sum(increases.of(counter) or 0.0 for counter in counters)
    return MeterWindow(
        sources=tuple(sorted(counter.part for counter in counters)),
        # Refreshes do not coincide with the ends of the window: the mean power is that of the covered time.
        energy_joules=joules * seconds / covered_seconds if covered_seconds else joules,
        seconds=seconds,
        board_joules=sum(increases.board_joules(first, last) for first, last in spans),
        covered_seconds=covered_seconds,
        slack_seconds=max(ring.interval_seconds, period) if moves else 0.0,
        has_too_few_refreshes=_has_too_few_refreshes(
            moves, increases.last - increases.first, seconds, period
        ),
        period_seconds=period or None,
        source_changed=len(_sources_seen(increases)) > 1,
        refused=increases.refusals.of_meter(NODE_ENERGY, NODE_COVERED),
    )


def _has_too_few_refreshes(moves: int, readings: int, seconds: float, period_seconds: float) -> bool:
    """Whether the meter was refreshed too seldom: by its stated period, else by how often it moved."""
    if period_seconds:
        return seconds < MIN_METER_REFRESHES * period_seconds
    # A meter that moves between any two readings may be refreshed many times between them.
    return moves < readings and moves < MIN_METER_REFRESHES


def _sources_seen(increases: Increases) -> set[str]:
    """The sources with at least one reading of the node."""
    return {
        counter.part
        for counter in increases.counters(NODE_ENERGY)
        if increases.of(counter) is not None or increases.ring.columns[counter].last_row > increases.first
    }
