"""Source of targets: the Protocol of each kind, with the last good list and the health of its reads."""

import logging
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_aggregator.targets.target import Target

logger = logging.getLogger(__name__)


class SourceFailed(Exception):
    """
    The list could not be read; the message says why, and how to mend it.

    `targets` are those of the parts that have been read, now or before; None if no part has. `is_whole` if
    every part has been.
    """

    def __init__(
        self, message: str, targets: tuple[Target, ...] | None = None, *, is_whole: bool = False
    ) -> None:
        super().__init__(message)
        self.targets = targets
        self.is_whole = is_whole


class TargetReader(Protocol):
    """Reads one list of targets. `setting` is its place in the configuration."""

    setting: str
    interval_seconds: float

    async def read(self) -> tuple[Target, ...]:
        """The targets. Raises SourceFailed."""
        ...


class TargetSource:
    """
    Keeps the last good list of *reader*, whatever fails later.

    `targets` are empty until the first good list, and `is_known` is false until every part of it was read
    once. `failure` is why the latest read failed, None if it did not.
    """

    def __init__(self, reader: TargetReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self.setting = reader.setting
        self.interval_seconds = reader.interval_seconds
        self.targets: tuple[Target, ...] = ()
        self.is_known = False
        self.failure: str | None = None
        self.failures = 0
        self.last_success_unix: float | None = None

    @property
    def is_up(self) -> bool | None:
        """Whether the latest read succeeded; None before the first one."""
        if self.failure is None and self.last_success_unix is None:
            return None
        return self.failure is None

    async def refresh(self) -> bool:
        """Read the list; return whether it has changed. A failure is logged once."""
        try:
            targets = await self._reader.read()
        except SourceFailed as failed:
            self._fail(str(failed))
            return self._set(failed.targets, is_known=failed.is_whole)
        except Exception:
            # An unexpected error must not end the task that follows the source, and must be visible.
            logger.exception("reading the targets of %s failed; please report this", self.setting)
            self._fail("internal error, see the log")
            return False
        if self.failure is not None:
            logger.info("%s is read again", self.setting)
        self.failure = None
        self.last_success_unix = self._clock.unix()
        return self._set(targets, is_known=True)

    def _set(self, targets: tuple[Target, ...] | None, *, is_known: bool) -> bool:
        before = (self.targets, self.is_known)
        self.targets = self.targets if targets is None else targets
        self.is_known = self.is_known or is_known
        return before != (self.targets, self.is_known)

    def _fail(self, message: str) -> None:
        self.failures += 1
        if message != self.failure:
            logger.warning(
                "%s cannot be read: %s; its last %d targets stay", self.setting, message, len(self.targets)
            )
        self.failure = message
