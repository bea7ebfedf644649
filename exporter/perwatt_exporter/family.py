"""What a metric family is: one row of a table, from a fact in the snapshot to its series."""

from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from perwatt_agent.snapshot import Histogram

Kind = Literal["gauge", "counter", "info", "histogram"]
Sample = tuple[tuple[str, ...], float | Histogram]
"""The values of a family's labels, in the order of its `labels`, and the value that goes by them."""

S = TypeVar("S")

Basis = Callable[[S], tuple[object, ...]]
"""Picks out of a snapshot the facts that families are read from."""


class Family(Struct, Generic[S], frozen=True):
    """
    One metric family over snapshots of type S.

    `name` is the name that the samples carry: counters end in `_total`, infos in `_info`. `read`
    yields the family's samples and leaves out what is not known; it never yields a series twice. A
    "histogram" yields a Histogram each, and none of the others does.
    `closed` lists, for labels that have a fixed set of values, all of them. `basis` gives all that `read`
    looks at: as long as these are the same objects, its samples are the same, and need not be read.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[S], Iterable[Sample]]
    closed: dict[str, tuple[str, ...]] = {}
    basis: Basis[S] | None = None

    @property
    def stem(self) -> str:
        """The family's name in OpenMetrics, where samples add a suffix that tells their kind."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.kind, ""))


Collected = tuple[Family[S], Iterable[Sample]]
"""A family and what it read."""
