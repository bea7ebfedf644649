"""Readings that a request is answered from: the seam between where they come from and what computes."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.schema.common import Source

Keeps = Callable[[Node], bool]
"""Whether a request needs the readings of a node."""


class Readings(Struct, frozen=True):
    """
    Nodes with their readings at the instant of *clock*, which stands still.

    `is_whole` is false if there may be more nodes.
    """

    source: Source
    clock: Clock
    nodes: tuple[Node, ...]
    is_whole: bool = True

    def ended(self, now: float) -> tuple[Node, ...]:
        """The nodes that are not named any more: none, for what is not scraped any more is missing."""
        return ()


class ReadingsSource(Protocol):
    """Gives readings for one request, and says what it is: answers carry its `name`."""

    name: Source

    async def read(self, seconds: float, where: Where, keeps: Keeps) -> Readings:
        """The readings of the last *seconds* of the nodes that an answer with the filters *where* needs."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
