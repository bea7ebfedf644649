"""What `/v1/ledger` answers, as frozen structs."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Boundary,
    CarbonKind,
    LedgerDimension,
    Provenance,
    Ratio,
    Reasons,
    Window,
)


class LedgerEntry(Struct, frozen=True):
    """
    A leaf of the tree, or a branch: the sum of its children, as far as they are told apart.

    What waits may be below zero, and so may be a branch that holds little else. `share_ratio` is the
    share of the item's whole, `relative_uncertainty` a standard uncertainty.
    """

    name: str
    energy_joules: float | None
    share_ratio: float | None
    cost: Annotated[float | None, Meta(description="In the item's `currency`.")]
    grams_co2e: float | None
    relative_uncertainty: Amount | None
    provenance: tuple[Provenance, ...]
    valid: bool
    reasons: Reasons
    children: tuple["LedgerEntry", ...]


class LedgerItem(Struct, frozen=True):
    """
    Where the joules of one group went. `boundary` is how far the tree reaches, `energy_joules` its whole.

    Throttled time is that of all GPUs of the group together, and stands beside the tree: it took joules
    of its leaves. Reasons to throttle overlap.
    """

    group: dict[str, str | None]
    boundary: Boundary
    window: Window | None
    energy_joules: float | None
    currency: str | None
    carbon_kind: CarbonKind | None
    tree: LedgerEntry
    throttled_seconds: Annotated[dict[str, Amount], Meta(description="By reason.")]
    power_capped_seconds: Amount | None
    coverage_ratio: Ratio
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    provenance: tuple[Provenance, ...]
    valid: bool
    reasons: Reasons


class Ledger(Struct, frozen=True, kw_only=True):
    """Where every joule went: one tree for each group."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[LedgerDimension, ...]
    items: tuple[LedgerItem, ...]
