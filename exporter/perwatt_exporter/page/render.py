"""
Renderer of samples: Prometheus's text format 0.0.4 and OpenMetrics 1.0.

The lines of the samples are the same in both; only what stands above and below them differs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, Generic, TypeVar

from perwatt_agent.facts.engine_counts import Histogram
from perwatt_exporter.http.negotiate import Format
from perwatt_exporter.page.family import Basis, Collected, Columns, Family, Rows, Sample, Table

S = TypeVar("S")
T = TypeVar("T")

SPARE_SERIES = 64


def format_value(value: float) -> str:
    """
    Write a number as Prometheus's Python client does.

    Like Go, it turns to exponents at a million, but for positive numbers only.
    """
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if value < 1e6:
        return text
    digits, dot, fraction = text.partition(".")
    if not dot or len(digits) == 1:  # repr has used an exponent already
        return text
    mantissa = f"{digits[0]}.{digits[1:]}{fraction}".rstrip("0").rstrip(".")
    return f"{mantissa}e+{len(digits) - 1:02d}"


class Renderer(Generic[S]):
    """
    Renders *families* over snapshots, and remembers from page to page the labels and the line of each
    series, and the lines of families whose basis stays.
    """

    def __init__(self, families: Iterable[Family[S]] = ()) -> None:
        self._families = [_FamilyWriter(family) for family in families]
        self._facts: dict[Basis[S], tuple[object, ...] | None] = {
            family.basis: None for family in self._families if family.basis is not None
        }
        self._writers: dict[str, _FamilyWriter[Any]] = {}

    def collected(self, collected: Iterable[Collected[Any]], form: Format) -> list[str]:
        """Render what was collected, of whatever families."""
        texts: list[str] = []
        for family, samples in collected:
            if family.name not in self._writers:
                self._writers[family.name] = _FamilyWriter(family)
            writer = self._writers[family.name]
            if lines := writer.write(samples):
                texts += writer.heads[form], lines
        return texts

    def snapshot(self, snapshot: S, form: Format) -> list[str]:
        """Render all that the families read from *snapshot*; those whose basis stayed are not read."""
        rows = _SnapshotRows(snapshot)
        facts = {basis: basis(snapshot) for basis in self._facts}
        stayed = {basis for basis, before in self._facts.items() if _are_same(facts[basis], before)}
        texts: list[str] = []
        for writer in self._families:
            if lines := writer.lines if writer.basis in stayed else writer.read(rows):
                texts += writer.heads[form], lines
        self._facts = {**facts}  # last: after an error in between, all are read again
        return texts


def _are_same(facts: tuple[object, ...], before: tuple[object, ...] | None) -> bool:
    """Whether these are the very objects of before, which are never modified."""
    return before is not None and len(facts) == len(before) and all(map(is_, facts, before))


class _SnapshotRows(Generic[S]):
    """A snapshot, and the rows of tables in it, as labels and facts: many tables share theirs."""

    def __init__(self, snapshot: S) -> None:
        self.snapshot = snapshot
        self._rows: dict[Callable[[S], Rows[Any]], tuple[list[tuple[str, ...]], list[Any]]] = {}

    def rows(self, find: Callable[[S], Rows[Any]]) -> tuple[list[tuple[str, ...]], list[Any]]:
        if find not in self._rows:
            rows = find(self.snapshot)
            self._rows[find] = [labels for labels, _ in rows], [facts for _, facts in rows]
        return self._rows[find]


class _FamilyWriter(Generic[S]):
    """What of one family stays the same from page to page."""

    def __init__(self, family: Family[S]) -> None:
        self.basis = family.basis
        self.lines = ""
        self._name = family.name
        self._labels = family.labels
        self._read = family.read
        self._series_type = _HistogramSeries if family.kind == "histogram" else _Series
        text_kind = "gauge" if family.kind == "info" else family.kind
        self.heads: dict[Format, str] = {
            "text": _head(family.name, text_kind, family.help),
            "openmetrics": _head(family.stem, family.kind, family.help, quotes=True),
        }
        self._series: dict[tuple[str, ...], _Series | _HistogramSeries] = {}
        self._places: list[tuple[str, ...]] = []
        self._line_up: list[_Series] = []
        self._amounts: list[float | None] = []

    def read(self, rows: _SnapshotRows[S]) -> str:
        """The lines of what the family reads from a snapshot."""
        if isinstance(self._read, Table):
            self.lines = self._write_table(*rows.rows(self._read.rows), self._read.columns)
        else:
            self.lines = self.write(self._read(rows.snapshot))
        return self.lines

    def write(self, samples: Iterable[Sample]) -> str:
        """The lines of samples."""
        known = self._series
        lines = []
        for values, value in samples:
            series = known.get(values)
            if series is None:
                series = known[values] = self._series_type(self._name, self._labels, values)
            # Most values are those of the page before, and writing numbers is most of what a page costs.
            if value != series.value:
                series.write(value)  # type: ignore[arg-type]  # a family's kind says what its values are
            lines.append(series.lines)
        # Series come and go with workloads and reasons: forget all rather than keep the dead for ever.
        if len(known) > 2 * len(lines) + SPARE_SERIES:
            known.clear()
        return "".join(lines)

    def _write_table(self, places: list[tuple[str, ...]], facts: list[T], columns: Columns[T]) -> str:
        """The lines of a table: the same as before while its amounts are, else those that changed anew."""
        amounts = [amount_of(one) for one in facts for _, amount_of in columns]
        if places != self._places:
            self._places = places
            self._line_up = [
                _Series(self._name, self._labels, (*row, *labels)) for row in places for labels, _ in columns
            ]
        elif amounts == self._amounts:
            return self.lines
        self._amounts = amounts
        lines = []
        for series, amount in zip(self._line_up, amounts, strict=True):
            if amount is not None:
                if amount != series.value:
                    series.write(amount)
                lines.append(series.lines)
        return "".join(lines)


class _Series:
    """One series from page to page: its `name{labels} `, and its last value with the line of that."""

    __slots__ = ("_prefix", "lines", "value")

    def __init__(self, name: str, labels: Sequence[str], values: Sequence[str]) -> None:
        self._prefix = _prefix(name, labels, values)
        self.value: float | None = None
        self.lines = ""

    def write(self, value: float) -> None:
        self.value = value
        self.lines = f"{self._prefix}{format_value(value)}\n"


class _HistogramSeries:
    """One histogram from page to page: its buckets, its count and its sum are a series each."""

    __slots__ = ("_labels", "_name", "_parts", "_values", "lines", "value")

    def __init__(self, name: str, labels: Sequence[str], values: Sequence[str]) -> None:
        self._name = name
        self._labels = labels
        self._values = values
        self._parts: list[_Series] = []
        self.value: Histogram | None = None
        self.lines = ""

    def write(self, value: Histogram) -> None:
        if self.value is None or value.bounds != self.value.bounds:
            self._parts = self._series(value.bounds)
        amounts = (*value.at_most, value.count, value.count, value.sum)
        for part, amount in zip(self._parts, amounts, strict=True):
            if amount != part.value:
                part.write(amount)
        self.value = value
        self.lines = "".join(part.lines for part in self._parts)

    def _series(self, bounds: Iterable[float]) -> list[_Series]:
        labels = (*self._labels, "le")
        buckets = [
            _Series(f"{self._name}_bucket", labels, (*self._values, format_value(bound)))
            for bound in (*bounds, math.inf)
        ]
        totals = [_Series(f"{self._name}{total}", self._labels, self._values) for total in ("_count", "_sum")]
        return buckets + totals


def _head(name: str, kind: str, help_text: str, *, quotes: bool = False) -> str:
    escaped = help_text.replace("\\", r"\\").replace("\n", r"\n")
    if quotes:
        escaped = escaped.replace('"', r"\"")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def _prefix(name: str, labels: Sequence[str], values: Sequence[str]) -> str:
    pairs = sorted(zip(labels, values, strict=True))
    inside = ",".join(f'{label}="{_escape(value)}"' for label, value in pairs)
    return f"{name}{{{inside}}} " if inside else f"{name} "


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def page(texts: Iterable[str], form: Format) -> bytes:
    """Put a page together. What is not valid Unicode becomes `?`, so that one bad name costs one name."""
    end = "# EOF\n" if form == "openmetrics" else ""
    return "".join([*texts, end]).encode("utf-8", "replace")
