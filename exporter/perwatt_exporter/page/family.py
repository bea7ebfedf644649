"""Metric family: one row of a table, from a fact in the snapshot to its series."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from perwatt_agent.facts.engine_counts import Histogram

Kind = Literal["gauge", "counter", "info", "histogram"]
Sample = tuple[tuple[str, ...], float | Histogram]
"""The values of a family's labels, in the order of its `labels`, and the value that goes by them."""

S = TypeVar("S")
T = TypeVar("T")

Rows = Sequence[tuple[tuple[str, ...], T]]
"""Things in a snapshot by values of labels, with what is known of each."""

Columns = tuple[tuple[tuple[str, ...], Callable[[T], float | None]], ...]
"""The values of labels, and the amount that goes by them in what is known of a row; None is left out."""


class Table(Struct, Generic[S, T], frozen=True):
    """
    Samples in rows and columns, as a family's `read`: the labels of the rows come first. A page writes them
    faster than samples that come in any other way.
    """

    rows: Callable[[S], Rows[T]]
    columns: Columns[T]

    def __call__(self, snapshot: S) -> Iterator[Sample]:
        for row, facts in self.rows(snapshot):
            for labels, amount_of in self.columns:
                amount = amount_of(facts)
                if amount is not None:
                    yield (*row, *labels), amount


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
