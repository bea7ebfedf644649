"""
Power sensors of the kernel's hwmon.

Only a sensor with a known name counts as a part of the node, or as the whole node. Others are shown under
their own names and count as nothing. Among them are GPUs that the kernel alone knows: no figure of a GPU or
of a node contains what is shown here, so nothing counts twice.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.hwmon_sensors import (
    ACPI_METER,
    Sensor,
    SensorReader,
    find_sensors,
    is_asleep,
    try_sensor,
)
from perwatt_agent.meters.reading.sysfs import with_fix

logger = logging.getLogger(__name__)

HWMON = Path("/sys/class/hwmon")
NOT_PERMITTED_FIX = (
    "give the agent's group read access with a udev rule, or the agent the capability CAP_DAC_READ_SEARCH"
)
READS_OF_SLEEPERS = 4
"""
A GPU that the kernel suspends when idle is read at every fourth read: each read restarts the kernel's wait of
1 to 10 seconds, so that it would never sleep.
"""

Named = tuple[Sensor, MeterScope, str]


class Known(Struct, frozen=True):
    """Scope of a sensor that its chip and its label (a regular expression) identify."""

    chip: str
    label: str
    scope: MeterScope


KNOWN: tuple[Known, ...] = (
    # ACPI's meter without a label is the machine's input, as its management controller measures it.
    Known(ACPI_METER, "", "node"),
    # The same meter of Intel's Node Manager, by the text in its firmware.
    Known(ACPI_METER, "Meter measures total domain", "node"),
    # AMD of family 15h: the processor's own estimate.
    Known("fam15h_power", "", "package"),
)


class HwmonMeter:
    """BlockingMeter of every power sensor except Grace's. *root* is hwmon's folder."""

    name = "hwmon"
    interval_seconds = 5.0  # some sensors query a management controller, which is slow

    def __init__(self, clock: Clock, root: Path = HWMON) -> None:
        self._clock = clock
        self._root = root
        self._reader = SensorReader(clock)
        self._reads = 0
        self._of_sleepers: list[MeterSample] = []
        self._notes: list[str] = []

    def read(self) -> Sequence[MeterSample]:
        """Return a sample of each sensor, empty if it fails. Raises MeterFailure if all of them fail."""
        sensors = [sensor for sensor in find_sensors(self._root) if not is_socket_label(sensor.label)]
        if not sensors:
            raise MeterFailure("absent", f"{self._root} has no power sensors")
        named = _named(sensors)
        self._log(named)
        is_their_turn = self._reads % READS_OF_SLEEPERS == 0
        self._reads += 1
        due = [one for one in named if not one[0].may_sleep or (is_their_turn and not is_asleep(one[0]))]
        samples = read_sensors(due, self.name, self.interval_seconds, self._reader, self._clock)
        if not is_their_turn:
            return samples + self._of_sleepers
        seconds = READS_OF_SLEEPERS * self.interval_seconds
        sleepers = {zone for sensor, _, zone in due if sensor.may_sleep}
        self._of_sleepers = [replace(one, period_seconds=seconds) for one in samples if one.zone in sleepers]
        return [one for one in samples if one.zone not in sleepers] + self._of_sleepers

    def _log(self, sensors: Sequence[Named]) -> None:
        """Log, once, what is shown only, though it looks like a GPU or a node."""
        notes = list(_notes(sensors))
        if notes != self._notes:
            for note in notes:
                logger.info("%s: %s", self.name, note)
        self._notes = notes


def read_sensors(
    sensors: Sequence[Named], source: str, period_seconds: float, reader: SensorReader, clock: Clock
) -> list[MeterSample]:
    """
    Return a sample of each sensor with its scope and zone, empty if it alone fails.

    Raises MeterFailure if none can be read.
    """
    read = [(*try_sensor(reader, sensor), clock.monotonic()) for sensor, _, _ in sensors]
    failures = [failure for _, _, failure, _ in read if failure is not None]
    if failures and len(failures) == len(read):
        raise with_fix(failures[0], NOT_PERMITTED_FIX)
    return [
        MeterSample(
            source,
            instant,
            watts,
            joules,
            power_is_mean=sensor.quantity == "energy",
            scope=scope,
            zone=zone,
            period_seconds=period_seconds,
        )
        for (sensor, scope, zone), (watts, joules, _, instant) in zip(sensors, read, strict=True)
    ]


def is_socket_label(label: str) -> bool:
    """Whether a label is one of NVIDIA Grace, such as `CPU Power Socket 0`."""
    return re.fullmatch(r"\w+ Power Socket \d+", label) is not None


def scope_of(sensor: Sensor) -> MeterScope:
    """Return the scope of a sensor; "sensor" if it is not known."""
    for known in KNOWN:
        if known.chip == sensor.chip and re.fullmatch(known.label, sensor.label) and not sensor.is_battery:
            return known.scope
    return "sensor"


def _named(sensors: Sequence[Sensor]) -> list[Named]:
    """Return each sensor with its scope and a unique zone."""
    scopes = [scope_of(sensor) for sensor in sensors]
    if scopes.count("node") > 1:  # several inputs: none is the whole node
        scopes = ["sensor" if scope == "node" else scope for scope in scopes]
    earlier: Counter[str] = Counter()
    named: list[Named] = []
    for sensor, scope in zip(sensors, scopes, strict=True):
        named.append((sensor, scope, _zone(scope, sensor.name, earlier[sensor.name])))
        earlier[sensor.name] += 1
    return named


def _zone(scope: MeterScope, name: str, earlier: int) -> str:
    """Return the number of a processor, else the sensor's name, numbered if *earlier* ones have the same."""
    if scope == "package":
        return str(earlier)
    if scope == "node":
        return ""
    return f"{name} {earlier + 1}" if earlier else name


def _notes(sensors: Sequence[Named]) -> Iterator[str]:
    gpus = [zone for sensor, _, zone in sensors if sensor.is_gpu]
    if gpus:
        yield f"shown as sensors, but in the figures of no GPU, workload or node: {', '.join(gpus)}"
    meters = [zone for sensor, scope, zone in sensors if sensor.chip == ACPI_METER and scope == "sensor"]
    if meters:
        yield (
            f"shown as sensors, because they do not say that they measure the whole node: {', '.join(meters)}"
        )


ROW = MeterKind(
    name="hwmon",
    rank=33,
    measures="`power_meter` without a label, or of Intel's Node Manager: the machine's input, by ACPI; other "
    "sensors, GPUs among them, are shown only",
    boundary="the wall (AC), mostly",
    limits="depends on the maker",
    uncertainty_ratio=0.05,
    uncertainty_basis="a sensor of the board",
    scopes=("node", "package", "sensor"),
    interval_seconds=HwmonMeter.interval_seconds,
    find=lambda clock: ThreadedMeter(HwmonMeter(clock), clock),
)
