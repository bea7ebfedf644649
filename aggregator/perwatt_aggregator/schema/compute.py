"""Schema of `/v1/compute`: the chain from peak to useful compute."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Dimension,
    Next,
    Ratio,
    Reasons,
    Source,
    Window,
)

StepName = Literal["peak", "alive", "sm_active", "tensor_active", "model"]
LinkName = Literal["pcie", "nvlink"]
ComputeSource = Literal["table", "configured", "counter", "gauge", "engine", "simulated", "replay"]
COMPUTE_SOURCES: tuple[ComputeSource, ...] = get_args(ComputeSource)

Provenance = Annotated[
    tuple[ComputeSource, ...],
    Meta(
        description="`table`: peaks from perwatt's table; `configured`: configured peaks and sizes; "
        "`counter`, `gauge`: read from the GPUs and engines; `engine`: the engine's own count of FLOPs."
    ),
]
Share = Annotated[Amount | None, Meta(description="0 to 1; a share above 1 is not valid and has a reason.")]


class Step(Struct, frozen=True):
    """
    One step from peak to useful. Each step is a part of the one before, as far as the sources agree.

    `flops_per_second` is null if a peak is not known; then the step `peak` has the reason.
    """

    name: StepName
    flops_per_second: Amount | None
    share_of_peak_ratio: Share
    ratio_to_step_before: Annotated[Amount | None, Meta(description="Null if the step before is null.")]
    coverage_ratio: Ratio
    provenance: Provenance
    valid: bool
    reasons: Reasons


class LinkUse(Struct, frozen=True):
    """Bytes over one kind of link of all GPUs, and the share of the link rate in the busier direction."""

    name: LinkName
    transmitted_bytes_per_second: Amount | None
    received_bytes_per_second: Amount | None
    rate_bytes_per_second: Amount | None
    share_of_rate_ratio: Share
    coverage_ratio: Ratio
    provenance: Provenance
    valid: bool
    reasons: Reasons


class ComputeItem(Struct, frozen=True):
    """
    The chain of one group. Coverage, validity and reasons are those of `model_flops_utilization_ratio`: the
    models' own FLOPs as a share of the peak.
    """

    group: dict[str, str | None]
    window: Window | None
    gpus_assigned: Annotated[Amount, Meta(description="GPUs that are held, or that the launch requested.")]
    gpus_alive: Annotated[Amount | None, Meta(description="The mean number of those that answered.")]
    precisions: Annotated[tuple[str, ...], Meta(description="The precisions of the peaks.")]
    model_flops_utilization_ratio: Share
    steps: tuple[Step, ...]
    links: tuple[LinkUse, ...]
    coverage_ratio: Ratio
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    provenance: Provenance
    valid: bool
    reasons: Reasons
    source: Source = "agents"


class Compute(Struct, frozen=True, kw_only=True):
    """The chain from peak to useful compute: one item for each group."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    items: tuple[ComputeItem, ...]
    next: Next = None
