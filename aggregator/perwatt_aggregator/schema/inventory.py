"""Schema of the inventory answers: nodes, GPUs, workloads."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Count,
    Instant,
    Next,
    Provenance,
    Ratio,
    Reasons,
    Source,
    Window,
)
from perwatt_aggregator.schema.efficiency import Requests, Tokens


class NodeItem(Struct, frozen=True):
    """One agent: whether it is up, why not, and its newest readings."""

    node: str
    url: str
    labels: Annotated[dict[str, str], Meta(description="Of its target.")]
    up: bool
    failure: Annotated[str | None, Meta(description="Why the latest scrape failed.")]
    duplicate_of: Annotated[
        str | None,
        Meta(
            description="A node before it with the same agent or GPU; then this one is left out of all sums."
        ),
    ]
    simulated: bool
    backend: str | None
    backend_up: bool | None
    last_success: Instant | None
    age_seconds: Amount | None
    scrape_seconds: Amount | None
    window: Window | None
    largest_gap_seconds: Amount | None
    gpus: dict[str, Count]
    workloads: Count
    gpu_power_watts: Amount | None
    gpu_energy_joules: Amount | None
    node_power_watts: Amount | None
    node_energy_joules: Amount | None
    facility: str
    source: Source = "agents"


class SourceItem(Struct, frozen=True):
    """
    One source of targets, by its place in the configuration. While it fails, its last good list stays;
    `known` is false until it was read once.
    """

    setting: str
    up: Annotated[bool | None, Meta(description="Null before the first read.")]
    known: bool
    failure: Annotated[str | None, Meta(description="Why the latest read failed.")]
    targets: Count
    last_success: Instant | None


class Nodes(Struct, frozen=True, kw_only=True):
    """Every agent that is configured or discovered, and the sources that discover them."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[NodeItem, ...]
    next: Next = None
    sources: tuple[SourceItem, ...] = ()


class GpuItem(Struct, frozen=True):
    """One GPU: its latest reading, and its energy in the window."""

    gpu: str
    index: Count | None
    name: str
    node: str
    state: Literal["ok", "lost", "hung", "error", "unknown"]
    power_watts: Amount | None
    utilization_ratio: Ratio | None
    memory_used_bytes: Count | None
    memory_total_bytes: Count | None
    window: Window | None
    energy_joules: Amount | None
    unattributed_joules: Amount | None
    provenance: tuple[Provenance, ...]
    workloads: tuple[str, ...]
    age_seconds: Amount
    source: Source = "agents"


class Gpus(Struct, frozen=True, kw_only=True):
    """Every GPU on the agents' newest pages."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[GpuItem, ...]
    next: Next = None


class WorkloadItem(Struct, frozen=True):
    """One workload on one node: its work, and its board joules by state."""

    workload: str
    node: str
    model: str | None
    engine: str | None
    group: str | None
    role: str | None
    up: bool
    gpus: tuple[str, ...]
    window: Window | None
    covered_seconds: Amount
    tokens: Tokens
    requests: Requests
    work: dict[str, Amount]
    output_tokens_per_second: Amount | None
    energy_active_joules: Amount | None
    energy_idle_joules: Amount | None
    energy_loading_joules: Amount | None
    power_watts: Amount | None
    provenance: tuple[Provenance, ...]
    age_seconds: Amount
    reasons: Reasons
    namespace: str | None = None
    pod: str | None = None
    slurm_job: str | None = None
    systemd_unit: str | None = None
    source: Source = "agents"


class Workloads(Struct, frozen=True, kw_only=True):
    """Every workload on the agents' newest pages."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[WorkloadItem, ...]
    next: Next = None
