"""Capacity answer: output tokens now and at a power budget, and whether power or GPUs bind."""

from collections.abc import Iterable, Sequence

from perwatt_aggregator.answers.efficiency import group_items
from perwatt_aggregator.fleet.groups import EVERYTHING, Fleet, Group, Where
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import complete_total, difference, product
from perwatt_aggregator.schema.capacity import CapacityItem
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary, Dimension
from perwatt_aggregator.schema.efficiency import EfficiencyItem

SECONDS_PER_DAY = 86400.0
WATTS_PER_KW = 1000.0


def capacity(
    views: Iterable[NodeView],
    by: Sequence[Dimension],
    kw: float | None,
    where: Where = EVERYTHING,
    *,
    is_whole: bool = True,
) -> tuple[CapacityItem, ...]:
    """One item for each group and boundary; *kw* is the budget at each boundary. Raises TooManyGroups."""
    fleet = Fleet(views, by, where, is_whole=is_whole)
    return tuple(
        _item(item, max_watts(group, fleet, item.boundary), kw)
        for group, item in group_items(fleet, BOUNDARIES)
    )


def _item(item: EfficiencyItem, limit_watts: float | None, kw: float | None) -> CapacityItem:
    budget_watts = product(kw, WATTS_PER_KW)
    binds = None if budget_watts is None or limit_watts is None else limit_watts >= budget_watts
    return CapacityItem(
        group=item.group,
        boundary=item.boundary,
        window=item.window,
        output_tokens_per_second=item.output_tokens_per_second,
        per_day=product(item.output_tokens_per_second, SECONDS_PER_DAY),
        tokens_per_joule=item.tokens_per_joule,
        power_watts=item.power_watts,
        max_power_watts=limit_watts,
        at_budget=product(budget_watts, item.tokens_per_joule),
        bound_by=None if binds is None else "power" if binds else "gpus",
        headroom_kw=product(difference(budget_watts, item.power_watts), 1.0 / WATTS_PER_KW),
        valid=item.valid,
        reasons=item.reasons,
        source=item.source,
    )


def max_watts(group: Group, fleet: Fleet, boundary: Boundary) -> float | None:
    """
    The power of the group's GPUs at their limits, at *boundary*; None if a limit is not known.

    A GPU that several workloads hold counts for each of them in part, as its time does. Beyond the boards,
    the ratio to board power is assumed to stay what it is now.
    """
    watts: list[float | None] = []
    for part in group.parts:
        view = fleet.views[part.owner.node]
        if view.parts is None or part.gpus.missing:
            return None
        seconds = view.parts.end_unix - view.parts.start_unix
        gpus = part.gpus.seconds / seconds if seconds else 0.0
        if not gpus:
            continue
        limits = [view.parts.activity[gpu].power_limit_watts for gpu in part.gpus.uuids]
        limit = complete_total(limits)
        mean = None if limit is None else limit / len(limits)
        watts.append(product(product(mean, gpus), view.ratio_at(boundary)))
    return complete_total(watts)
