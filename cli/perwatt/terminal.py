"""Terminal: how wide it is, and whether it shows colours."""

import os
import shutil
from collections.abc import Mapping
from typing import TextIO

from msgspec import Struct

_MIN_WIDTH = 40


class Terminal(Struct, frozen=True):
    """Where a table goes. `width` is None if lines may be as long as they like."""

    width: int | None = None
    has_colours: bool = False

    @classmethod
    def of(cls, out: TextIO, environ: Mapping[str, str]) -> "Terminal":
        """The terminal behind *out*; a file and a pipe have neither width nor colours (https://no-color.org)."""
        if not out.isatty():
            return cls()
        columns = environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() and int(columns) else _columns(out)
        has_colours = not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
        return cls(max(_MIN_WIDTH, width), has_colours)

    def bold(self, text: str) -> str:
        return self._styled(text, "1")

    def green(self, text: str) -> str:
        return self._styled(text, "32")

    def red(self, text: str) -> str:
        return self._styled(text, "31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.has_colours else text


PLAIN = Terminal()


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns
