"""All faults."""

from oracle.faults import counters, engines, gpus, nodes

FAULTS = (*gpus.ROWS, *nodes.ROWS, *counters.ROWS, *engines.ROWS)
