"""Node window: the rows of a node's ring next to the requested time, and the increases between them."""

from perwatt_aggregator.readings.increases import Increases
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives
from perwatt_aggregator.window.gpus import gpu_windows
from perwatt_aggregator.window.node_meter import host_window, meter_window
from perwatt_aggregator.window.window import NodeWindow
from perwatt_aggregator.window.workloads import without_ended, workload_windows


def node_window(ring: NodeRing, seconds: float, objectives: Objectives = NO_OBJECTIVES) -> NodeWindow | None:
    """
    The last *seconds* up to the newest reading, between real readings.

    None if there are fewer than two readings in it.
    """
    sample = ring.sample
    if sample is None:
        return None
    last = ring.last_row
    requested_start = ring.unix(last) - seconds
    first = ring.row_near(requested_start)
    if first >= last:
        return None
    increases = Increases(ring, first, last)
    start, end = ring.unix(first), ring.unix(last)
    filled = start - requested_start <= ring.interval_seconds
    nominal_seconds = end - start if filled else seconds
    workloads = tuple(workload_windows(increases, sample, objectives))
    gpus = tuple(gpu_windows(increases, sample, workloads, nominal_seconds))
    return NodeWindow(
        backend=sample.backend,
        start_unix=start,
        end_unix=end,
        nominal_seconds=nominal_seconds,
        filled=filled,
        readings=last - first + 1,
        largest_gap_seconds=ring.largest_gap_seconds(first, last),
        gpus=gpus,
        workloads=tuple(without_ended(workloads, gpus)),
        meter=meter_window(increases, sample),
        host=host_window(increases),
    )
