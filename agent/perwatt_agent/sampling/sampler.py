"""Sampling loop of the agent: reads, updates the accounts, publishes the newest Snapshot."""

import asyncio
from collections.abc import Awaitable, Callable

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import Clock
from perwatt_agent.diagnosis.diagnosis import Diagnosis
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.event import Event
from perwatt_agent.facts.readings import Readings, XidEvent
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.sampling.source import Source


class Sampler:
    """
    Turns a source's readings into snapshots.

    `latest` is replaced by one assignment and never modified, so any task may read it at any time.
    `observers` get each cycle's readings and snapshot before it is published, and `save` is awaited. An error
    event of a GPU is published at once, in the snapshot of the cycle before. `events` are the newest events.
    """

    def __init__(
        self,
        source: Source,
        account: Account,
        clock: Clock,
        observers: tuple[Callable[[Readings, Snapshot], None], ...] = (),
        save: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._save = save
        self.events: EventRing[Event] = EventRing(run=f"{int(clock.unix() * 1000):x}")
        self._diagnosis = Diagnosis(self.events)
        self._source = source
        self._account = account
        self._observers = observers
        self._subscribers: list[Callable[[], None]] = []
        self.latest = Snapshot(clock.unix(), clock.monotonic(), source.status)
        source.subscribe(self._on_event)

    async def tick(self) -> bool:
        """One collection cycle; False when the source has ended."""
        readings = await self._source.next()
        if readings is None:
            return False
        snapshot = self._diagnosis.examine(self._account.advance(readings), readings.xids)
        # Before publishing: what the metrics page has shown once must survive a crash of the agent.
        for observe in self._observers:
            observe(readings, snapshot)
        if self._save is not None:
            await self._save()
        self.latest = snapshot
        for published in self._subscribers:
            asyncio.get_running_loop().call_soon(published)  # what it raises must not end the loop
        return True

    def subscribe(self, published: Callable[[], None]) -> None:
        """Call *published* on the loop soon after each cycle's snapshot has become the latest."""
        self._subscribers.append(published)

    def _on_event(self, xid: XidEvent) -> None:
        self.latest = self._diagnosis.receive_xid(self.latest, xid)

    async def run(self) -> None:
        """Tick until cancelled or the source ends; raises BackendBroken."""
        try:
            while await self.tick():
                pass
        finally:
            self.close()

    def close(self) -> None:
        """End the source; what was published stays."""
        self._source.close()
