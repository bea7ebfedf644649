"""Source label of a node that no meter measures: the sum of its parts and of stated assumptions."""

from perwatt_agent.meters.kind import MeterKind

ROW = MeterKind(
    name="model",
    rank=90,
    measures="boards + processors + memory + what `meters.model` states",
    boundary="the wall (AC), estimated",
    limits="only as good as `rest_watts`",
    uncertainty_ratio=0.2,
    uncertainty_basis="no meter: a node built from its parts by stated assumptions",
    scopes=("node",),
)
