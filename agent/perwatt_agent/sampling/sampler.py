"""The agent's one loop: readings in, accounts kept, the newest Snapshot published."""

from collections.abc import Callable

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import Clock
from perwatt_agent.readings import Readings
from perwatt_agent.sampling.source import Source
from perwatt_agent.snapshot import Snapshot


class Sampler:
    """
    Turn a source's readings into snapshots.

    `latest` is replaced by one assignment and never modified, so any task may read it at any time.
    `observers` see each sweep's readings and snapshot before it is published: they save and record.
    """

    def __init__(
        self,
        source: Source,
        account: Account,
        clock: Clock,
        observers: tuple[Callable[[Readings, Snapshot], None], ...] = (),
    ) -> None:
        self._source = source
        self._account = account
        self._observers = observers
        self.latest = Snapshot(clock.unix(), clock.monotonic(), source.status)

    async def tick(self) -> bool:
        """Take in one sweep; False when there will be no more."""
        readings = await self._source.next()
        if readings is None:
            return False
        snapshot = self._account.advance(readings)
        # Before publishing: what the page has once shown must survive a crash of the agent.
        for observe in self._observers:
            observe(readings, snapshot)
        self.latest = snapshot
        return True

    async def run(self) -> None:
        """Tick until cancelled or the source ends; raises BackendBroken."""
        try:
            while await self.tick():
                pass
        finally:
            self._source.close()
