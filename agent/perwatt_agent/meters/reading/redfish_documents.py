"""Power in documents of the Redfish schemas (DMTF DSP0268), as pure functions over the documents."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import measured, number, plausible_watts, shown

Document = Mapping[str, Any]

MAX_MEMBERS = 256
"""Of a collection: a machine of many boards has a hundred chassis."""
MAX_LINK_CHARACTERS = 512
MAX_MEAN_SECONDS = 3600.0
"""A mean over a longer time is useless for any window."""

_OUTLINE = (
    "@odata.type",
    "ChassisType",
    "Status",
    "Members",
    "Members@odata.nextLink",
    "EnvironmentMetrics",
    "PowerSubsystem",
    "Power",
    "PowerSupplies",
    "Metrics",
)
_MEMBER = r"/PowerControl/(\d{1,3})"
_WHOLE_MACHINES = ("RackMount", "StandAlone", "Tower", "Desktop", "Sled", "Blade", "Module")


class Reading(Struct, frozen=True):
    """Power, or else an energy counter; `mean_seconds` is the length of a mean, 0 for an instant."""

    watts: float | None = None
    joules: float | None = None
    mean_seconds: float = 0.0


def path_and_member(path: str) -> tuple[str, int | None]:
    """Split `/redfish/v1/Chassis/1/Power#/PowerControl/0` into path and member. Raises ValueError."""
    path, _, fragment = path.partition("#")
    match = re.fullmatch(_MEMBER, fragment)
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


def members(document: Document) -> tuple[list[str], str | None]:
    """
    Return the paths of a collection's members on this page, and the path of its next page, or None.

    Raises MeterFailure if there are too many.
    """
    given = document.get("Members")
    if not isinstance(given, list) or len(given) > MAX_MEMBERS:
        raise too_many_members()
    next_page = document.get("Members@odata.nextLink")
    return (
        [path for path in map(_path, given) if path is not None],
        None if next_page is None else _path({"@odata.id": next_page}),
    )


def too_many_members() -> MeterFailure:
    return MeterFailure(
        "malformed",
        f"expected a collection of at most {MAX_MEMBERS} members; set `path` to the resource of the power",
    )


def outline(document: Document) -> Document:
    """Return the parts of a document that lead to others, with a bound on their size."""
    return {name: _bounded(document[name]) for name in _OUTLINE if name in document}


def is_whole_machine(chassis: Document) -> bool:
    """Whether a chassis is a whole node, not a part of one."""
    return chassis.get("ChassisType") in _WHOLE_MACHINES


def is_present(supply: Document) -> bool:
    """Whether the bay of a power supply is occupied."""
    status = supply.get("Status")
    return not (isinstance(status, dict) and status.get("State") == "Absent")


def metered(document: Document, member: int | None = None) -> Reading | None:
    """
    Return the power in EnvironmentMetrics or in the metrics of a PDU, or else its energy counter.

    A zero stands for a quantity that is not measured, as long as another one is.
    """
    watts, joules, kilowatt_hours = (
        _excerpt(document, name) for name in ("PowerWatts", "EnergyJoules", "EnergykWh")
    )
    return _first_measured(
        None if watts is None else Reading(watts=watts),
        None if joules is None else Reading(joules=joules),
        None if kilowatt_hours is None else Reading(joules=kilowatt_hours * 3.6e6),
    )


def power_control(document: Document, member: int | None = None) -> Reading | None:
    """
    Return the power of a *member* of the older Power resource, or of its only member.

    A mean over minutes is used only if there is no instantaneous power.
    """
    control = _member(document.get("PowerControl"), member)
    if control is None:
        return None
    watts = control.get("PowerConsumedWatts")
    return _first_measured(None if watts is None else Reading(watts=measured(number(watts))), _mean(control))


def supplies_input(metrics: Sequence[Document]) -> Reading | None:
    """Return the sum of the input power of all power supplies; None unless each of them reports it."""
    watts = [_excerpt(one, "InputPowerWatts") for one in metrics]
    known = [plausible_watts(one) for one in watts if one is not None]
    return Reading(watts=sum(known)) if known and len(known) == len(watts) else None


def is_zero(reading: Reading) -> bool:
    """Whether a reading is what a device shows that does not measure: a running node draws power."""
    return not reading.watts and not reading.joules


READERS: Mapping[str, Callable[[Document, int | None], Reading | None]] = {
    "EnvironmentMetrics": metered,
    "PowerDistributionMetrics": metered,
    "Circuit": metered,
    "Outlet": metered,
    "Power": power_control,
}
"""Kinds of documents that contain a number, and the function that reads it."""


def _first_measured(*readings: Reading | None) -> Reading | None:
    """Return the first reading that is not zero, or else the first one."""
    given = [reading for reading in readings if reading is not None]
    return next((reading for reading in given if not is_zero(reading)), given[0] if given else None)


def _mean(control: Document) -> Reading | None:
    """Return the mean power of a control, if its time is useful."""
    mean = control.get("PowerMetrics")
    if not isinstance(mean, dict) or None in (mean.get("AverageConsumedWatts"), mean.get("IntervalInMin")):
        return None
    seconds = 60.0 * number(mean["IntervalInMin"])
    if not 0.0 < seconds <= MAX_MEAN_SECONDS:
        return None
    return Reading(measured(number(mean["AverageConsumedWatts"])), mean_seconds=seconds)


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
    return None if reading is None else measured(number(reading), is_counter=name.startswith("Energy"))


def _bounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_bounded(one) if isinstance(one, dict) else None for one in value[: MAX_MEMBERS + 1]]
    if isinstance(value, dict):
        return {name: _bounded(value[name]) for name in ("@odata.id", "State") if name in value}
    return value[: MAX_LINK_CHARACTERS + 1] if isinstance(value, str) else None


def _path(reference: Any) -> str | None:
    if not isinstance(reference, dict) or "@odata.id" not in reference:
        return None
    path = reference["@odata.id"]
    if not isinstance(path, str) or not path.startswith("/redfish/") or not is_sound(path):
        raise MeterFailure("malformed", f"a link leads to another host: {shown(path)}")
    return path
