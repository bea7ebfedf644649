"""
Limit of repeated log messages: of each kind the first few by name, then one count a minute.

A kind is the logger and the text of a message without its values; `extra={"kind": ...}` divides it further,
for example by the reason of a failure. So a hundred agents that flap write as many lines as a few.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio

MAX_NAMED = 5
PERIOD_SECONDS = 60.0

Kind = tuple[str, int, str, str]


class RepeatedMessage(Struct):
    """
    Messages of one kind since `started_unix`. Of more than `named_limit`, only the number and the newest are
    kept.
    """

    started_unix: float
    named_limit: int = MAX_NAMED
    messages: int = 0
    newest: logging.LogRecord | None = None

    @property
    def left_out(self) -> int:
        return max(0, self.messages - self.named_limit)

    def add(self, record: logging.LogRecord) -> bool:
        """Count a message; return whether it is within the limit."""
        self.messages += 1
        self.newest = record
        return self.messages <= self.named_limit

    def count_line(self, now_unix: float) -> logging.LogRecord | None:
        """The message that counts those that were left out; None if there are none."""
        if self.newest is None or not self.left_out:
            return None
        facts = {
            "name": self.newest.name,
            "levelno": self.newest.levelno,
            "levelname": self.newest.levelname,
            "msg": "%d more messages like this in %.0f s; the newest: %s",
            "args": (self.left_out, max(0.0, now_unix - self.started_unix), self.newest.getMessage()),
        }
        return logging.makeLogRecord(facts)


class RepeatLimit:
    """Counts messages by kind, each in periods of its own that begin with its first message."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, RepeatedMessage] = {}

    @property
    def has_left_out(self) -> bool:
        """Whether a message was left out that no count has yet."""
        return any(repeated.left_out for repeated in self._kinds.values())

    def admits(self, record: logging.LogRecord) -> bool:
        """Count a message; return whether it is to be written. Call `ended` before."""
        kind = (record.name, record.levelno, str(record.msg), str(getattr(record, "kind", "")))
        return self._kinds.setdefault(kind, RepeatedMessage(record.created)).add(record)

    def ended(self, now_unix: float, period_seconds: float = PERIOD_SECONDS) -> Iterator[logging.LogRecord]:
        """End the periods that are over, and return the counts of those with messages that were left out."""
        for kind, repeated in tuple(self._kinds.items()):
            # A clock that was set back ends a period too: otherwise it could last for hours.
            if 0.0 <= now_unix - repeated.started_unix < period_seconds:
                continue
            line = repeated.count_line(now_unix)
            # The names of a fault that goes on are known: its next period has a count alone.
            if line is not None and repeated.messages > MAX_NAMED:
                self._kinds[kind] = RepeatedMessage(now_unix, named_limit=0)
            else:
                del self._kinds[kind]
            if line is not None:
                yield line


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes messages within the limit, and the counts of the others once their minute is over."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._limit = RepeatLimit()
        self._timer: asyncio.TimerHandle | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self._limit.ended(record.created))
        if self._limit.admits(record):
            super().emit(record)
        else:
            self._start_timer()

    def close(self) -> None:
        """Write also the counts of the periods that are not over."""
        self._write(self._limit.ended(time.time(), period_seconds=0.0))
        super().close()

    def _write(self, records: Iterable[logging.LogRecord]) -> None:
        for record in records:
            super().emit(record)

    def _start_timer(self) -> None:
        """Have the counts written also if no further message comes; only a running loop has a timer."""
        # A process that has a loop has imported it: `perwatt --help` has none, and must not wait for it.
        asyncio = sys.modules.get("asyncio")
        if self._timer is not None or asyncio is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(PERIOD_SECONDS, self._end_periods)

    def _end_periods(self) -> None:
        self._timer = None
        self.acquire()
        try:
            self._write(self._limit.ended(time.time()))
            if self._limit.has_left_out:
                self._start_timer()
        finally:
            self.release()
