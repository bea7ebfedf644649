"""
Parser of Prometheus text and OpenMetrics pages, with a cache of series.

Pages repeat the same `name{labels}` bytes in every scrape, so these bytes are the key of a cache, and only
the number is parsed each time. Values are returned unchanged: the caller decides about NaN.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator

from msgspec import Struct

from perwatt_agent.net.failures import reasons

PAGE_REASONS = reasons("html", "json", "binary", "not_metrics", "too_many_lines")

_LABEL = rb'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*'
_ANY_LABEL = _LABEL.replace(b"([", b"(?:[")
_NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL_PAIR = re.compile(_LABEL)
_LINE = re.compile(
    rb"[ \t]*"
    rb"(" + _NAME + rb"(?:(?=[ \t])|[ \t]*\{(?:" + _ANY_LABEL + rb"(?:,|(?=\})))*[ \t]*\}))"  # the series
    rb"[ \t]*([^ \t\r#]+)"  # its value
    rb"(?:[ \t]+[-+0-9.eE]+)?"  # a timestamp, which is ignored
    rb"[ \t]*(?:#[ \t]*\{.*)?\r?"  # an exemplar, which is ignored
)
_ESCAPE = re.compile(r"\\([\\n\"])")
_COMMENT = ord("#")
_TYPE_LINE = b"\n# TYPE "
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")
SLICE_LINES = 500
SLICE_BYTES = 128 * 1024
"""Slices of a page take about ten milliseconds if all their lines are new."""
_MAX_LINE_BYTES = 64 * 1024
_KEY_OVERHEAD_BYTES = 128


class PageError(Exception):
    """The page as a whole is no page of metrics; `reason` is one of PAGE_REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Series(Struct, frozen=True, cache_hash=True):
    """A metric name with its labels, sorted by label name."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def label(self, name: str) -> str:
        """Return the value of the label *name*; an absent label is an empty one, as in Prometheus."""
        for key, value in self.labels:
            if key == name:
                return value
        return ""


class PageParser:
    """
    Parses pages of one source, or of several similar ones, and keeps only the *wanted* metric names.

    If every sample of the source is below the TYPE line of its family, *families* may list the families to
    read, named as in TYPE lines. All lines below other TYPE lines are skipped, valid or not. A page of more
    than *max_lines* is read in this way too if *wanted* is a set of names, and the rest must be shorter.

    The cache has two generations of about *cache_bytes* of keys each. A key in use moves to the young
    generation, and unused keys are dropped: pages with changing labels cost time, but no memory.
    """

    def __init__(
        self,
        wanted: Callable[[str], bool] | Collection[str],
        *,
        families: Collection[str] | None = None,
        cache_bytes: int = 1024 * 1024,
        max_lines: int = 200_000,
    ) -> None:
        names = frozenset[str]() if callable(wanted) else frozenset(wanted)
        self._wants = wanted if callable(wanted) else names.__contains__
        self._families = None if families is None else frozenset(name.encode() for name in families)
        self._wanted_families = frozenset(name.encode() for name in _families_of(names))
        self._cache_bytes = cache_bytes
        self._max_lines = max_lines
        # Keys to their series, or to None if not wanted.
        self._young: dict[bytes, Series | None] = {}
        self._old: dict[bytes, Series | None] = {}
        self._young_bytes = 0
        self.malformed_lines = 0

    def parse(self, page: bytes) -> list[tuple[Series, float]]:
        """
        Return the wanted samples of *page* in order, duplicates included.

        Malformed lines are skipped and added to `malformed_lines`, which counts since the parser was made.
        Raises PageError if they are the majority, or if *page* is not a metrics page.
        """
        lines = self._lines(page)
        *_, samples = self._slices(lines, len(lines))
        return samples

    def slices(self, page: bytes) -> Iterator[list[tuple[Series, float]]]:
        """
        The same in slices of lines: yield the samples up to each of them, at last all.

        Between two slices the caller may do other work, or stop.
        """
        lines = self._lines(page)
        longest = max(map(len, lines))
        yield from self._slices(lines, max(1, min(SLICE_LINES, SLICE_BYTES // max(1, longest))))

    def _slices(self, lines: list[bytes], step: int) -> Iterator[list[tuple[Series, float]]]:
        samples: list[tuple[Series, float]] = []
        bad = good = 0
        for start in range(0, len(lines), step):
            if start:
                yield samples
            malformed, read = self._parse(lines[start : start + step], samples)
            bad, good = bad + malformed, good + read
        self.malformed_lines += bad
        if bad > good:
            raise PageError("not_metrics", f"{bad} of {bad + good} lines are not samples")
        yield samples

    def _parse(self, lines: list[bytes], samples: list[tuple[Series, float]]) -> tuple[int, int]:
        """Add the wanted samples among *lines*; return how many lines are malformed, and how many are not."""
        good = bad = 0
        for line in lines:
            if not line or line[0] == _COMMENT:
                continue
            # A known key was matched in full before, so the rest of the line is the value.
            key, _, number = line.rpartition(b" ")
            try:
                if (series := self._young[key]) is None:
                    good += 1
                    continue
                value = _float(number)
            except (KeyError, ValueError):
                try:
                    series, value = self._read(line)
                except ValueError:
                    bad += bool(line.strip())
                    continue
            good += 1
            if series is not None:
                samples.append((series, value))
        return bad, good

    def _lines(self, page: bytes) -> list[bytes]:
        """Return the lines of *page* that may be wanted. Raises PageError if it is none, or has too many."""
        self._refuse_other_kinds(page)
        if self._families is not None:
            if page.count(b"\n") <= self._max_lines:
                return _only(page, self._families).split(b"\n")
        else:
            # No more pieces than are allowed, and one: to count the lines first takes as long as to split.
            lines = page.split(b"\n", self._max_lines + 1)
            if len(lines) > self._max_lines + 1 and self._wanted_families:
                lines = _only(page, self._wanted_families).split(b"\n", self._max_lines + 1)
            if len(lines) <= self._max_lines + 1:
                return lines
        raise PageError("too_many_lines", f"the page has more than {self._max_lines} lines")

    def _refuse_other_kinds(self, page: bytes) -> None:
        start = page[:64].lstrip()
        if start.startswith(b"<"):
            raise PageError("html", "the page is HTML, not metrics; is this the right path?")
        if start.startswith((b"{", b"[")):
            raise PageError("json", "the page is JSON, not metrics; is this the right path?")
        if b"\0" in page:
            raise PageError("binary", "the page is binary, not text")

    def _read(self, line: bytes) -> tuple[Series | None, float]:
        """Parse a line whose series is new, or that has more than a series and a value."""
        if line.lstrip().startswith(b"#"):
            return None, 0.0
        match = _LINE.fullmatch(line) if len(line) <= _MAX_LINE_BYTES else None
        if match is None:
            raise ValueError(line)
        key, number = match.groups()
        value = _float(number)
        return self._series(key), value

    def _series(self, key: bytes) -> Series | None:
        if key in self._young:
            return self._young[key]
        series = self._old[key] if key in self._old else self._make_series(key)
        if self._young_bytes > self._cache_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = series
        self._young_bytes += len(key) + _KEY_OVERHEAD_BYTES
        return series

    def _make_series(self, key: bytes) -> Series | None:
        brace = key.find(b"{")
        name = (key if brace < 0 else key[:brace].rstrip()).decode()
        if not self._wants(name):
            return None
        pairs = _LABEL_PAIR.findall(key, brace) if brace >= 0 else []
        labels = sorted((sys.intern(label.decode()), sys.intern(_unescape(text))) for label, text in pairs)
        if len(dict(labels)) < len(labels):
            raise ValueError(key)
        return Series(sys.intern(name), tuple(labels))


def _only(page: bytes, families: Collection[bytes]) -> bytes:
    """Return the part of *page* that is above all TYPE lines, and below those of *families*."""
    untyped, *typed = (b"\n" + page).split(_TYPE_LINE)
    wanted = [family for family in typed if family[: family.find(b" ")] in families]
    return b"\n# ".join((untyped, *wanted))


def _families_of(names: Collection[str]) -> frozenset[str]:
    """Return the names that TYPE lines may have above samples of these names."""
    bare = (name.removesuffix(suffix) for name in names for suffix in _SUFFIXES)
    return frozenset(names).union(bare)


def _float(number: bytes) -> float:
    if b"_" in number:  # valid in Python, not in Prometheus
        raise ValueError(number)
    return float(number)


def _unescape(text: bytes) -> str:
    decoded = text.decode()
    if "\\" not in decoded:
        return decoded
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], decoded)
