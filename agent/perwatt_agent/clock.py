"""Clocks, passed as an argument: the real one, and one that tests advance by hand."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, in seconds, and a way to wait on the monotonic one."""

    def monotonic(self) -> float: ...

    def unix(self) -> float: ...

    async def sleep_until(self, monotonic_seconds: float) -> None: ...


class SystemClock:
    """
    The machine's clock. Monotonic time counts from boot, so it is comparable across agent restarts.
    """

    def monotonic(self) -> float:
        return time.monotonic()

    def unix(self) -> float:
        return time.time()

    async def sleep_until(self, monotonic_seconds: float) -> None:
        await asyncio.sleep(max(0.0, monotonic_seconds - time.monotonic()))


class ManualClock:
    """A clock that stands still until `advance`."""

    def __init__(self, monotonic_seconds: float = 1_000.0, unix_seconds: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic_seconds
        self._unix_offset = unix_seconds - monotonic_seconds

    def monotonic(self) -> float:
        return self._monotonic

    def unix(self) -> float:
        return self._monotonic + self._unix_offset

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Set the wall clock back, as an administrator may."""
        self._unix_offset -= seconds

    async def sleep_until(self, monotonic_seconds: float) -> None:
        self._monotonic = max(self._monotonic, monotonic_seconds)
        await asyncio.sleep(0)
