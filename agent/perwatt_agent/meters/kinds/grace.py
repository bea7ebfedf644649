"""
NVIDIA Grace: the power meters of its firmware, which say in words what they measure.

A module contains a processor, its GPUs and all memory; a Grace socket the processor with its memory and
its input and output. So no two of them are ever added: `module` counts instead of processors and boards,
and the rails within a socket are only shown.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.kinds.hwmon import (
    ACPI_METER,
    HWMON,
    Sensor,
    find_sensors,
    read_sensors,
    says_a_socket,
)
from perwatt_agent.meters.meter import MeterFailure

SCOPES: tuple[tuple[str, MeterScope], ...] = (
    (r"Module Power Socket (\d+)", "module"),
    (r"Grace Power Socket (\d+)", "package"),
    (r"CPU Power Socket (\d+)", "core"),
)


class GraceMeter:
    """Read the sensors of every socket; a BlockingMeter. *root* is hwmon's folder."""

    name = "grace"
    interval_seconds = 1.0

    def __init__(self, clock: Clock, root: Path = HWMON) -> None:
        self._clock = clock
        self._root = root

    def read(self) -> Sequence[MeterSample]:
        """Raises MeterFailure where no sensor can be read; one that fails beside others is empty."""
        sensors = [
            (sensor, *_meaning(sensor))
            for sensor in find_sensors(self._root)
            if sensor.chip == ACPI_METER and says_a_socket(sensor.words)
        ]
        if not sensors:
            raise MeterFailure("absent", f"{self._root} has no power meters of an NVIDIA Grace")
        return read_sensors(sensors, self.name, self.interval_seconds, self._clock)


def _meaning(sensor: Sensor) -> tuple[MeterScope, str]:
    """What the words stand for, and of which socket; a rail goes by its words."""
    for words, scope in SCOPES:
        if match := re.fullmatch(words, sensor.words):
            return scope, match[1]
    return "sensor", sensor.words


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
