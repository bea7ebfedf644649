"""Measuring a window: the rows of a node's ring that it snaps to, and what each subject did between them."""

from perwatt_aggregator.readings.growth import Growth
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.readings.ring import NodeRing
from perwatt_aggregator.window.gpus import gpu_windows
from perwatt_aggregator.window.meters import host_window, meter_window
from perwatt_aggregator.window.window import NodeWindow
from perwatt_aggregator.window.workloads import without_ended, work_windows


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
    growth = Growth(ring, first, last)
    start, end = ring.unix(first), ring.unix(last)
    filled = start - asked_start <= ring.interval_seconds
    nominal_seconds = end - start if filled else seconds
    works = tuple(work_windows(growth, sample, objectives))
    gpus = tuple(gpu_windows(growth, sample, works, nominal_seconds))
    return NodeWindow(
        backend=sample.backend,
        start_unix=start,
        end_unix=end,
        nominal_seconds=nominal_seconds,
        filled=filled,
        readings=last - first + 1,
        largest_gap_seconds=ring.largest_gap_seconds(first, last),
        gpus=gpus,
        works=tuple(without_ended(works, gpus)),
        meter=meter_window(growth, sample),
        host=host_window(growth),
    )
