"""Targets from files: each file of a pattern is read when it has changed and is at rest."""

import glob
from pathlib import Path

from perwatt_aggregator.targets.config import FileSdConfig
from perwatt_aggregator.targets.source import SourceFailed
from perwatt_aggregator.targets.target import Target
from perwatt_aggregator.targets.target_lists import MAX_LIST_BYTES, BadList, parse_json, parse_yaml

POLL_SECONDS = 1.0
MAX_FILES = 1000

_Stamp = tuple[int, int, int]


class FileTargets:
    """
    The targets of all files that match, as a `TargetReader`.

    A file that changes is read once it has not changed for one poll: a writer may stop in its middle, and the
    first half of a YAML list is a YAML list. A file that cannot be read keeps its last good list. A file of a
    pattern that is deleted has no targets any more; one that is configured by its own name keeps them.
    """

    interval_seconds = POLL_SECONDS

    def __init__(self, config: FileSdConfig, setting: str) -> None:
        self._config = config
        self.setting = setting
        self._is_pattern = glob.has_magic(config.files)
        self._files: dict[Path, _File] = {}
        self._is_first = True

    async def read(self) -> tuple[Target, ...]:
        """The targets of all files. Raises SourceFailed if a file cannot be read."""
        paths = self._paths()
        for path in paths:
            self._files.setdefault(path, _File(path, self._config)).update(is_first=self._is_first)
        self._is_first = False
        for path in self._files.keys() - set(paths):
            if self._files[path].has_been_absent():
                del self._files[path]
        files = [self._files[path] for path in sorted(self._files)]
        targets = tuple(target for file in files for target in file.targets or ())
        failures = [file.failure for file in files if file.failure]
        if failures:
            whole = all(file.targets is not None for file in files)
            raise SourceFailed("; ".join(failures[:3]), targets, is_whole=whole)
        return targets

    def _paths(self) -> list[Path]:
        if not self._is_pattern:
            return [Path(self._config.files)]
        found = sorted(glob.glob(self._config.files))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if len(found) > MAX_FILES:
            raise SourceFailed(f"{len(found)} files match {self._config.files}, more than {MAX_FILES}")
        return list(map(Path, found))


class _File:
    """One file: its last good list, None if there is none, and why the latest one is not read."""

    def __init__(self, path: Path, config: FileSdConfig) -> None:
        self._path = path
        self._config = config
        self._seen: _Stamp | None = None
        self._read: _Stamp | None = None
        self._is_absent = False
        self.targets: tuple[Target, ...] | None = None
        self.failure = ""

    def update(self, *, is_first: bool) -> None:
        """Read the file if it has changed since the last read, and not since the last poll."""
        self._is_absent = False
        try:
            stamp, before = self._stamp(), self._seen
            self._seen = stamp
            if stamp != self._read and (is_first or stamp == before):
                self._load(stamp)
        except OSError as error:
            self.failure = f"{self._path}: {error.strerror}"

    def has_been_absent(self) -> bool:
        """Whether the file was not there in the last poll either."""
        was_absent, self._is_absent = self._is_absent, True
        return was_absent

    def _load(self, stamp: _Stamp) -> None:
        """Raises OSError."""
        document = self._path.read_bytes() if stamp[1] <= MAX_LIST_BYTES else b""
        if self._stamp() != stamp:
            return
        parse = parse_json if self._path.suffix == ".json" else parse_yaml
        try:
            if stamp[1] > MAX_LIST_BYTES:
                raise BadList(f"expected at most {MAX_LIST_BYTES} bytes")
            self.targets = parse(document, self._config)
        except BadList as error:
            self.failure = f"{self._path}: {error}"[:500]
        else:
            self.failure = ""
        self._read = stamp

    def _stamp(self) -> _Stamp:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
