"""Quantities: units of power and energy, plausible bounds, and times with their zone."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from perwatt_agent.meters.meter import MeterFailure

MeterUnit = Literal["watts", "kilowatts", "joules", "watt_hours", "kilowatt_hours"]

MAX_WATTS = 1e9
"""More than any data center draws: above it, a unit or a factor is wrong."""

MAX_JOULES = MAX_WATTS * 100 * 365.25 * 86_400
"""What that power would count in a century."""

SENTINELS = frozenset({2.0**31 - 1, 2.0**32 - 1, 2.0**63 - 1, 2.0**64 - 1})
POWER_SENTINELS = SENTINELS | {2.0**15 - 1, 2.0**16 - 1}
"""
Values with all bits set: what a device shows in place of a value that it does not have.

A counter may stand at one of the small ones for an hour, so they stand for nothing in a power only.
"""

_MAX_SHOWN = 40  # characters of a foreign text in a log


class Unit(Struct, frozen=True):
    """Unit of power, or of energy for a counter."""

    base_units: float
    is_energy: bool = False


UNITS: Mapping[MeterUnit, Unit] = {
    "watts": Unit(1.0),
    "kilowatts": Unit(1e3),
    "joules": Unit(1.0, is_energy=True),
    "watt_hours": Unit(3600.0, is_energy=True),
    "kilowatt_hours": Unit(3.6e6, is_energy=True),
}


def number(value: object) -> float:
    """Return a number, or a text as a number. Raises MeterFailure for anything else."""
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise MeterFailure("malformed", f"expected a number, not {shown(value)}")


def unix_seconds(text: str) -> float:
    """
    Return the Unix seconds of a text, which has Unix seconds or ISO 8601 with a zone.

    Raises MeterFailure; a local time without a zone is ambiguous.
    """
    try:
        # Python 3.10 does not read `Z`.
        instant = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
    except ValueError:
        seconds = number(text)
        if not math.isfinite(seconds):
            raise MeterFailure("malformed", f"{shown(text)} is not a time") from None
        return seconds
    if instant.tzinfo is None:
        raise MeterFailure("malformed", f"the time {shown(text)} has no zone, such as +02:00")
    return instant.timestamp()


def shown(value: object) -> str:
    """Return a short printable form of a foreign value."""
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def measured(value: float, *, is_counter: bool = False) -> float:
    """Return the *value* that a device shows. Raises MeterFailure if it stands for "no value"."""
    if value in (SENTINELS if is_counter else POWER_SENTINELS):
        raise MeterFailure(
            "implausible", f"{value:.0f} stands for a value that the device does not have, not for a reading"
        )
    return value


def plausible_watts(watts: float) -> float:
    """Return *watts*. Raises MeterFailure if no meter can have measured it."""
    if not 0.0 <= watts <= MAX_WATTS:
        raise MeterFailure("implausible", f"{watts:g} W is not plausible; check `unit` and `factor`")
    return watts


def plausible_joules(joules: float) -> float:
    """Return *joules*. Raises MeterFailure if no counter can have counted it."""
    if not 0.0 <= joules <= MAX_JOULES:
        raise MeterFailure(
            "implausible", f"a counter at {joules:g} J is not plausible; check `unit` and `factor`"
        )
    return joules
