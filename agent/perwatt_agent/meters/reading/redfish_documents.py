"""Power in documents of the Redfish schemas (DMTF DSP0268), as pure functions over the documents."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import number, shown

Document = Mapping[str, Any]

MAX_MEMBERS = 32
MAX_LINK_CHARACTERS = 512
MAX_MEAN_SECONDS = 3600.0
"""A mean over a longer time is useless for any window."""

_MEMBER = re.compile(r"/PowerControl/(\d{1,3})")
_WHOLE_MACHINES = ("RackMount", "StandAlone", "Tower", "Desktop", "Sled", "Blade", "Module")


class Reading(Struct, frozen=True):
    """Power, or else an energy counter; `mean_seconds` is the length of a mean, 0 for an instant."""

    watts: float | None = None
    joules: float | None = None
    mean_seconds: float = 0.0


def path_and_member(path: str) -> tuple[str, int | None]:
    """Split `/redfish/v1/Chassis/1/Power#/PowerControl/0` into path and member. Raises ValueError."""
    path, _, fragment = path.partition("#")
    match = _MEMBER.fullmatch(fragment)
    if not path.startswith("/redfish/") or not is_sound(path) or (fragment and match is None):
        raise ValueError("a path such as /redfish/v1/Chassis/1, or .../Power#/PowerControl/0")
    return path, None if match is None else int(match[1])


def is_sound(path: str) -> bool:
    """Whether a path can be put into a request unchanged."""
    return len(path) <= MAX_LINK_CHARACTERS and path.isascii() and path.isprintable() and " " not in path


def kind_of(document: Document) -> str:
    """Return the kind of a document: `Chassis` for the type `#Chassis.v1_14_0.Chassis`."""
    return str(document.get("@odata.type", "")).lstrip("#").partition(".")[0]


def link(document: Document, name: str) -> str | None:
    """
    Return the path that the property *name* links to, or None.

    Raises MeterFailure for a link to another host, because each request carries the credentials.
    """
    return _path(document.get(name))


def members(document: Document) -> list[str]:
    """Return the paths of a collection's members. Raises MeterFailure if there are too many."""
    given = document.get("Members")
    if not isinstance(given, list) or len(given) > MAX_MEMBERS:
        raise MeterFailure("malformed", f"expected a collection of at most {MAX_MEMBERS} members")
    return [path for path in map(_path, given) if path is not None]


def is_whole_machine(chassis: Document) -> bool:
    """Whether a chassis is a whole node, not a part of one."""
    return chassis.get("ChassisType") in _WHOLE_MACHINES


def is_present(supply: Document) -> bool:
    """Whether the bay of a power supply is occupied."""
    status = supply.get("Status")
    return not (isinstance(status, dict) and status.get("State") == "Absent")


def metered(document: Document, member: int | None = None) -> Reading | None:
    """Return the power in EnvironmentMetrics or in the metrics of a PDU, or else its energy counter."""
    watts = _excerpt(document, "PowerWatts")
    if watts is not None:
        return Reading(watts=watts)
    joules = _excerpt(document, "EnergyJoules")
    if joules is not None:
        return Reading(joules=joules)
    kilowatt_hours = _excerpt(document, "EnergykWh")
    return None if kilowatt_hours is None else Reading(joules=kilowatt_hours * 3.6e6)


def power_control(document: Document, member: int | None = None) -> Reading | None:
    """
    Return the power of a *member* of the older Power resource, or of its only member.

    A mean over minutes is used only if there is no instantaneous power.
    """
    control = _member(document.get("PowerControl"), member)
    if control is None:
        return None
    if control.get("PowerConsumedWatts") is not None:
        return Reading(watts=number(control["PowerConsumedWatts"]))
    mean = control.get("PowerMetrics")
    if not isinstance(mean, dict) or None in (mean.get("AverageConsumedWatts"), mean.get("IntervalInMin")):
        return None
    seconds = 60.0 * number(mean["IntervalInMin"])
    if not 0.0 < seconds <= MAX_MEAN_SECONDS:
        return None
    return Reading(number(mean["AverageConsumedWatts"]), mean_seconds=seconds)


def supplies_input(metrics: Sequence[Document]) -> Reading | None:
    """Return the sum of the input power of all power supplies; None unless each of them reports it."""
    watts = [_excerpt(one, "InputPowerWatts") for one in metrics]
    known = [one for one in watts if one is not None]
    return Reading(watts=sum(known)) if known and len(known) == len(watts) else None


READERS: Mapping[str, Callable[[Document, int | None], Reading | None]] = {
    "EnvironmentMetrics": metered,
    "PowerDistributionMetrics": metered,
    "Circuit": metered,
    "Outlet": metered,
    "Power": power_control,
}
"""Kinds of documents that contain a number, and the function that reads it."""


def _member(controls: Any, member: int | None) -> Document | None:
    if not isinstance(controls, list) or not controls:
        return None
    if member is None and len(controls) > 1:
        names = ", ".join(shown(one.get("Name")) for one in controls[:8] if isinstance(one, dict))
        raise MeterFailure(
            "refused", f"PowerControl has several members ({names}); name one by `path: ...#/PowerControl/0`"
        )
    index = member or 0
    if index >= len(controls) or not isinstance(controls[index], dict):
        raise MeterFailure("malformed", f"PowerControl has no member {index}")
    return dict(controls[index])


def _excerpt(document: Document, name: str) -> float | None:
    """Return the reading of a sensor excerpt, which is an object."""
    sensor = document.get(name)
    reading = sensor.get("Reading") if isinstance(sensor, dict) else None
    return None if reading is None else number(reading)


def _path(reference: Any) -> str | None:
    if not isinstance(reference, dict) or "@odata.id" not in reference:
        return None
    path = reference["@odata.id"]
    if not isinstance(path, str) or not path.startswith("/redfish/") or not is_sound(path):
        raise MeterFailure("malformed", f"a link leads to another host: {shown(path)}")
    return path
