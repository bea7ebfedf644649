"""
Power sensors of the kernel's hwmon, in microwatts.

Only sensors that are known by their names are taken for a part of the node, or for the whole of it; the
others are shown under the names that they have and belong to nothing.
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
from perwatt_agent.meters.reading.sysfs import read_word_or_none, try_micro, with_cure

HWMON = Path("/sys/class/hwmon")
ACPI_METER = "power_meter"
NOT_PERMITTED_CURE = "give the agent's group the right to read it with a udev rule, or CAP_DAC_READ_SEARCH"
# A GPU's own sensors are in its board's figures already.
GPU_CHIPS = frozenset({"amdgpu", "i915", "nouveau", "radeon", "xe"})


class Sensor(Struct, frozen=True):
    """A file with a power, by the chip that it belongs to and the words that it has, if any."""

    path: Path
    chip: str
    words: str
    number: str


class Known(Struct, frozen=True):
    """What a sensor measures that is known by its chip and its words, a regular expression."""

    chip: str
    words: str
    scope: MeterScope


KNOWN: tuple[Known, ...] = (
    # ACPI's meter without a word is the machine's own input, as its management controller has it.
    Known(ACPI_METER, "", "node"),
    # AMD of family 15h: the processor's own estimate.
    Known("fam15h_power", "", "package"),
)


class HwmonMeter:
    """Read every power sensor but Grace's and those of GPUs; a BlockingMeter. *root* is hwmon's folder."""

    name = "hwmon"
    interval_seconds = 5.0  # some ask a management controller, which has better things to do

    def __init__(self, clock: Clock, root: Path = HWMON) -> None:
        self._clock = clock
        self._root = root

    def read(self) -> Sequence[MeterSample]:
        """Raises MeterFailure where no sensor can be read; one that fails beside others is empty."""
        sensors = [sensor for sensor in find_sensors(self._root) if not says_a_socket(sensor.words)]
        if not sensors:
            raise MeterFailure("absent", f"{self._root} has no power sensors")
        return read_sensors(_named(sensors), self.name, self.interval_seconds, self._clock)


def read_sensors(
    sensors: Sequence[tuple[Sensor, MeterScope, str]], source: str, period_seconds: float, clock: Clock
) -> list[MeterSample]:
    """
    A sample of each sensor with its scope and zone, empty where it fails beside others.

    Raises MeterFailure where none can be read.
    """
    read = [(*try_micro(sensor.path), clock.monotonic()) for sensor, _, _ in sensors]
    failures = [failure for _, failure, _ in read if failure is not None]
    if len(failures) == len(read):
        raise with_cure(failures[0], NOT_PERMITTED_CURE)
    return [
        MeterSample(source, instant, watts, scope=scope, zone=zone, period_seconds=period_seconds)
        for (_, scope, zone), (watts, _, instant) in zip(sensors, read, strict=True)
    ]


def find_sensors(root: Path) -> list[Sensor]:
    """Every power sensor of the host, in the order of the kernel's numbers."""
    return [sensor for folder in sorted(root.glob("hwmon*"), key=_number) for sensor in _sensors(folder)]


def says_a_socket(words: str) -> bool:
    """Whether a sensor's words are those of NVIDIA Grace: which power of which socket it measures."""
    return re.fullmatch(r"\w+ Power Socket \d+", words) is not None


def scope_of(sensor: Sensor) -> MeterScope:
    """What a sensor is known to measure; `sensor` where that is not known."""
    for known in KNOWN:
        if known.chip == sensor.chip and re.fullmatch(known.words, sensor.words):
            return known.scope
    return "sensor"


def _sensors(folder: Path) -> Iterator[Sensor]:
    chip = read_word_or_none(folder / "name") or ""
    if chip in GPU_CHIPS:
        return
    # Drivers of the old school have their files with the device.
    for place in (folder, folder / "device"):
        numbers: set[str] = set()
        # The mean that the hardware makes comes first, before the value of the moment.
        for path in (*sorted(place.glob("power*_average")), *sorted(place.glob("power*_input"))):
            number = path.name.partition("_")[0]
            if number not in numbers:
                numbers.add(number)
                yield Sensor(path, chip, _words(place, number), number)
        if numbers:
            return


def _words(place: Path, number: str) -> str:
    """What the sensor is said to measure, by the driver or by the firmware."""
    return (
        read_word_or_none(place / f"{number}_label") or read_word_or_none(place / f"{number}_oem_info") or ""
    )


def _named(sensors: Sequence[Sensor]) -> list[tuple[Sensor, MeterScope, str]]:
    """Each sensor with what it measures, and a zone of its own there."""
    scopes = [scope_of(sensor) for sensor in sensors]
    if scopes.count("node") > 1:  # two inputs of one machine, or of its parts: neither is the whole of it
        scopes = ["sensor" if scope == "node" else scope for scope in scopes]
    earlier: Counter[str] = Counter()
    named: list[tuple[Sensor, MeterScope, str]] = []
    for sensor, scope in zip(sensors, scopes, strict=True):
        name = f"{sensor.chip} {sensor.words or sensor.number}".strip()
        named.append((sensor, scope, _zone(scope, name, earlier[name])))
        earlier[name] += 1
    return named


def _zone(scope: MeterScope, name: str, earlier: int) -> str:
    """The number of a processor, else the sensor's name, with a number where *earlier* ones have the same."""
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
