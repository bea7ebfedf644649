"""
Which PUE is in use, and why not the one that was asked for.

A live one is a sum of facility joules over a sum of IT joules of the same time, never a mean of ratios.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from perwatt_aggregator.facility.config import DAY_SECONDS, MIN_PERIOD_SECONDS, PueConfig
from perwatt_aggregator.facility.history import Measured
from perwatt_aggregator.facility.state import PueInUse
from perwatt_aggregator.schema.common import PueKind

MIN_COVERAGE_RATIO = 0.95
MAX_RATIO = 10.0
"""No building takes ten times what is in it: a unit or a factor is wrong."""
MAX_AGE_SECONDS = 2 * 365 * DAY_SECONDS
"""A PUE that was measured longer ago says nothing of today."""
STALE_PERIOD_RATIO = 1 / 24
"""A live PUE of a day is stale when its newest joule is an hour old."""

_UNCERTAINTY_RATIOS: dict[PueKind, float] = {
    "static": 0.05,
    "interim": 0.05,
    "category": 0.05,
    "live": 0.02,
}


class Decision(NamedTuple):
    """The PUE in use, None where there is none, and why it is not what was asked for."""

    pue: PueInUse | None
    reasons: tuple[str, ...]


def pue_in_use(config: PueConfig | None, measured: Measured | None, now_unix: float) -> Decision:
    """Decide between what was measured and what was stated."""
    if config is None:
        return Decision(None, ("no_pue",))
    if config.kind == "live":
        return _live(config, measured)
    return _stated(config, now_unix)


def _stated(config: PueConfig, now_unix: float) -> Decision:
    """What the operator states; what was measured too long ago is no better than assumed."""
    if config.measured_until is None:
        return Decision(_assumed(config, config.kind), ())
    age_seconds = max(0.0, now_unix - config.measured_until)
    if age_seconds > MAX_AGE_SECONDS:
        return Decision(_assumed(config, "static"), ("pue_stale",))
    pue = _assumed(config, config.kind)
    return Decision(replace(pue, age_seconds=age_seconds) if pue else None, ())


def _live(config: PueConfig, measured: Measured | None) -> Decision:
    refused = tuple(_refusals(config, measured))
    if refused or measured is None:
        pue = _assumed(config, "static")
        return Decision(pue, refused if pue else (*refused, "no_pue"))
    return Decision(
        PueInUse(
            measured.facility_joules / measured.it_joules,
            "live",
            config.category,
            measured.seconds,
            measured.age_seconds,
            _uncertainty_ratio(config, "live"),
        ),
        (),
    )


def _refusals(config: PueConfig, measured: Measured | None) -> Iterator[str]:
    """Why what was measured is no PUE."""
    if measured is None or measured.seconds < MIN_PERIOD_SECONDS:
        yield "pue_period_short"
    if measured is None:
        return
    if measured.age_seconds > max(MIN_PERIOD_SECONDS, STALE_PERIOD_RATIO * config.period):
        yield "pue_stale"
    if measured.seconds < MIN_COVERAGE_RATIO * measured.span_seconds:
        yield "pue_coverage_low"
    if measured.seconds and measured.facility_joules < measured.it_joules:
        yield "pue_below_one"
    if measured.seconds and measured.facility_joules >= MAX_RATIO * measured.it_joules:
        yield "pue_implausible"


def _assumed(config: PueConfig, kind: PueKind) -> PueInUse | None:
    """The stated ratio, if there is one."""
    if config.ratio is None:
        return None
    category = config.category if kind == config.kind else None
    return PueInUse(config.ratio, kind, category, uncertainty_ratio=_uncertainty_ratio(config, kind))


def _uncertainty_ratio(config: PueConfig, kind: PueKind) -> float:
    return _UNCERTAINTY_RATIOS[kind] if config.uncertainty is None else config.uncertainty
