"""Keep the newest of some bytes on disk, cheaply, through any crash: two files, written in turn."""

import os
import zlib
from pathlib import Path


class Damaged(Exception):
    """There are files, but none that was written whole."""


class Slots:
    """
    Two files in a folder. Each write goes over the older one, in place: making a file anew and renaming it
    costs eight times as much. What a crash left half-written does not match its checksum, and the other
    file holds what was written before.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._files = tuple(_File(folder / f"{name}.{place}") for place in range(2))
        self._number = 0

    def read(self) -> bytes | None:
        """What was written last, or None when there is nothing. Raises Damaged and OSError."""
        contents = [content for file in self._files if (content := file.read()) is not None]
        whole = [written for content in contents if (written := _unpacked(content)) is not None]
        if contents and not whole:
            raise Damaged("it was not written whole")
        number, newest = max(whole, default=(self._number, None))
        self._number = number
        return newest

    def write(self, content: bytes) -> None:
        """Keep *content*; what was kept before outlives a write that fails. Raises OSError."""
        number = self._number + 1
        self._files[number % 2].overwrite(_head(number, content) + content)
        self._number = number


class _File:
    """A file that stays open from write to write; what is left behind its end is of older writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def overwrite(self, content: bytes) -> None:
        # Somebody may have deleted it meanwhile.
        if self._descriptor is None or os.fstat(self._descriptor).st_nlink == 0:
            self._open()
        assert self._descriptor is not None
        done = 0
        while done < len(content):  # a full disk takes a part, and then says that it is full
            done += os.pwrite(self._descriptor, content[done:], done)

    def _open(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o644)
        except FileNotFoundError:  # no folder yet, or no more
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, flags, 0o644)


def _unpacked(content: bytes) -> tuple[int, bytes] | None:
    """The number of a write and what was written; None when that was not done to its end."""
    head, _, rest = content.partition(b"\n")
    try:
        _, number, size, _ = head.split(b" ")
        written = rest[: int(size)]
        return (int(number), written) if head + b"\n" == _head(int(number), written) else None
    except ValueError:
        return None


def _head(number: int, content: bytes) -> bytes:
    return b"perwatt %d %d %08x\n" % (number, len(content), zlib.crc32(content, number & 0xFFFF_FFFF))
