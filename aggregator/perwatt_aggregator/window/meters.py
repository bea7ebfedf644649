"""What the meters around the boards showed in a window: the node at the wall, processors, memory."""

from perwatt_aggregator.readings.growth import Growth
from perwatt_aggregator.readings.sample import (
    HOST_CPU_ENERGY,
    HOST_DRAM_ENERGY,
    NODE_COVERED,
    NODE_ENERGY,
    Counter,
    NodeSample,
)
from perwatt_aggregator.window.window import HostWindow, MeterWindow

MIN_METER_REFRESHES = 10


def host_window(growth: Growth) -> HostWindow:
    """What the node's processors and their memory took."""
    return HostWindow(growth.total(HOST_CPU_ENERGY), growth.total(HOST_DRAM_ENERGY))


def meter_window(growth: Growth, sample: NodeSample) -> MeterWindow | None:
    """What the node's own meter showed; None where none was read twice."""
    ring = growth.ring
    counters = [counter for counter in growth.of(NODE_ENERGY) if growth.increase(counter) is not None]
    if not counters:
        return None
    spans = [span for counter in counters if (span := ring.span(counter, growth.first, growth.last))]
    covered_seconds = sum(
        growth.increase(Counter(NODE_COVERED, part=counter.part)) or 0.0 for counter in counters
    )
    moves = sum(ring.moves(counter, growth.first, growth.last) for counter in counters)
    seconds = sum(ring.unix(last) - ring.unix(first) for first, last in spans)
    period = max((sample.meter_periods.get(counter.part, 0.0) for counter in counters), default=0.0)
    joules = sum(growth.increase(counter) or 0.0 for counter in counters)
    return MeterWindow(
        sources=tuple(sorted(counter.part for counter in counters)),
        # Refreshes do not fall on the window's edges: its mean power is that of the time it covers.
        energy_joules=joules * seconds / covered_seconds if covered_seconds else joules,
        seconds=seconds,
        board_joules=sum(growth.board_joules(first, last) for first, last in spans),
        covered_seconds=covered_seconds,
        slack_seconds=max(ring.interval_seconds, period) if moves else 0.0,
        too_few_refreshes=_too_few(moves, growth.last - growth.first, seconds, period),
        period_seconds=period or None,
        source_changed=len(_sources_read(growth)) > 1,
    )


def _too_few(moves: int, readings: int, seconds: float, period_seconds: float) -> bool:
    """Whether the meter was refreshed too seldom, by what it says of itself, else by how often it moved."""
    if period_seconds:
        return seconds < MIN_METER_REFRESHES * period_seconds
    # A meter that moves from each reading to the next may be any number of times faster.
    return moves < readings and moves < MIN_METER_REFRESHES


def _sources_read(growth: Growth) -> set[str]:
    """The sources by which the node was read at all, were it but once."""
    return {
        counter.part
        for counter in growth.of(NODE_ENERGY)
        if growth.increase(counter) is not None or growth.ring.columns[counter].last_row > growth.first
    }
