"""What `/v1/compute` answers, as frozen structs."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import SCHEMA_VERSION, Amount, Ratio, Reasons, Window

ComputeDimension = Literal["node", "model", "workload"]
COMPUTE_DIMENSIONS: tuple[ComputeDimension, ...] = get_args(ComputeDimension)
StepName = Literal["peak", "alive", "sm_active", "tensor_active", "model"]
LinkName = Literal["pcie", "nvlink"]
ComputeSource = Literal["table", "configured", "counter", "gauge", "engine", "simulated", "replay"]
COMPUTE_SOURCES: tuple[ComputeSource, ...] = get_args(ComputeSource)

Provenance = Annotated[
    tuple[ComputeSource, ...],
    Meta(
        description="`table`: peaks that perwatt knows; `configured`: peaks and sizes that are stated; "
        "`counter`, `gauge`: read off the GPUs and engines; `engine`: the engine's own count of FLOPs."
    ),
]
Share = Annotated[Amount | None, Meta(description="0 to 1; above 1 it is not valid, and says so.")]


class Step(Struct, frozen=True):
    """
    One step from peak to useful. Each is a part of the one before, as far as the sources agree.

    `flops_per_second` is null where a peak is not known, which the step `peak` says.
    """

    name: StepName
    flops_per_second: Amount | None
    share_of_peak_ratio: Share
    ratio_to_step_before: Annotated[Amount | None, Meta(description="Null where the step before is null.")]
    coverage_ratio: Ratio
    provenance: Provenance
    valid: bool
    reasons: Reasons


class LinkUse(Struct, frozen=True):
    """Bytes over one kind of link of all GPUs, and the busier way's share of what they carry each way."""

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
    How much of the compute of one group worked together. Coverage, verdict and reasons are those of
    `model_flops_utilization_ratio`, the share of the peak that the models' own FLOPs are.
    """

    group: dict[str, str | None]
    window: Window | None
    gpus_assigned: Annotated[Amount, Meta(description="GPUs that are held, or that the launch asked for.")]
    gpus_alive: Annotated[Amount | None, Meta(description="Of those, as a mean over the window.")]
    precisions: Annotated[tuple[str, ...], Meta(description="Those whose peaks are taken.")]
    model_flops_utilization_ratio: Share
    steps: tuple[Step, ...]
    links: tuple[LinkUse, ...]
    coverage_ratio: Ratio
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    provenance: Provenance
    valid: bool
    reasons: Reasons


class Compute(Struct, frozen=True, kw_only=True):
    """How much of what was bought works together: one item for each group."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[ComputeDimension, ...]
    items: tuple[ComputeItem, ...]
