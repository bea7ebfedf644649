"""A whole agent in this process whose time, and whose driver's time, is moved by hand."""

import asyncio
import time

from support.gpus.fakenvml import FakeDriver

from perwatt_agent.sampling.sampler import Sampler

PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.001


class HandClock:
    """A clock that moves when it is told to, and lets any number of tasks wait for it."""

    def __init__(self, unix_seconds: float = 1.8e9) -> None:
        self._unix = unix_seconds
        self.seconds = 0.0
        self._moved = asyncio.Event()

    def monotonic(self) -> float:
        return self.seconds

    def unix(self) -> float:
        return self._unix + self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, monotonic_seconds: float) -> None:
        while self.seconds < monotonic_seconds:
            await self._moved.wait()


async def second(sampler: Sampler, driver: FakeDriver, clock: HandClock) -> None:
    """Let a second pass, and wait until the running sampler has published its sweep."""
    driver.advance(1.0)
    clock.advance(1.0)
    patience = time.monotonic() + PATIENCE_SECONDS
    while sampler.latest.monotonic_seconds < clock.monotonic():
        await asyncio.sleep(POLL_SECONDS)
        if time.monotonic() > patience:
            raise RuntimeError("the agent did not sweep")
