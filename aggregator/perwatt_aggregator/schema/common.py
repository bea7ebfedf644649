"""Vocabulary of all answers: closed lists of words, and numbers with their bounds."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

SCHEMA_VERSION: Literal[1] = 1

Boundary = Literal["gpu_board", "node", "facility"]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
PueKind = Literal["static", "interim", "live", "category"]
PUE_KINDS: tuple[PueKind, ...] = get_args(PueKind)
PriceKind = Literal["flat", "time_of_use", "query"]
CarbonKind = Literal["average", "marginal"]
CARBON_KINDS: tuple[CarbonKind, ...] = get_args(CarbonKind)
CarbonSource = Literal["flat", "file", "query"]

Dimension = str
"""A name in DIMENSIONS, or a target label that the configuration names under `labels`."""
DIMENSIONS: tuple[Dimension, ...] = (
    *("model", "engine", "node", "gpu", "gpu_model", "workload", "group", "facility"),
    *("namespace", "pod", "slurm_job", "systemd_unit"),
)
NODE_DIMENSIONS: frozenset[Dimension] = frozenset(("node", "facility"))
"""Those of whole nodes, as target labels are."""
Source = Literal["agents", "history", "prometheus:raw", "recording"]
Provenance = Literal["counter", "estimated", "integrated", "module", "replay", "simulated"]
PROVENANCES: tuple[Provenance, ...] = get_args(Provenance)

Instant = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Next = Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]
Reasons = Annotated[tuple[str, ...], Meta(description="All that apply, from docs/validity.md.")]


class Window(Struct, frozen=True):
    """
    From the first to the last reading. If several sources contribute, each with its own readings, it is the
    mean of their first and of their last readings.
    """

    start: Instant
    end: Instant
    seconds: Amount
