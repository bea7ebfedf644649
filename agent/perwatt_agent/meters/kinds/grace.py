"""
Power meters of an NVIDIA Grace's firmware, whose labels say what they measure.

A module contains a processor, its GPUs and all memory; a Grace socket contains the processor, its memory, and
its input and output. So no two of them are ever added: `module` counts instead of processors and boards, and
the rails within a socket are only shown.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.kinds.hwmon import HWMON, is_socket_label, read_sensors
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.hwmon_sensors import ACPI_METER, Sensor, SensorReader, find_sensors

SCOPES: tuple[tuple[str, MeterScope], ...] = (
    (r"Module Power Socket (\d+)", "module"),
    (r"Grace Power Socket (\d+)", "package"),
    (r"CPU Power Socket (\d+)", "core"),
)


class GraceMeter:
    """BlockingMeter of the sensors of every socket. *root* is hwmon's folder."""

    name = "grace"
    interval_seconds = 1.0

    def __init__(self, clock: Clock, root: Path = HWMON) -> None:
        self._clock = clock
        self._root = root
        self._reader = SensorReader(clock)

    def read(self) -> Sequence[MeterSample]:
        """Return a sample of each sensor, empty if it fails. Raises MeterFailure if all of them fail."""
        sensors = [
            (sensor, *_meaning(sensor))
            for sensor in find_sensors(self._root)
            if sensor.chip == ACPI_METER and is_socket_label(sensor.label)
        ]
        if not sensors:
            raise MeterFailure("absent", f"{self._root} has no power meters of an NVIDIA Grace")
        return read_sensors(sensors, self.name, self.interval_seconds, self._reader, self._clock)


def _meaning(sensor: Sensor) -> tuple[MeterScope, str]:
    """Return the scope of a label and its socket; a rail is named by its label."""
    for label, scope in SCOPES:
        if match := re.fullmatch(label, sensor.label):
            return scope, match[1]
    return "sensor", sensor.label


ROW = MeterKind(
    name="grace",
    rank=32,
    measures="`module`: a processor, its memory and its GPUs; a socket: processor, memory, input and output",
    boundary="direct current",
    limits="a module contains the boards, so it is never added to them; a socket contains its rails `CPU` "
    "and `SysIO`",
    uncertainty_ratio=0.05,
    uncertainty_basis="the power meters of an NVIDIA Grace's firmware",
    scopes=("module", "package", "core", "sensor"),
    interval_seconds=GraceMeter.interval_seconds,
    find=lambda clock: ThreadedMeter(GraceMeter(clock), clock),
)
