"""Schema of `/v1/efficiency`: tokens, joules, money and carbon of one group at one boundary."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Boundary,
    CarbonKind,
    Count,
    Dimension,
    Next,
    Provenance,
    PueKind,
    Ratio,
    Reasons,
    Source,
    Window,
)


class Wasted(Struct, frozen=True):
    """
    Wasted tokens: computed but not delivered, by cause. Tokens of aborted and failed requests are part of
    the output; recomputed tokens and rejected drafts are not. Null if not every engine reports it.
    """

    aborted: Count | None = None
    error: Count | None = None
    recomputed: Count | None = None
    draft_rejected: Count | None = None


class Tokens(Struct, frozen=True):
    """Tokens of the window by kind; null if not every engine reports it."""

    output: Count | None
    prompt_computed: Count | None
    prompt_cached: Count | None
    effective_output: Count | None
    wasted: Wasted = Wasted()


class LatencyBounds(Struct, frozen=True):
    """
    An objective, and the bounds of an engine's buckets next to it: 0 if there is none below, null if there
    is none above. If the objective is a bound itself, the three are the same.
    """

    objective_seconds: Amount
    lower_seconds: Amount
    upper_seconds: Amount | None


class LatencyMet(Struct, frozen=True):
    """Between `at_least` and `at_most` of the `requests` met their objective."""

    requests: Count
    at_least: Count
    at_most: Count
    bounds: Annotated[tuple[LatencyBounds, ...], Meta(description="One for each objective and engine.")]


class Slo(Struct, frozen=True):
    """
    Requests that met all objectives of their model, as an interval. `requests` are those that ended; if there
    is only an objective for the time to first token, those that had their first token. Two histograms do not
    show whether the same requests met both objectives. Null if an engine has no histogram for it.
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
    The useful unit of the work: `output_tokens`; `prompt_tokens` if there is no output, as in embedding and
    reranking; or the unit of the jobs. Null if the jobs have several units.
    """

    unit: str | None
    per_joule: Amount | None


class Requests(Struct, frozen=True):
    """Requests that ended in the window by outcome; null if not every engine reports it."""

    ok: Count | None
    aborted: Count | None
    error: Count | None


class Pue(Struct, frozen=True):
    """The PUE in use: facility joules per joule at the nodes. It has an age only if it was measured."""

    ratio: Annotated[float, Meta(ge=1)]
    kind: PueKind
    age_seconds: Amount | None


class Charge(Struct, frozen=True):
    """
    An amount of money, per million output tokens, and per successful request.

    All are below zero if the price is.
    """

    amount: float
    per_million_output_tokens: float | None
    per_request: float | None


class Cost(Struct, frozen=True):
    """
    Cost of the window's energy at the facility's meter. `capital` is the capital cost of its GPUs over the
    same time, `total` is the sum; both are null if the capital cost is not configured.
    """

    currency: str
    amount: float
    per_million_output_tokens: float | None
    per_request: float | None
    capital: Charge | None
    total: Charge | None


class Carbon(Struct, frozen=True):
    """Emissions of the window's energy; `kind` is that of the carbon intensity."""

    grams_co2e: Amount
    kind: CarbonKind
    per_million_output_tokens: Amount | None
    per_request: Amount | None


class EfficiencyItem(Struct, frozen=True):
    """
    One group at one boundary: work over energy of the same window, with what qualifies it.

    `energy_joules` are all joules, `energy_idle_joules` those while no workload served (idle, loading, held
    by nobody). Cost and carbon are only at the facility boundary, where energy is paid for.
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
    slo: Annotated[Slo | None, Meta(description="Null if none of the models has an objective.")]
    work_per_joule: Annotated[dict[str, Amount], Meta(description="By unit; units are never added.")]
    pue: Pue | None
    cost: Cost | None
    carbon: Carbon | None
    coverage_ratio: Ratio
    explained_ratio: Ratio | None
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    relative_uncertainty: Annotated[
        Amount | None, Meta(description="Standard uncertainty of the energy, and of each ratio over it.")
    ]
    provenance: tuple[Provenance, ...]
    valid: bool
    reasons: Reasons
    unmeasured_gpus: Annotated[
        tuple[str, ...],
        Meta(
            description="UUIDs of its GPUs that have neither power nor energy; only a node meter has their "
            "joules."
        ),
    ] = ()
    first_figure_seconds: Annotated[
        Amount | None,
        Meta(
            description="Expected time until the first valid figure, while the first window fills and "
            "nothing else makes the figure invalid; null otherwise."
        ),
    ] = None
    source: Source = "agents"


class Efficiency(Struct, frozen=True, kw_only=True):
    """Tokens per joule: one item for each group and boundary."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    items: tuple[EfficiencyItem, ...]
    next: Next = None
