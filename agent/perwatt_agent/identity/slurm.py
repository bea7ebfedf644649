"""
Slurm job map: which job holds which GPU, from a folder that a prolog writes and an epilog cleans.

There is one file for each GPU, named by the number of its device node (`0` is /dev/nvidia0), or for each MIG
slice (`0.7`: GPU and GPU instance). Each line of a file is a job id.
"""

import logging
import re
from pathlib import Path

from msgspec import Struct

logger = logging.getLogger(__name__)

_FILE_NAME = r"(\d{1,4})(?:\.\d{1,4})?"
_JOB = r"(?a)[\w.+:\[\]-]{1,64}"
_MAX_FILES = 1024
_MAX_BYTES = 16 * 1024


class _File(Struct, frozen=True):
    """The jobs in one file, and the stamp of the file when it was read."""

    stamp: tuple[int, int, int]
    jobs: frozenset[str]


class SlurmJobMap:
    """Jobs by GPU from the files of *folder*; a file is read again only after a change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._failure = ""

    def jobs(self, device_number: int) -> frozenset[str]:
        """Return the jobs that hold the GPU or a slice of it; none if unknown."""
        self._refresh()
        found = [
            file.jobs for name, file in self._files.items() if int(name.partition(".")[0]) == device_number
        ]
        return frozenset[str]().union(*found)

    def _refresh(self) -> None:
        failure = ""
        files: dict[str, _File] = {}
        try:
            for path in self._paths():
                files[path.name] = _read(path, self._files.get(path.name))
        except OSError as error:
            failure = error.strerror or str(error)
            if failure != self._failure:
                logger.warning(
                    "cannot read Slurm jobs from %s: %s; check identity.hpc_job_mapping_dir",
                    self._folder,
                    failure,
                )
        self._files, self._failure = files, failure

    def _paths(self) -> list[Path]:
        paths = []
        for path in self._folder.iterdir():
            if re.fullmatch(_FILE_NAME, path.name) and path.is_file():
                paths.append(path)
            if len(paths) >= _MAX_FILES:
                break
        return paths


def _read(path: Path, before: _File | None) -> _File:
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if before is not None and before.stamp == stamp:
            return before
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:  # an epilog removed it meanwhile
        return _File((0, 0, 0), frozenset())
    lines = (line.strip() for line in text.splitlines())
    return _File(stamp, frozenset(line for line in lines if re.fullmatch(_JOB, line)))
