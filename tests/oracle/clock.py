"""Clocks of the oracle: one that drives a whole fleet, and those of its nodes, which may be wrong."""

import asyncio


class DrivenClock:
    """A clock that moves when it is advanced; whoever sleeps wakes when its time has come."""

    def __init__(self, monotonic_seconds: float = 1_000.0, unix_seconds: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic_seconds
        self._unix_offset = unix_seconds - monotonic_seconds
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._monotonic

    def unix(self) -> float:
        return self._monotonic + self._unix_offset

    def monotonic_at(self, unix_seconds: float) -> float:
        return unix_seconds - self._unix_offset

    async def sleep_until(self, monotonic_seconds: float) -> None:
        if monotonic_seconds <= self._monotonic:
            await asyncio.sleep(0)
            return
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append((monotonic_seconds, sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Let time pass, and let those who were waiting for it do what they do without waiting further."""
        self._monotonic += seconds
        due = [sleeper for at, sleeper in self._sleepers if at <= self._monotonic]
        self._sleepers = [(at, sleeper) for at, sleeper in self._sleepers if at > self._monotonic]
        for sleeper in due:
            if not sleeper.done():
                sleeper.set_result(None)
        for _ in range(4):
            await asyncio.sleep(0)


class NodeClock:
    """The fleet's clock as a node has it; its time of day is wrong by `offset_seconds`."""

    def __init__(self, fleet: DrivenClock) -> None:
        self._fleet = fleet
        self.offset_seconds = 0.0

    def monotonic(self) -> float:
        return self._fleet.monotonic()

    def unix(self) -> float:
        return self._fleet.unix() + self.offset_seconds

    async def sleep_until(self, monotonic_seconds: float) -> None:
        await self._fleet.sleep_until(monotonic_seconds)
