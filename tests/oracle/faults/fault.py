"""Fault: what spoils a fleet, and what heals it."""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from oracle.fleet import TrueFleet
from oracle.gpu import TrueGpu
from oracle.machine import TrueNode

Heal = Callable[[], None]


class Fault(Struct, frozen=True):
    """
    `begin` spoils a fleet and returns what heals it, or None where nothing does.

    With `from_start` it begins before the first agent does.
    """

    name: str
    begin: Callable[[TrueFleet, Random], Heal | None]
    from_start: bool = False


def a_gpu(fleet: TrueFleet, random: Random) -> tuple[TrueNode, TrueGpu]:
    node = random.choice(fleet.nodes)
    return node, random.choice(node.gpus)
