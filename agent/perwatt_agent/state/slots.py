"""Crash-safe storage for a small content: two files, written in turn."""

import os
import zlib
from contextlib import suppress
from pathlib import Path


class Damaged(Exception):
    """There are files, but none is complete."""


class Slots:
    """
    Two files in a folder. Each write replaces the content of the older one, in place: to create a file and
    rename it costs eight times as much. After a crash during a write the checksum does not match, and the
    other file holds the content before.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._files = tuple(_File(folder / f"{name}.{place}") for place in range(2))
        self._number = 0

    def read(self) -> bytes | None:
        """The newest content, or None when there is none. Raises Damaged and OSError."""
        contents = [content for file in self._files if (content := file.read()) is not None]
        whole = [written for content in contents if (written := _unpacked(content)) is not None]
        if contents and not whole:
            raise Damaged("it is incomplete")
        number, newest = max(whole, default=(self._number, None))
        self._number = number
        return newest

    def write(self, content: bytes) -> None:
        """Store *content*. A write that fails leaves the content before. Raises OSError."""
        number = self._number + 1
        self._files[number % 2].overwrite(_head(number, content) + content)
        self._number = number

    def remove(self) -> None:
        """Remove the content as far as possible: what is old must not be taken for what is new."""
        for file in self._files:
            file.remove()


class _File:
    """A file that stays open. Bytes after the end of its content are left from older writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    def overwrite(self, content: bytes) -> None:
        # It may have been deleted meanwhile.
        if self._descriptor is None or os.fstat(self._descriptor).st_nlink == 0:
            self._open()
        assert self._descriptor is not None
        done = 0
        while done < len(content):  # a full disk takes a part, and then fails
            done += os.pwrite(self._descriptor, content[done:], done)

    def _open(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o644)
        except FileNotFoundError:  # the folder does not exist
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, flags, 0o644)


def _unpacked(content: bytes) -> tuple[int, bytes] | None:
    """The number and the content of a write; None when the write is incomplete."""
    head, _, rest = content.partition(b"\n")
    try:
        _, number, size, _ = head.split(b" ")
        written = rest[: int(size)]
        return (int(number), written) if head + b"\n" == _head(int(number), written) else None
    except ValueError:
        return None


def _head(number: int, content: bytes) -> bytes:
    return b"perwatt %d %d %08x\n" % (number, len(content), zlib.crc32(content, number & 0xFFFF_FFFF))
