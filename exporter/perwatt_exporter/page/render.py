"""
Samples to bytes: Prometheus's text format 0.0.4 and OpenMetrics 1.0.

The lines of the samples are the same in both; only what stands above and below them differs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
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
    series, and the text of families one after the other whose basis stays.
    """

    def __init__(self, families: Iterable[Family[S]] = ()) -> None:
        by_basis = groupby(families, key=lambda family: family.basis)
        self._runs = [_Run(basis, [_FamilyWriter(family) for family in run]) for basis, run in by_basis]
        self._facts: dict[Basis[S], tuple[object, ...]] = {
            run.basis: () for run in self._runs if run.basis is not None
        }
        self._writers: dict[str, _FamilyWriter[Any]] = {}

    def collected(self, collected: Iterable[Collected[Any]], form: Format) -> list[str]:
        """Render what was collected, of whatever families."""
        texts: list[str] = []
        for family, samples in collected:
            if family.name not in self._writers:
                self._writers[family.name] = _FamilyWriter(family)
            writer = self._writers[family.name]
            texts += writer.under_head(writer.write(samples), form)
        return texts

    def snapshot(self, snapshot: S, form: Format) -> list[str]:
        """Render all that the families read from *snapshot*, those alone whose basis did not stay."""
        for basis in self._facts:
            self._look_at(basis, snapshot)
        look = _Look(snapshot)
        return [text for run in self._runs for text in run.texts(look, form)]

    def _look_at(self, basis: Basis[S], snapshot: S) -> None:
        """Let what is made of these facts go, unless they are the very objects of the page before."""
        facts, before = basis(snapshot), self._facts[basis]
        self._facts[basis] = facts
        if len(facts) != len(before) or not all(map(is_, facts, before)):
            for run in self._runs:
                if run.basis is basis:
                    run.forget()


class _Look(Generic[S]):
    """A snapshot, and the rows of tables that were found in it: many tables share theirs."""

    def __init__(self, snapshot: S) -> None:
        self.snapshot = snapshot
        self._rows: dict[Callable[[S], Rows[Any]], Rows[Any]] = {}

    def rows(self, find: Callable[[S], Rows[Any]]) -> Rows[Any]:
        rows = self._rows.get(find)
        if rows is None:
            rows = self._rows[find] = find(self.snapshot)
        return rows


class _Run(Generic[S]):
    """Families one after the other that have the same basis, and their text as long as that stays."""

    def __init__(self, basis: Basis[S] | None, writers: "Sequence[_FamilyWriter[S]]") -> None:
        self.basis = basis
        self._writers = writers
        self._kept: dict[Format, list[str]] = {}

    def texts(self, look: _Look[S], form: Format) -> list[str]:
        texts = self._kept.get(form)
        if texts is None:
            texts = [text for writer in self._writers for text in writer.under_head(writer.read(look), form)]
            if self.basis is not None:
                texts = self._kept[form] = ["".join(texts)]
        return texts

    def forget(self) -> None:
        self._kept.clear()


class _FamilyWriter(Generic[S]):
    """What of one family stays the same from page to page."""

    def __init__(self, family: Family[S]) -> None:
        self._name = family.name
        self._labels = family.labels
        self._read = family.read
        self._series_type = _HistogramSeries if family.kind == "histogram" else _Series
        text_kind = "gauge" if family.kind == "info" else family.kind
        self._heads: dict[Format, str] = {
            "text": _head(family.name, text_kind, family.help),
            "openmetrics": _head(family.stem, family.kind, family.help, quotes=True),
        }
        self._series: dict[tuple[str, ...], _Series | _HistogramSeries] = {}
        self._places: list[tuple[str, ...]] = []
        self._line_up: list[_Series] = []
        self._amounts: list[float | None] = []
        self._lines = ""

    def under_head(self, lines: str, form: Format) -> tuple[str, ...]:
        """A family's part of a page; one without samples does not appear."""
        return (self._heads[form], lines) if lines else ()

    def read(self, look: _Look[S]) -> str:
        """The lines of what the family reads from a snapshot."""
        if isinstance(self._read, Table):
            return self._write_table(look.rows(self._read.rows), self._read.columns)
        return self.write(self._read(look.snapshot))

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

    def _write_table(self, rows: Rows[T], columns: Columns[T]) -> str:
        """The lines of a table: the same as before while its amounts are, else those that changed anew."""
        amounts = [amount_of(facts) for _, facts in rows for _, amount_of in columns]
        places = [row for row, _ in rows]
        if places != self._places:
            self._places = places
            self._line_up = [
                _Series(self._name, self._labels, (*row, *labels)) for row in places for labels, _ in columns
            ]
        elif amounts == self._amounts:
            return self._lines
        self._amounts = amounts
        lines = []
        for series, amount in zip(self._line_up, amounts, strict=True):
            if amount is not None:
                if amount != series.value:
                    series.write(amount)
                lines.append(series.lines)
        self._lines = "".join(lines)
        return self._lines


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
