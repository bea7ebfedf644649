"""Schema of `/v1/history`: sums of each step, and what follows from them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Boundary,
    CarbonKind,
    Count,
    Dimension,
    Instant,
    Next,
    Provenance,
    Ratio,
    Reasons,
    Source,
)


class HistoryItem(Struct, frozen=True, kw_only=True):
    """
    One group at one boundary: a value for each step of `times`; null where it is not known.

    Cost and carbon are only at the facility boundary, where energy is paid for.
    """

    group: dict[str, str | None]
    boundary: Boundary
    output_tokens: tuple[Count | None, ...]
    energy_joules: tuple[Amount | None, ...]
    energy_idle_joules: tuple[Amount | None, ...]
    tokens_per_joule: tuple[Amount | None, ...]
    power_watts: tuple[Amount | None, ...]
    currency: str | None
    cost: tuple[float | None, ...]
    carbon_kind: CarbonKind | None
    grams_co2e: tuple[Amount | None, ...]
    coverage_ratio: tuple[Ratio, ...]
    valid: tuple[bool, ...]
    provenance: tuple[Provenance, ...]
    reasons: Annotated[Reasons, Meta(description="Those of any step, from docs/validity.md.")]
    source: Source = "history"


class History(Struct, frozen=True, kw_only=True):
    """The history: one item for each group and boundary. `times` are the starts of the steps."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    step_seconds: Annotated[int, Meta(ge=1)]
    times: tuple[Instant, ...]
    items: tuple[HistoryItem, ...]
    next: Next = None
