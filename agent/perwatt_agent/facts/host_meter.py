"""Meters of the host, as published: each meter, and the node meter; None is a value that is not known."""

from typing import Literal

from msgspec import Struct

MeterScope = Literal["node", "module", "package", "core", "dram", "psys", "sensor"]
"""What a meter of the host measures: the whole node at the wall (AC), or a part of it."""

MeterRole = Literal["node", "package", "dram", "further"]
"""
What a meter's joules are shown as: those of the node now, of a processor, of its memory, or of none of
these, to compare with.
"""


class MeterSnapshot(Struct, frozen=True):
    """
    One meter of the host. `meter` names it on this node, as its source, and its scope and zone if any.

    `is_believed` tells whether its latest reading was, `rejections` how many were not, by reason.
    `energy_joules` are all that it measured; None while it has given no good reading lately.
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
    What is assumed of a node that no meter at the wall measures.

    `rest_watts` is drawn by all but boards, processors and their memory; `psu_efficiency` is the power
    out of the supplies divided by the power into them.
    """

    rest_watts: float
    psu_efficiency: float


class NodeMeterSnapshot(Struct, frozen=True):
    """The whole node at the wall (AC), while `source` speaks for it; as in the metric contract."""

    source: str
    energy_joules: float
    covered_seconds: float
    power_watts: float | None = None
