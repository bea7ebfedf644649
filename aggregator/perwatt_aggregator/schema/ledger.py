"""Schema of `/v1/ledger`: where the joules of each group went."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Boundary,
    CarbonKind,
    Dimension,
    Next,
    Provenance,
    Ratio,
    Reasons,
    Source,
    Window,
)


class LedgerEntry(Struct, frozen=True):
    """
    A leaf of the tree, or a branch: the sum of its children, as far as it is divided.

    The leaf `waiting` may be below zero, and so may a branch that holds little else. `share_ratio` is the
    share of the item's total, `relative_uncertainty` a standard uncertainty.
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
    Where the joules of one group went, up to `boundary`; `energy_joules` is the total of the tree.

    Throttled time is that of all GPUs of the group together; its joules are in the leaves of the tree.
    Throttle reasons overlap.
    """

    group: dict[str, str | None]
    boundary: Boundary
    window: Window | None
    energy_joules: float | None
    currency: str | None
    carbon_kind: CarbonKind | None
    tree: LedgerEntry
    throttled_seconds: Annotated[dict[str, Amount], Meta(description="By throttle reason.")]
    power_capped_seconds: Amount | None
    coverage_ratio: Ratio
    largest_gap_seconds: Amount | None
    age_seconds: Amount | None
    provenance: tuple[Provenance, ...]
    valid: bool
    reasons: Reasons
    source: Source = "agents"


class Ledger(Struct, frozen=True, kw_only=True):
    """The ledger of all joules: one tree for each group."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    items: tuple[LedgerItem, ...]
    next: Next = None
