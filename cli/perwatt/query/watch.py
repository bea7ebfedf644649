"""Watching an answer: it is shown again and again until Ctrl-C."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from perwatt.errors import CommandError

# Cursor to the top left, and everything after it erased: no scrolling, and no flicker of a cleared screen.
_HOME, _ERASE_LINE, _ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(
    show: Callable[[], str], seconds: float, out: TextIO, sleep: Callable[[float], None] = time.sleep
) -> int:
    """
    Write what *show* returns to *out* every *seconds*, over itself on a terminal.

    An aggregator that cannot be reached is shown as such: it may come back. Ctrl-C ends it well.
    """
    in_place = out.isatty()
    if in_place:
        out.write("\x1b[2J")
    try:
        while True:
            try:
                text = show()
            except CommandError as error:
                text = f"perwatt: {error}"
            lines = f"{text}\n"
            if in_place:
                lines = _HOME + lines.replace("\n", f"{_ERASE_LINE}\n") + _ERASE_BELOW
            out.write(lines)
            out.flush()
            sleep(seconds)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        sys.stderr.close()
        return 0
