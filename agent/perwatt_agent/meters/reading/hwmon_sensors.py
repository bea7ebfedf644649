"""
Power sensors of the kernel's hwmon: where their files are, and the watts in them.

Most have a file in microwatts. A rail of an INA3221 has a voltage and a current, and Intel's GPUs have only a
counter of energy.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import measured
from perwatt_agent.meters.reading.sysfs import read_micro, read_word_or_none

ACPI_METER = "power_meter"
RAIL_CHIP = "ina3221"
RAILS = ("1", "2", "3")
"""Its three rails; the channels after them are shunt voltages and their sum."""
GPU_CHIP = r"amdgpu|i915(_gt\d+)?|nouveau|radeon|xe"
MAX_RATE_SECONDS = 60.0
"""An Intel GPU's counter loses a wrap that nobody read, at a kilowatt after four minutes."""

_PCI_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"


class Sensor(Struct, frozen=True):
    """
    One power sensor: its chip, its label, which may be empty, and the kernel's number of it.

    `paths` are a file of microwatts ("power"), of millivolts and of milliamperes ("rail"), or of microjoules
    ("energy"). `device` is the PCI address of a GPU, else empty; `may_sleep` is True for a GPU that the
    kernel suspends when it is idle.
    """

    paths: tuple[Path, ...]
    chip: str
    label: str
    number: str
    quantity: Literal["power", "rail", "energy"] = "power"
    device: str = ""
    may_sleep: bool = False
    is_battery: bool = False

    @property
    def is_gpu(self) -> bool:
        return re.fullmatch(GPU_CHIP, self.chip) is not None

    @property
    def name(self) -> str:
        """Name of the sensor on the node, which another one may have too."""
        return " ".join(part for part in (self.chip, self.device, self.label or self.number) if part)


class SensorReader:
    """Reader of sensors in watts. The power of an energy counter is its mean since the previous read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counters: dict[Path, tuple[float, float]] = {}

    def read(self, sensor: Sensor) -> tuple[float | None, float | None]:
        """
        Return the watts of a sensor, and the joules of one that cannot give watts yet. Raises MeterFailure.

        A counter that stands still gives neither: a running GPU draws power, so it does not count.
        """
        if sensor.quantity == "energy":
            return self._rate(sensor.paths[0])
        if sensor.quantity == "rail":
            millivolts, milliamperes = (read_micro(path) * 1e6 for path in sensor.paths)
            return millivolts * milliamperes / 1e6, None
        watts = read_micro(sensor.paths[0])
        if sensor.chip == ACPI_METER:
            measured(round(watts * 1e3))  # ACPI's own unit is the milliwatt
        return watts, None

    def _rate(self, path: Path) -> tuple[float | None, float | None]:
        joules, instant = read_micro(path), self._clock.monotonic()
        before_joules, before = self._counters.get(path, (joules, instant))
        self._counters[path] = (joules, instant)
        seconds = instant - before
        if 0.0 < seconds <= MAX_RATE_SECONDS and joules >= before_joules:
            return (joules - before_joules) / seconds or None, None
        return None, joules or None


def find_sensors(root: Path) -> list[Sensor]:
    """Return every power sensor of the host, in the order of the kernel's numbers."""
    return [sensor for folder in sorted(root.glob("hwmon*"), key=_number) for sensor in _sensors(folder)]


def is_asleep(sensor: Sensor) -> bool:
    """Whether a GPU is suspended: a read would fail, or wake it."""
    return sensor.may_sleep and _power_management(sensor.paths[0].parent, "runtime_status") != "active"


def _sensors(folder: Path) -> Iterator[Sensor]:
    chip = read_word_or_none(folder / "name") or ""
    # Older drivers have their files in `device`.
    for place in (folder, folder / "device"):
        found = [*_powers(place, chip), *_rails(place, chip), *_energies(place, chip)]
        yield from found
        if found:
            return


def _powers(place: Path, chip: str) -> Iterator[Sensor]:
    numbers: set[str] = set()
    # A mean of the hardware is preferred to an instantaneous value.
    for path in (*sorted(place.glob("power*_average")), *sorted(place.glob("power*_input"))):
        number = path.name.partition("_")[0]
        if number not in numbers:
            numbers.add(number)
            is_battery = read_word_or_none(place / f"{number}_is_battery") == "1"
            yield Sensor(
                (path,), chip, _label(place, number), number, "power", *_gpu(place, chip), is_battery
            )


def _rails(place: Path, chip: str) -> Iterator[Sensor]:
    for number in RAILS if chip == RAIL_CHIP else ():
        paths = (place / f"in{number}_input", place / f"curr{number}_input")
        is_enabled = read_word_or_none(place / f"in{number}_enable") != "0"
        if is_enabled and all(path.exists() for path in paths):
            yield Sensor(paths, chip, _label(place, f"in{number}"), f"rail{number}", "rail")


def _energies(place: Path, chip: str) -> Iterator[Sensor]:
    for path in sorted(place.glob("energy*_input")) if re.fullmatch(GPU_CHIP, chip) else ():
        number = path.name.partition("_")[0]
        yield Sensor((path,), chip, _label(place, number), number, "energy", *_gpu(place, chip))


def _gpu(place: Path, chip: str) -> tuple[str, bool]:
    """Return the PCI address of a GPU and whether the kernel suspends it; hwmon's numbers change at boot."""
    if not re.fullmatch(GPU_CHIP, chip):
        return "", False
    address = (place / "device").resolve().name
    return (
        address if re.fullmatch(_PCI_ADDRESS, address) else "",
        _power_management(place, "control") == "auto",
    )


def _power_management(place: Path, name: str) -> str:
    return read_word_or_none(place / "device" / "power" / name) or ""


def _label(place: Path, number: str) -> str:
    """Return the label of a sensor, from the driver or the firmware."""
    return (
        read_word_or_none(place / f"{number}_label") or read_word_or_none(place / f"{number}_oem_info") or ""
    )


def _number(folder: Path) -> int:
    digits = re.search(r"\d+$", folder.name)
    return int(digits[0]) if digits else 0


def try_sensor(
    reader: SensorReader, sensor: Sensor
) -> tuple[float | None, float | None, MeterFailure | None]:
    """Return the result of `SensorReader.read`, or its failure."""
    try:
        return *reader.read(sensor), None
    except MeterFailure as failure:
        return None, None, failure
