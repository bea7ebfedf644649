"""Folder of text files with the totals of jobs, like node_exporter's textfile collector."""

import os
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from perwatt_agent.net.prometheus_text import PageError, PageParser, Series
from perwatt_agent.work.report import WorkReport

FAMILY = "perwatt_work_total"
STALE_SECONDS = 300.0
MAX_FILES = 256
MAX_FILE_BYTES = 256 * 1024
MAX_LINES = 5000
_LABELS = frozenset(("job", "unit", "gpus", "model", "role", "rank"))


class Problem(Struct, frozen=True):
    """A file, or a line of it, that cannot be used; `reason` is a word from a closed list, for labels."""

    file: str
    reason: str
    message: str


class FileReport(Struct, frozen=True):
    """The reports in one file, written at `unix_seconds`."""

    file: str
    unix_seconds: float
    reports: tuple[WorkReport, ...]


class FolderScan(Struct, frozen=True):
    """Result of one read of the folder: files that are new or were replaced, and all current problems."""

    files: tuple[FileReport, ...]
    problems: tuple[Problem, ...]


class TextfileReader:
    """
    Reads the `*.prom` files of a folder. A file is read again only after it was replaced.

    Files must be replaced as a whole, by a rename. A hung folder blocks the caller. A file that was not
    written for five minutes is stale: its writer has ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[int, int, int]] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._owners: dict[tuple[str, str, int | None], str] = {}

    def scan(self, unix_seconds: float) -> FolderScan:
        """Read every file once, ordered by name."""
        try:
            names = sorted(path.name for path in self._folder.iterdir() if _is_ours(path.name))
        except OSError as error:
            return FolderScan((), (Problem("", "folder", f"{self._folder}: {error.strerror}"),))
        problems = []
        if len(names) > MAX_FILES:
            problems.append(Problem("", "too_many_files", f"{self._folder} has more than {MAX_FILES} files"))
        names = names[:MAX_FILES]
        for gone in (self._read.keys() | self._problems.keys()) - set(names):
            self._forget(gone)
        reports = [report for name in names if (report := self._read_new(name, unix_seconds))]
        problems += [one for name in names for one in self._problems.get(name, ())]
        return FolderScan(tuple(reports), tuple(problems))

    def _read_new(self, name: str, unix_seconds: float) -> FileReport | None:
        """Return the reports of a file if it is new, and record its problems."""
        try:
            text, facts = _read_file(self._folder / name)
        except (OSError, ValueError) as error:
            self._reject(name, "unreadable", str(error))
            return None
        if unix_seconds - facts.st_mtime > STALE_SECONDS:
            self._reject(name, "stale", f"not written for {STALE_SECONDS / 60.0:g} minutes")
            return None
        version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if self._read.get(name) == version:
            return None
        self._forget(name)
        self._read[name] = version
        reports, problems = _reports(name, text)
        owned = tuple(report for report in reports if self._own(report, name))
        if len(owned) < len(reports):
            problems += (
                Problem(name, "duplicate", "has series that another file reports; these are left out"),
            )
        self._problems[name] = problems
        return FileReport(name, facts.st_mtime, owned)

    def _reject(self, name: str, reason: str, message: str) -> None:
        self._forget(name)
        self._problems[name] = (Problem(name, reason, message),)

    def _forget(self, name: str) -> None:
        self._read.pop(name, None)
        self._problems.pop(name, None)
        self._owners = {series: owner for series, owner in self._owners.items() if owner != name}

    def _own(self, report: WorkReport, name: str) -> bool:
        """Return whether the file owns this series: two writers of one series would look like restarts."""
        series = (report.job, report.unit, report.rank)
        is_first = series not in self._owners
        self._owners.setdefault(series, name)
        return is_first


def _is_ours(name: str) -> bool:
    return name.endswith(".prom") and not name.startswith(".")


def _read_file(path: Path) -> tuple[bytes, os.stat_result]:
    # Without blocking: opening a pipe would otherwise wait for its writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("not a regular file")
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return text, facts


def _reports(name: str, text: bytes) -> tuple[tuple[WorkReport, ...], tuple[Problem, ...]]:
    """Return the reports of one file, and its problems."""
    parser = PageParser((FAMILY,), max_lines=MAX_LINES)
    try:
        samples = parser.parse(text)
    except PageError as error:
        return (), (Problem(name, error.reason, str(error)),)
    reports: list[WorkReport] = []
    problems: list[Problem] = []
    if parser.malformed_lines:
        problems.append(Problem(name, "malformed", f"{parser.malformed_lines} lines are not samples"))
    for series, value in samples:
        try:
            reports.append(_report(series, value))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(Problem(name, "invalid", f"{FAMILY}{dict(series.labels)} {value}: {error}"))
    return tuple(reports), tuple(problems)


def _report(series: Series, value: float) -> WorkReport:
    labels = {label: text for label, text in series.labels if text}
    unknown = labels.keys() - _LABELS
    if unknown:
        raise ValueError(f"unknown label {min(unknown)}")
    fields: dict[str, object] = {"total": value, **labels}
    if "gpus" in labels and labels["gpus"] != "all":
        fields["gpus"] = [
            int(gpu) if gpu.isascii() and gpu.isdigit() else gpu for gpu in labels["gpus"].split("+")
        ]
    if "rank" in labels:
        fields |= {"rank": int(labels["rank"]), "scope": "rank"}
    return msgspec.convert(fields, WorkReport)
