"""What a metric family is: one row of a table, from a fact in the snapshot to its series."""

from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

from msgspec import Struct

Kind = Literal["gauge", "counter", "info"]
Sample = tuple[tuple[str, ...], float]
"""The values of a family's labels, in the order of its `labels`, and the value of that series."""

S = TypeVar("S")


class Family(Struct, Generic[S], frozen=True):
    """
    One metric family over snapshots of type S.

    `name` is the name that the samples carry: counters end in `_total`, infos in `_info`. `read`
    yields the family's samples and leaves out what is not known; it never yields a series twice.
    `closed` lists, for labels that have a fixed set of values, all of them.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[S], Iterable[Sample]]
    closed: dict[str, tuple[str, ...]] = {}

    @property
    def stem(self) -> str:
        """The family's name in OpenMetrics, where samples add a suffix that tells their kind."""
        return self.name.removesuffix({"gauge": "", "counter": "_total", "info": "_info"}[self.kind])


Collected = tuple[Family[S], Iterable[Sample]]
"""A family and what it read."""
