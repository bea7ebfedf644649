"""A folder of text files in which jobs leave their totals, as node_exporter has one."""

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
    """A file, or a line of it, that could not be used; `reason` is a short closed word for labels."""

    file: str
    reason: str
    message: str


class FileReport(Struct, frozen=True):
    """What one file says, written at `unix_seconds`."""

    file: str
    unix_seconds: float
    posts: tuple[WorkReport, ...]


class Scan(Struct, frozen=True):
    """One look at the folder: the files that are new or were replaced, and all that is wrong now."""

    reports: tuple[FileReport, ...]
    problems: tuple[Problem, ...]


class TextfileReader:
    """
    Read the `*.prom` files of a folder, each again only when it was replaced.

    Files must be replaced as a whole, by a rename. Blocks as long as the folder does. A file that was
    last written more than five minutes ago is stale: whoever wrote it has gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[int, int, int]] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._owners: dict[tuple[str, str, int | None], str] = {}

    def scan(self, unix_seconds: float) -> Scan:
        """Look at every file once, in the order of their names."""
        try:
            names = sorted(path.name for path in self._folder.iterdir() if _is_ours(path.name))
        except OSError as error:
            return Scan((), (Problem("", "folder", f"{self._folder}: {error.strerror}"),))
        problems = []
        if len(names) > MAX_FILES:
            problems.append(Problem("", "too_many_files", f"{self._folder} has more than {MAX_FILES} files"))
        names = names[:MAX_FILES]
        for gone in (self._read.keys() | self._problems.keys()) - set(names):
            self._forget(gone)
        reports = [report for name in names if (report := self._look(name, unix_seconds))]
        problems += [one for name in names for one in self._problems.get(name, ())]
        return Scan(tuple(reports), tuple(problems))

    def _look(self, name: str, unix_seconds: float) -> FileReport | None:
        """What a file says, if it is new; notes what is wrong with it."""
        try:
            text, facts = _read_file(self._folder / name)
        except (OSError, ValueError) as error:
            self._refuse(name, "unreadable", str(error))
            return None
        if unix_seconds - facts.st_mtime > STALE_SECONDS:
            self._refuse(name, "stale", f"not written for {STALE_SECONDS / 60.0:g} minutes")
            return None
        version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if self._read.get(name) == version:
            return None
        self._forget(name)
        self._read[name] = version
        posts, problems = _posts(name, text)
        owned = tuple(post for post in posts if self._own(post, name))
        if len(owned) < len(posts):
            problems += (Problem(name, "duplicate", "has series that were told before; those are left out"),)
        self._problems[name] = problems
        return FileReport(name, facts.st_mtime, owned)

    def _refuse(self, name: str, reason: str, message: str) -> None:
        self._forget(name)
        self._problems[name] = (Problem(name, reason, message),)

    def _forget(self, name: str) -> None:
        self._read.pop(name, None)
        self._problems.pop(name, None)
        self._owners = {series: owner for series, owner in self._owners.items() if owner != name}

    def _own(self, post: WorkReport, name: str) -> bool:
        """Whether the file is the first to tell of this series: two in turns would look like restarts."""
        series = (post.job, post.unit, post.rank)
        is_first = series not in self._owners
        self._owners.setdefault(series, name)
        return is_first


def _is_ours(name: str) -> bool:
    return name.endswith(".prom") and not name.startswith(".")


def _read_file(path: Path) -> tuple[bytes, os.stat_result]:
    # Without waiting: a pipe of that name would let us wait for its writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("not a regular file")
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return text, facts


def _posts(name: str, text: bytes) -> tuple[tuple[WorkReport, ...], tuple[Problem, ...]]:
    """The reports of one file, and what in it is none."""
    parser = PageParser((FAMILY,), max_lines=MAX_LINES)
    try:
        samples = parser.parse(text)
    except PageError as error:
        return (), (Problem(name, error.reason, str(error)),)
    posts: list[WorkReport] = []
    problems: list[Problem] = []
    if parser.malformed_lines:
        problems.append(Problem(name, "malformed", f"{parser.malformed_lines} lines are no samples"))
    for series, value in samples:
        try:
            posts.append(_post(series, value))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(Problem(name, "invalid", f"{FAMILY}{dict(series.labels)} {value}: {error}"))
    return tuple(posts), tuple(problems)


def _post(series: Series, value: float) -> WorkReport:
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
