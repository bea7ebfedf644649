"""The answers of the API, as frozen structs: their JSON and its schema are both made from these."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from perwatt_aggregator.boundary import Boundary
from perwatt_aggregator.facility.state import CarbonKind, PueKind

SCHEMA_VERSION: Literal[1] = 1

Dimension = Literal["model", "engine", "node", "gpu", "workload", "group"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
LedgerDimension = Literal["facility", "node", "model", "workload"]
LEDGER_DIMENSIONS: tuple[LedgerDimension, ...] = get_args(LedgerDimension)
AnyDimension = Dimension | LedgerDimension
Provenance = Literal["counter", "estimated", "integrated", "module", "replay", "simulated"]
PROVENANCES: tuple[Provenance, ...] = get_args(Provenance)

Instant = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Reasons = Annotated[tuple[str, ...], Meta(description="All that apply, from docs/validity.md.")]


class Window(Struct, frozen=True):
    """
    From the first to the last reading that counted. Where several sources contribute, each with its
    own readings, the mean of their first and of their last ones.
    """

    start: Instant
    end: Instant
    seconds: Amount


class Wasted(Struct, frozen=True):
    """
    Tokens that took work and that nobody got. Those of aborted and failed requests are part of the
    output, recomputed ones and rejected drafts are not. Null is what not every engine tells.
    """

    aborted: Count | None = None
    error: Count | None = None
    recomputed: Count | None = None
    draft_rejected: Count | None = None


class Tokens(Struct, frozen=True):
    """Tokens of the window by kind; null is what not every engine tells."""

    output: Count | None
    prompt_computed: Count | None
    prompt_cached: Count | None
    effective_output: Count | None
    wasted: Wasted = Wasted()


class LatencyBounds(Struct, frozen=True):
    """
    An objective, and the bounds of an engine's buckets next to it: 0 where it has none below, null where
    it has none above. Where the objective is a bound itself, the three are the same.
    """

    objective_seconds: Amount
    lower_seconds: Amount
    upper_seconds: Amount | None


class LatencyMet(Struct, frozen=True):
    """Of so many requests, between `at_least` and `at_most` met their objective."""

    requests: Count
    at_least: Count
    at_most: Count
    bounds: Annotated[tuple[LatencyBounds, ...], Meta(description="One for each objective and engine.")]


class Slo(Struct, frozen=True):
    """
    Requests that met all objectives of their model, as an interval: `requests` are those that ended,
    or, where only the time to first token is asked for, those that had it. Two histograms do not tell
    whether the same requests met both. Null is what an engine has no histogram for.
    """

    requests: Count | None
    at_least: Count | None
    at_most: Count | None
    share_at_least: Ratio | None
    share_at_most: Ratio | None
    time_to_first_token: LatencyMet | None
    time_per_output_token: LatencyMet | None


class Headline(Struct, frozen=True):
    """
    The useful unit of the work: `output_tokens`, `prompt_tokens` where no output is made, as in embedding
    and reranking, or the one unit that jobs count in; null where they count in several.
    """

    unit: str | None
    per_joule: Amount | None


class Requests(Struct, frozen=True):
    """Requests that ended in the window by outcome; null is what not every engine tells."""

    ok: Count | None
    aborted: Count | None
    error: Count | None


class Pue(Struct, frozen=True):
    """The PUE in use: facility joules per joule at the nodes. One that was not measured has no age."""

    ratio: Annotated[float, Meta(ge=1)]
    kind: PueKind
    age_seconds: Amount | None


class Charge(Struct, frozen=True):
    """
    An amount of money, and its share for a million output tokens and for a request that ended well.

    All are below zero where the price is.
    """

    amount: float
    per_million_output_tokens: float | None
    per_request: float | None


class Cost(Struct, frozen=True):
    """
    What the window's energy costs at the facility's meter; `capital` is what its GPUs cost over the
    same time, and `total` both. Those two are null where the capital is not configured.
    """

    currency: str
    amount: float
    per_million_output_tokens: float | None
    per_request: float | None
    capital: Charge | None
    total: Charge | None


class Carbon(Struct, frozen=True):
    """What the window's energy emits; kind says by which carbon intensity."""

    grams_co2e: Amount
    kind: CarbonKind
    per_million_output_tokens: Amount | None
    per_request: Amount | None


class EfficiencyItem(Struct, frozen=True):
    """
    One group at one boundary: work over energy of the same window, with all that qualifies it.

    `energy_joules` holds all joules, `energy_idle_joules` those in which no workload served (idle,
    loading, held by nobody). Cost and carbon stand at the facility alone, where energy is paid for.
    """

    group: dict[str, str | None]
    boundary: Boundary
    window: Window | None
    tokens: Tokens
    requests: Requests
    work: dict[str, Amount]
    energy_joules: Amount | None
    energy_idle_joules: Amount | None
    power_watts: Amount | None
    output_tokens_per_second: Amount | None
    tokens_per_joule: Amount | None
    joules_per_token: Amount | None
    effective_tokens_per_joule: Amount | None
    tokens_per_joule_active: Amount | None
    watt_hours_per_million_tokens: Amount | None
    joules_per_request: Amount | None
    watt_hours_per_request: Amount | None
    headline: Headline
    slo: Annotated[Slo | None, Meta(description="Null where no objective is set for any of the models.")]
    work_per_joule: Annotated[dict[str, Amount], Meta(description="By unit; units never add.")]
    pue: Pue | None
    cost: Cost | None
    carbon: Carbon | None
    coverage_ratio: Ratio
    explained_ratio: Ratio | None
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    relative_uncertainty: Annotated[
        Amount | None, Meta(description="Standard uncertainty of the energy, and so of each ratio over it.")
    ]
    provenance: tuple[Provenance, ...]
    valid: bool
    reasons: Reasons


class Efficiency(Struct, frozen=True, kw_only=True):
    """How many tokens a joule bought: one item for each group and boundary."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    items: tuple[EfficiencyItem, ...]


class NodeItem(Struct, frozen=True):
    """One configured agent: whether it answers, why not, and what it last showed."""

    node: str
    url: str
    up: bool
    failure: Annotated[str | None, Meta(description="Why the latest scrape failed.")]
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


class Nodes(Struct, frozen=True, kw_only=True):
    """Every configured agent."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[NodeItem, ...]


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


class Gpus(Struct, frozen=True, kw_only=True):
    """Every GPU that an agent has shown."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[GpuItem, ...]


class WorkloadItem(Struct, frozen=True):
    """One workload on one node: its work, and its board joules by what it was doing."""

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


class Workloads(Struct, frozen=True, kw_only=True):
    """Every workload that an agent has shown."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[WorkloadItem, ...]


class FieldProblem(Struct, frozen=True):
    """One parameter, and what is wrong with it."""

    parameter: str
    detail: str


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong, as RFC 9457 says it."""

    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    type: str = "about:blank"
    errors: tuple[FieldProblem, ...] = ()
