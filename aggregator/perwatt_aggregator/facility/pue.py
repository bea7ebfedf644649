"""
PUE in use: the measured or the stated one, and why it is not the configured kind.

A live PUE is a sum of facility joules over a sum of IT joules of the same time, never a mean of ratios.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from perwatt_aggregator.facility.config import MIN_PERIOD_SECONDS, PueConfig
from perwatt_aggregator.facility.history import MeasuredEnergies
from perwatt_aggregator.facility.state import PueInUse
from perwatt_aggregator.schema.common import PueKind
from perwatt_aggregator.validity.thresholds import (
    MAX_PUE_AGE_SECONDS,
    MAX_PUE_RATIO,
    MIN_COVERAGE_RATIO,
    STALE_PUE_PERIOD_RATIO,
)

_UNCERTAINTY_RATIOS: dict[PueKind, float] = {
    "static": 0.05,
    "interim": 0.05,
    "category": 0.05,
    "live": 0.02,
}


class Decision(NamedTuple):
    """The PUE in use, None if there is none, and why it is not the configured kind."""

    pue: PueInUse | None
    reasons: tuple[str, ...]


def pue_in_use(config: PueConfig | None, measured: MeasuredEnergies | None, now_unix: float) -> Decision:
    """Choose between the measured and the stated PUE."""
    if config is None:
        return Decision(None, ("no_pue",))
    if config.kind == "live":
        return _live(config, measured)
    return _stated(config, now_unix)


def _stated(config: PueConfig, now_unix: float) -> Decision:
    """The stated PUE; if it was measured too long ago, it counts as assumed."""
    if config.measured_until is None:
        return Decision(_assumed(config, config.kind), ())
    age_seconds = max(0.0, now_unix - config.measured_until)
    if age_seconds > MAX_PUE_AGE_SECONDS:
        return Decision(_assumed(config, "static"), ("pue_stale",))
    pue = _assumed(config, config.kind)
    return Decision(replace(pue, age_seconds=age_seconds) if pue else None, ())


def _live(config: PueConfig, measured: MeasuredEnergies | None) -> Decision:
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


def _refusals(config: PueConfig, measured: MeasuredEnergies | None) -> Iterator[str]:
    """Why the measured energies are not used as a PUE."""
    if measured is None or measured.seconds < MIN_PERIOD_SECONDS:
        yield "pue_period_short"
    if measured is None:
        return
    if measured.age_seconds > max(MIN_PERIOD_SECONDS, STALE_PUE_PERIOD_RATIO * config.period):
        yield "pue_stale"
    if measured.seconds < MIN_COVERAGE_RATIO * measured.span_seconds:
        yield "pue_coverage_low"
    if measured.seconds and measured.facility_joules < measured.it_joules:
        yield "pue_below_one"
    if measured.seconds and measured.facility_joules >= MAX_PUE_RATIO * measured.it_joules:
        yield "pue_implausible"


def _assumed(config: PueConfig, kind: PueKind) -> PueInUse | None:
    """The stated ratio; None if there is none."""
    if config.ratio is None:
        return None
    category = config.category if kind == config.kind else None
    return PueInUse(config.ratio, kind, category, uncertainty_ratio=_uncertainty_ratio(config, kind))


def _uncertainty_ratio(config: PueConfig, kind: PueKind) -> float:
    return _UNCERTAINTY_RATIOS[kind] if config.uncertainty is None else config.uncertainty
