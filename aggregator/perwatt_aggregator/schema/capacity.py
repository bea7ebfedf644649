"""Schema of `/v1/capacity`: tokens now, and at a power budget."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    Boundary,
    Dimension,
    Next,
    Reasons,
    Source,
    Window,
)


class CapacityItem(Struct, frozen=True):
    """
    One group at one boundary: its output tokens now, and at a power budget at this boundary.

    `at_budget` is the budget times `tokens_per_joule`, as if all of it were for this group. Null without a
    budget, and where a figure is not known.
    """

    group: dict[str, str | None]
    boundary: Boundary
    window: Window | None
    output_tokens_per_second: Amount | None
    per_day: Annotated[Amount | None, Meta(description="Output tokens of a day at the rate of now.")]
    tokens_per_joule: Amount | None
    power_watts: Amount | None
    max_power_watts: Annotated[
        Amount | None,
        Meta(description="At the power limits of its GPUs, by the same ratio to board power as now."),
    ]
    at_budget: Annotated[Amount | None, Meta(description="Output tokens per second at the budget.")]
    bound_by: Annotated[
        Literal["power", "gpus"] | None,
        Meta(
            description="`power`: its GPUs could use more than the budget. `gpus`: they cannot use it at "
            "their power limits, so `at_budget` needs more of them."
        ),
    ]
    headroom_kw: Annotated[float | None, Meta(description="The budget less the power of now.")]
    valid: bool
    reasons: Reasons
    source: Source = "agents"


class Capacity(Struct, frozen=True, kw_only=True):
    """Capacity: one item for each group and boundary. `kw` is the budget that was asked for."""

    schema_version: Literal[1] = SCHEMA_VERSION
    by: tuple[Dimension, ...]
    kw: Amount | None
    items: tuple[CapacityItem, ...]
    next: Next = None
