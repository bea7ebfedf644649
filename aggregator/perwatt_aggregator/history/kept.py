"""What is kept of an owner in a tick: its increments, at each boundary, with what qualifies them."""

import math
from collections.abc import Iterator

from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.history.increments import Increments, WorkIncrement
from perwatt_aggregator.history.owners import HistoryOwner
from perwatt_aggregator.history.values import NAMES, PLACE, WORK_COUNTED, Kept
from perwatt_aggregator.schema.common import BOUNDARIES
from perwatt_aggregator.validity.thresholds import MIN_COVERAGE_RATIO

_NAN = math.nan
_UNCOVERED = frozenset(("tokens_uncovered",))
_PLACES = tuple(
    tuple(PLACE[f"{name}{suffix}"] for suffix in ("", "_idle", "_unknown", "_deviation"))
    for name in BOUNDARIES
)
_COUNTS = frozenset(
    PLACE[name]
    for name in ("output", "prompt_computed", "prompt_cached", "effective_output", "ok", "aborted", "error")
)


def kept_of(
    owner: HistoryOwner,
    found: Increments,
    seconds: int,
    longest_seconds: float,
    facility: FacilityState,
    running: float | None,
) -> Iterator[tuple[str, Kept]]:
    """
    The owner's name and values, and one more for each unit of its other work.

    Increments over more than *longest_seconds* are also of earlier ticks: they are kept, but cover nothing.
    """
    values = [0.0] * len(NAMES)
    work = found.work.get(owner.key) if owner.key[0] else _rest(owner, found)
    covered = found.covered_seconds.get(owner.key[0], 0.0) if owner.key[0] else found.seconds
    if max(covered, found.seconds) > longest_seconds:
        covered = 0.0
    values[PLACE["expected"]] = owner.weight * seconds
    values[PLACE["covered"]] = owner.weight * covered * _full(owner.coverage_ratio)
    values[PLACE["covered_at_node"]] = owner.weight * covered * _full(owner.node_coverage_ratio)
    values[PLACE["readings"]] = owner.weight * found.readings
    values[PLACE["running"]] = (
        0.0 if not owner.counts_at_end else _NAN if running is None else running * seconds
    )
    flags = owner.flags
    if work is not None:
        if owner.is_measured or owner.labels.get("group"):
            for place, amount in work.counts.items():
                values[place] = amount
        elif any(work.counts.values()):
            flags |= _UNCOVERED
    for name in owner.unknown_counts:
        values[PLACE[name]] = _NAN
    _add_joules(values, owner, found, work)
    _add_bill(values, owner, found, facility)
    yield owner.name(), Kept(values, flags)
    for unit in owner.units:
        values = [0.0] * len(NAMES)
        values[PLACE["work"]] = found.units.get(owner.key[0], {}).get(unit, 0.0)
        yield owner.name(unit), Kept(values, frozenset((WORK_COUNTED,)))


def _rest(owner: HistoryOwner, found: Increments) -> WorkIncrement:
    """Joules of a GPU that belong to no workload."""
    return WorkIncrement({}, found.unattributed.get(owner.key[1], 0.0))


def _full(coverage_ratio: float) -> float:
    """A window that is covered well enough is covered: what is missing are its ends."""
    return 1.0 if coverage_ratio >= MIN_COVERAGE_RATIO else coverage_ratio


def _add_joules(
    values: list[float], owner: HistoryOwner, found: Increments, work: WorkIncrement | None
) -> None:
    joules = work.joules if work is not None else 0.0
    idle = joules - work.active_joules if work is not None else 0.0
    if owner.meter_share:
        joules, idle = found.node_joules * owner.meter_share, _NAN
    if not owner.is_measured:
        return
    for (total, resting, unknown, deviation), place in zip(_PLACES, owner.places, strict=True):
        if owner.meter_share and total == PLACE["gpu_board"]:
            continue
        own = values[total] = joules * place.ratio
        values[resting] = idle * place.ratio if owner.has_baseline else _NAN
        values[unknown] = 0.0 if owner.is_known else own
        values[deviation] = own * place.uncertainty_ratio if own else 0.0


def _add_bill(values: list[float], owner: HistoryOwner, found: Increments, facility: FacilityState) -> None:
    joules = values[PLACE["facility"]]
    price, carbon, capital = facility.price, facility.carbon, facility.capital
    values[PLACE["cost"]] = joules * price.per_joule if price is not None else _NAN
    values[PLACE["grams"]] = joules * carbon.grams_per_joule if carbon is not None else _NAN
    gpu_seconds = owner.gpu_share * found.seconds
    values[PLACE["capital"]] = gpu_seconds * capital.per_gpu_second if capital is not None else _NAN
