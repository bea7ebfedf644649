"""Answer `/v1/history`: each group at each boundary, with a value for each step."""

from collections.abc import Iterable, Sequence

from perwatt_aggregator.answers.history.step import Step, has_places, reasons_of
from perwatt_aggregator.history.reader import GroupSums, HistoryQuery, HistorySums
from perwatt_aggregator.history.values import PLACE
from perwatt_aggregator.optional import rounded
from perwatt_aggregator.schema.common import CARBON_KINDS, PROVENANCES, Boundary, CarbonKind, Provenance
from perwatt_aggregator.schema.history import History, HistoryItem
from perwatt_aggregator.schema.instants import instant

MAX_STEPS = 12_000
"""A month at 5 minutes, or two days at the finest resolution."""
MAX_POINTS = 500_000
"""Steps times items."""
_JOULES = (PLACE["gpu_board"], PLACE["node"])


class TooManyPoints(Exception):
    """The answer would have more than MAX_POINTS values of one kind."""


def history_answer(
    found: HistorySums, query: HistoryQuery, boundaries: Sequence[Boundary], labels: Sequence[str]
) -> History:
    """One item for each group and boundary. Raises TooManyPoints."""
    places = has_places((*query.by, *query.where), labels)
    points = len(found.groups) * len(boundaries) * len(query.starts)
    if points > MAX_POINTS:
        raise TooManyPoints(f"{points} values of each kind, more than {MAX_POINTS}")
    items = (
        _item(group, boundary, query, found, places=places)
        for group in found.groups
        if places or is_someones(group)
        for boundary in boundaries
    )
    return History(
        by=query.by,
        step_seconds=query.step,
        times=tuple(instant(start).replace(".000Z", "Z") for start in query.starts),
        items=tuple(items),
    )


def is_someones(group: GroupSums) -> bool:
    """Whether a workload has anything of the group, or there are joules in it."""
    return any(label is not None for label in group.labels.values()) or any(
        one.values[place] for one in group.steps.values() for place in _JOULES
    )


def _item(
    group: GroupSums, boundary: Boundary, query: HistoryQuery, found: HistorySums, *, places: bool
) -> HistoryItem:
    steps = [
        Step(group.steps[start], boundary, query.step, found.recorded.get(start, 0), has_places=places)
        if start in group.steps
        else None
        for start in query.starts
    ]
    known = [one for one in steps if one is not None]
    is_paid = boundary == "facility"
    return HistoryItem(
        group=group.labels,
        boundary=boundary,
        output_tokens=tuple(rounded(one.output) if one else None for one in steps),
        energy_joules=tuple(one.joules if one else None for one in steps),
        energy_idle_joules=tuple(one.idle_joules if one else None for one in steps),
        tokens_per_joule=tuple(one.tokens_per_joule if one else None for one in steps),
        power_watts=tuple(one.power_watts if one else None for one in steps),
        currency=group.currency if is_paid else None,
        cost=tuple(one.value("cost") if one and is_paid and group.currency else None for one in steps),
        carbon_kind=carbon_kind(group) if is_paid else None,
        grams_co2e=tuple(one.value("grams") if one and is_paid and group.carbon else None for one in steps),
        coverage_ratio=tuple(one.coverage_ratio if one else 0.0 for one in steps),
        valid=tuple(one.is_valid if one else False for one in steps),
        provenance=_provenance(known),
        reasons=reasons_of(known),
    )


def _provenance(steps: Iterable[Step]) -> tuple[Provenance, ...]:
    found = {source for one in steps for source in one.provenance}
    return tuple(source for source in PROVENANCES if source in found)


def carbon_kind(group: GroupSums) -> CarbonKind | None:
    """The kind of carbon intensity of a group, if it has one."""
    return next((kind for kind in CARBON_KINDS if kind == group.carbon), None)
