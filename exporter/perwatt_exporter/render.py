"""
Samples to bytes: Prometheus's text format 0.0.4 and OpenMetrics 1.0.

The lines of the samples are the same in both; only what stands above and below them differs.
"""

import math
from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any, Generic, TypeVar

from msgspec import Struct

from perwatt_agent.snapshot import Histogram
from perwatt_exporter.family import Basis, Collected, Family, Sample
from perwatt_exporter.negotiate import Format

S = TypeVar("S")

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


class Block(Struct, frozen=True):
    """One family's part of a page: its heads in both formats, and the lines of its samples."""

    text_head: str
    openmetrics_head: str
    lines: str


class Renderer(Generic[S]):
    """
    Renders families over snapshots, and remembers from page to page the labels and the line of each
    series, and the whole block of families whose basis stays.
    """

    def __init__(self) -> None:
        self._writers: dict[str, _FamilyWriter] = {}
        self._facts: dict[Basis[S], tuple[object, ...]] = {}

    def blocks(self, collected: Iterable[Collected[Any]]) -> tuple[Block, ...]:
        """Render what was collected; a family without samples does not appear."""
        written = (self._writer(family).write(samples) for family, samples in collected)
        return tuple(block for block in written if block.lines)

    def blocks_of(self, families: Iterable[Family[S]], snapshot: S) -> tuple[Block, ...]:
        """Render all that *families* read from *snapshot*, those alone whose basis did not stay."""
        stays: dict[Basis[S], bool] = {}
        written = []
        for family in families:
            writer, basis = self._writer(family), family.basis
            if basis is not None and basis not in stays:
                stays[basis] = self._stays(basis, snapshot)
            block = writer.block if basis is not None and stays[basis] else None
            written.append(block or writer.write(family.read(snapshot)))
        return tuple(block for block in written if block.lines)

    def _stays(self, basis: Basis[S], snapshot: S) -> bool:
        """Whether these facts are the very objects of the page before."""
        facts, before = basis(snapshot), self._facts.get(basis, ())
        self._facts[basis] = facts
        return len(facts) == len(before) and all(map(is_, facts, before))

    def _writer(self, family: Family[Any]) -> "_FamilyWriter":
        writer = self._writers.get(family.name)
        if writer is None:
            writer = self._writers[family.name] = _FamilyWriter(family)
        return writer


class _FamilyWriter:
    """What of one family stays the same from page to page."""

    def __init__(self, family: Family[Any]) -> None:
        self._name = family.name
        self._labels = family.labels
        self._series_type = _HistogramSeries if family.kind == "histogram" else _Series
        self._text_head = _head(family.name, "gauge" if family.kind == "info" else family.kind, family.help)
        self._openmetrics_head = _head(family.stem, family.kind, family.help, quotes=True)
        self._series: dict[tuple[str, ...], _Series | _HistogramSeries] = {}
        self.block: Block | None = None

    def write(self, samples: Iterable[Sample]) -> Block:
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
        self.block = Block(self._text_head, self._openmetrics_head, "".join(lines))
        return self.block


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


def page(blocks: Iterable[Block], form: Format) -> bytes:
    """Put a page together. What is not valid Unicode becomes `?`, so that one bad name costs one name."""
    if form == "openmetrics":
        parts = [part for block in blocks for part in (block.openmetrics_head, block.lines)]
        parts.append("# EOF\n")
    else:
        parts = [part for block in blocks for part in (block.text_head, block.lines)]
    return "".join(parts).encode("utf-8", "replace")
