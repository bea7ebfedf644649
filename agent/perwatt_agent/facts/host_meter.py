"""Meters of the host, as published: each meter, and the node meter; None is a value that is not known."""

from typing import Literal

from msgspec import Struct

MeterScope = Literal["node", "module", "package", "core", "dram", "psys", "sensor"]
"""Scope of a meter: the whole node at the wall (AC), or a part of it."""

MeterRole = Literal["node", "package", "dram", "further"]
"""Role of a meter's joules: of the node, of a processor, of its memory, or further ones to compare with."""


class MeterSnapshot(Struct, frozen=True):
    """
    One meter of the host. `meter` is its name on this node: its source, and its scope and zone if any.

    `is_believed` is whether its latest reading was accepted, and `rejections` counts the others by reason.
    `energy_joules` is all that it measured; None while it has had no good reading recently.
    """

    meter: str
    source: str
    scope: MeterScope
    zone: str
    role: MeterRole
    period_seconds: float
    is_believed: bool
    energy_joules: float | None
    covered_seconds: float
    power_watts: float | None = None
    rejections: tuple[tuple[str, int], ...] = ()


class NodeModel(Struct, frozen=True):
    """
    Assumptions about a node without a wall meter.

    `rest_watts` is the power of everything but boards, processors and their memory. `psu_efficiency` is the
    power out of the supplies divided by the power into them.
    """

    rest_watts: float
    psu_efficiency: float


class NodeMeterSnapshot(Struct, frozen=True):
    """The whole node at the wall (AC), as `source` measures it; as in the metric contract."""

    source: str
    energy_joules: float
    covered_seconds: float
    power_watts: float | None = None
