"""
Power sensors of the kernel's hwmon, in microwatts.

Only a sensor with a known name counts as a part of the node, or as the whole node. Others are shown under
their own names and count as nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.sysfs import read_word_or_none, try_micro, with_fix

HWMON = Path("/sys/class/hwmon")
ACPI_METER = "power_meter"
NOT_PERMITTED_FIX = (
    "give the agent's group read access with a udev rule, or the agent the capability CAP_DAC_READ_SEARCH"
)
# The sensors of a GPU are part of its board's power.
GPU_CHIPS = frozenset({"amdgpu", "i915", "nouveau", "radeon", "xe"})


class Sensor(Struct, frozen=True):
    """File with a power, its chip, and its label, which may be empty."""

    path: Path
    chip: str
    label: str
    number: str


class Known(Struct, frozen=True):
    """Scope of a sensor that its chip and its label (a regular expression) identify."""

    chip: str
    label: str
    scope: MeterScope


KNOWN: tuple[Known, ...] = (
    # ACPI's meter without a label is the machine's input, as its management controller measures it.
    Known(ACPI_METER, "", "node"),
    # AMD of family 15h: the processor's own estimate.
    Known("fam15h_power", "", "package"),
)


class HwmonMeter:
    """BlockingMeter of every power sensor except Grace's and those of GPUs. *root* is hwmon's folder."""

    name = "hwmon"
    interval_seconds = 5.0  # some sensors query a management controller, which is slow

    def __init__(self, clock: Clock, root: Path = HWMON) -> None:
        self._clock = clock
        self._root = root

    def read(self) -> Sequence[MeterSample]:
        """Return a sample of each sensor, empty if it fails. Raises MeterFailure if all of them fail."""
        sensors = [sensor for sensor in find_sensors(self._root) if not is_socket_label(sensor.label)]
        if not sensors:
            raise MeterFailure("absent", f"{self._root} has no power sensors")
        return read_sensors(_named(sensors), self.name, self.interval_seconds, self._clock)


def read_sensors(
    sensors: Sequence[tuple[Sensor, MeterScope, str]], source: str, period_seconds: float, clock: Clock
) -> list[MeterSample]:
    """
    Return a sample of each sensor with its scope and zone, empty if it alone fails.

    Raises MeterFailure if none can be read.
    """
    read = [(*try_micro(sensor.path), clock.monotonic()) for sensor, _, _ in sensors]
    failures = [failure for _, failure, _ in read if failure is not None]
    if len(failures) == len(read):
        raise with_fix(failures[0], NOT_PERMITTED_FIX)
    return [
        MeterSample(source, instant, watts, scope=scope, zone=zone, period_seconds=period_seconds)
        for (_, scope, zone), (watts, _, instant) in zip(sensors, read, strict=True)
    ]


def find_sensors(root: Path) -> list[Sensor]:
    """Return every power sensor of the host, in the order of the kernel's numbers."""
    return [sensor for folder in sorted(root.glob("hwmon*"), key=_number) for sensor in _sensors(folder)]


def is_socket_label(label: str) -> bool:
    """Whether a label is one of NVIDIA Grace, such as `CPU Power Socket 0`."""
    return re.fullmatch(r"\w+ Power Socket \d+", label) is not None


def scope_of(sensor: Sensor) -> MeterScope:
    """Return the scope of a sensor; "sensor" if it is not known."""
    for known in KNOWN:
        if known.chip == sensor.chip and re.fullmatch(known.label, sensor.label):
            return known.scope
    return "sensor"


def _sensors(folder: Path) -> Iterator[Sensor]:
    chip = read_word_or_none(folder / "name") or ""
    if chip in GPU_CHIPS:
        return
    # Older drivers have their files in `device`.
    for place in (folder, folder / "device"):
        numbers: set[str] = set()
        # A mean of the hardware is preferred to an instantaneous value.
        for path in (*sorted(place.glob("power*_average")), *sorted(place.glob("power*_input"))):
            number = path.name.partition("_")[0]
            if number not in numbers:
                numbers.add(number)
                yield Sensor(path, chip, _label(place, number), number)
        if numbers:
            return


def _label(place: Path, number: str) -> str:
    """Return the label of a sensor, from the driver or the firmware."""
    return (
        read_word_or_none(place / f"{number}_label") or read_word_or_none(place / f"{number}_oem_info") or ""
    )


def _named(sensors: Sequence[Sensor]) -> list[tuple[Sensor, MeterScope, str]]:
    """Return each sensor with its scope and a unique zone."""
    scopes = [scope_of(sensor) for sensor in sensors]
    if scopes.count("node") > 1:  # several inputs: none is the whole node
        scopes = ["sensor" if scope == "node" else scope for scope in scopes]
    earlier: Counter[str] = Counter()
    named: list[tuple[Sensor, MeterScope, str]] = []
    for sensor, scope in zip(sensors, scopes, strict=True):
        name = f"{sensor.chip} {sensor.label or sensor.number}".strip()
        named.append((sensor, scope, _zone(scope, name, earlier[name])))
        earlier[name] += 1
    return named


def _zone(scope: MeterScope, name: str, earlier: int) -> str:
    """Return the number of a processor, else the sensor's name, numbered if *earlier* ones have the same."""
    if scope == "package":
        return str(earlier)
    if scope == "node":
        return ""
    return f"{name} {earlier + 1}" if earlier else name


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix("hwmon")
    return int(digits) if digits.isdigit() else 0


ROW = MeterKind(
    name="hwmon",
    rank=33,
    measures="`power_meter` without a label: the machine's input, by ACPI; other sensors are shown only",
    boundary="the wall (AC), mostly",
    limits="depends on the maker",
    uncertainty_ratio=0.05,
    uncertainty_basis="a sensor of the board",
    scopes=("node", "package", "sensor"),
    interval_seconds=HwmonMeter.interval_seconds,
    find=lambda clock: ThreadedMeter(HwmonMeter(clock), clock),
)
