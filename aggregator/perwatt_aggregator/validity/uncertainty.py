"""
Uncertainty: relative standard uncertainties of meters, windows, alignment and PUE.

u^2 = u_meter^2 + u_window^2 + u_align^2 + u_PUE^2: the four are independent of each other. The errors of
meters of one class are correlated, so that a sum over nodes is no more certain than its parts.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Struct, field

from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import number
from perwatt_agent.meters.catalog import METERS


class MeterClass(Struct, frozen=True):
    """The uncertainty of meters of one source, and its basis."""

    source: str
    ratio: float
    basis: str


TABLE: tuple[MeterClass, ...] = (
    MeterClass("counter", 0.05, "the driver's energy counter; NVML documents 5 %"),
    MeterClass("integrated", 0.05, "the driver's power, integrated: the same sensor"),
    MeterClass("module", 0.05, "the power of a module of GPU and CPU"),
    *(MeterClass(kind.name, kind.uncertainty_ratio, kind.uncertainty_basis) for kind in METERS),
    MeterClass("node_overhead", 0.2, "no meter: board joules times the configured ratio"),
    MeterClass(
        "shared", 0.1, "a shared meter: its division by board joules, in addition to the meter itself"
    ),
)
DEFAULTS: Mapping[str, float] = {one.source: one.ratio for one in TABLE}
OTHER_RATIO = 0.05
"""The assumed uncertainty of a meter of any other source."""
COUNTER_REFRESH_SECONDS = 0.1
"""The time between two updates of a driver's energy counter."""
SWEEP_SECONDS = 1.0
"""The collection cycle of an agent, which is the finest resolution in time."""


class UncertaintyConfig(Struct, frozen=True):
    """Uncertainties of meters that are known better than by their class."""

    meters: Annotated[
        dict[str, float],
        Key("relative standard uncertainty of meters by their `source`", number(0.0, 1.0), "uncertainty"),
    ] = field(default_factory=dict)

    def of(self, sources: Iterable[str]) -> float | None:
        """The largest of *sources*; None if there are none, or one of them is simulated."""
        named = set(sources).difference(("replay",))
        if not named or "simulated" in named:
            return None
        return max(self.meters.get(source, DEFAULTS.get(source, OTHER_RATIO)) for source in named)


def combined(*ratios: float | None) -> float | None:
    """Independent uncertainties combined; None if one of them is not known."""
    known = [ratio for ratio in ratios if ratio is not None]
    return math.hypot(*known) if len(known) == len(ratios) else None


def of_window(seconds: float, refresh_seconds: float, coverage_ratio: float) -> float:
    """
    The uncertainty of a window's ends and gaps.

    Each end may be half a refresh earlier or later: both together are T / sqrt(6), for T seconds between
    refreshes. The energy of the time that is not covered may be anything from nothing to twice its mean.
    """
    ends = refresh_seconds / (math.sqrt(6.0) * seconds) if seconds > 0.0 else 1.0
    return math.hypot(ends, (1.0 - coverage_ratio) / math.sqrt(3.0))


def of_alignment(seconds: float, phase_seconds: float) -> float:
    """The uncertainty because tokens and joules are read up to *phase_seconds* apart."""
    return phase_seconds / (math.sqrt(3.0) * seconds) if seconds > 0.0 else 1.0


def of_restart(seconds: float, lost_seconds: float) -> float:
    """The uncertainty because an engine's tokens of up to *lost_seconds* before its restart are lost."""
    return lost_seconds / (math.sqrt(3.0) * seconds) if seconds > 0.0 else 0.0


def of_late(ratio: float) -> float:
    """The uncertainty because a share of the joules or tokens, *ratio*, is from before the window."""
    return ratio / math.sqrt(3.0)


def of_sum(terms: Iterable[tuple[float, float | None]]) -> float | None:
    """
    The uncertainty of a sum of (amount, relative uncertainty) with correlated errors.

    None if the uncertainty of a term is not known; terms of zero do not count.
    """
    total = error = 0.0
    for amount, ratio in terms:
        if not amount:
            continue
        if ratio is None:
            return None
        total += abs(amount)
        error += abs(amount) * ratio
    return error / total if total else None


def of_difference(
    whole: float, whole_ratio: float | None, part: float, part_ratio: float | None
) -> float | None:
    """The uncertainty of a whole less a part of it, if both are measured independently."""
    left = whole - part
    if whole_ratio is None or part_ratio is None or left <= 0.0:
        return None
    return math.hypot(whole * whole_ratio, part * part_ratio) / left
