"""The process behind a configured page of this machine: whose it is, and whether it is still the same one."""

import asyncio
import os
from collections.abc import Iterable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.discovery.processes import Process, ProcessTable
from perwatt_agent.discovery.sockets import descriptor_of, listeners
from perwatt_agent.engine.endpoint_poller import CountsReader, EngineFailure
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.threads.worker import WorkerThread

LOOPBACK_HOSTS = {"127.0.0.1": ("127.0.0.1",), "::1": ("::1",), "localhost": ("127.0.0.1", "::1")}
"""The hosts of a URL that are this machine's loopback, and the addresses that they stand for."""

LOOK_SECONDS = 5.0
_ANY_ADDRESS = {"127.0.0.1": ("0.0.0.0", "::"), "::1": ("::",)}
# They listen in another's stead: nothing that is known of them is known of the engine.
_FORWARDERS = frozenset(
    ("docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "pasta.avx2", "nginx", "haproxy",
     "envoy", "traefik", "caddy", "apache2", "httpd", "ssh", "sshd", "sshd-session", "socat", "kubectl")
)  # fmt: skip


class PortOwner(Struct, frozen=True):
    """A process that listens, since when it runs, and by which descriptor it holds which socket."""

    process: Process
    started_unix_seconds: float | None
    descriptor: str
    socket: str

    @property
    def is_current(self) -> bool:
        """Whether it still holds the very same socket."""
        try:
            return os.readlink(self.descriptor) == self.socket  # noqa: PTH115 - asked for with every page
        except OSError:
            return False


def owner_of(table: ProcessTable, sockets: Iterable[int]) -> PortOwner | None:
    """
    The process that holds one of these *sockets*, by their inodes; of several the one that started first.

    The first process of all holds sockets for those that it starts, and comes last.
    """
    processes = sorted(table.all().values(), key=lambda one: (one.pid == 1, one.started_ticks, one.pid))
    wanted = frozenset(sockets)
    for process in processes:
        descriptor = descriptor_of(table.root, process.pid, wanted)
        if descriptor is not None:
            path, inode = descriptor
            started = table.started_unix_seconds(process)
            return PortOwner(process, started, path, f"socket:[{inode}]")
    return None


class PortOwnerLookup:
    """Look for the holders of listening sockets: one look at a time, on a thread that may hang."""

    def __init__(self, table: ProcessTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._lane: WorkerThread | None = None
        self._turn = asyncio.Lock()

    async def look(
        self, host: str, port: int, in_vain: frozenset[int]
    ) -> tuple[frozenset[int], PortOwner | None]:
        """
        The sockets, by inode, that listen at *port* of one of LOOPBACK_HOSTS, and who holds one of them.

        Nobody is looked for among sockets of which was looked for *in_vain* before.
        """
        async with self._turn:
            self._lane = self._lane or WorkerThread("listeners", self._clock)
            if self._lane.busy_since is not None:
                return in_vain, None
            looking = self._lane.submit(partial(self._look, host, port, in_vain))
            done, _ = await asyncio.wait([looking], timeout=LOOK_SECONDS)
            if not done:
                looking.cancel()  # a result that comes later only frees the lane
                return in_vain, None
            return looking.result()

    def _look(self, host: str, port: int, in_vain: frozenset[int]) -> tuple[frozenset[int], PortOwner | None]:
        bound = [
            (inode, one.address) for inode, one in listeners(self._table.root).items() if one.port == port
        ]
        for address in LOOPBACK_HOSTS[host]:
            exact = frozenset(inode for inode, at in bound if at == address)
            sockets = exact or frozenset(inode for inode, at in bound if at in _ANY_ADDRESS[address])
            if sockets:
                return sockets, owner_of(self._table, sockets) if sockets != in_vain else None
        return frozenset(), None


class LocalPort:
    """Who listens at one port of the loopback; looked up when whoever did before does no more."""

    def __init__(self, port_owners: PortOwnerLookup, host: str, port: int) -> None:
        self._lookout = port_owners
        self._host = host
        self._port = port
        self._holder: PortOwner | None = None
        self._in_vain = frozenset[int]()

    def pid(self) -> int | None:
        """The process that listened when last was looked; None where that is not known."""
        return self._holder.process.pid if self._holder else None

    async def holder(self) -> PortOwner | None:
        """The process that listens now; None where nobody does, or where it cannot be told."""
        if self._holder is None or not self._holder.is_current:
            sockets, holder = await self._lookout.look(self._host, self._port, self._in_vain)
            is_engine = holder is not None and holder.process.comm not in _FORWARDERS
            self._holder = holder if is_engine else None
            self._in_vain = frozenset() if is_engine else sockets
        return self._holder


class LocalReader:
    """Read a page of this machine as *reader* does; where it does not tell a restart, its listener does."""

    def __init__(self, reader: CountsReader, port: LocalPort) -> None:
        self._reader = reader
        self._port = port

    @property
    def engine(self) -> str:
        return self._reader.engine

    @property
    def faults(self) -> tuple[EngineFailure, ...]:
        return self._reader.faults

    async def read(self) -> EngineCounts:
        """Raises EngineFailure."""
        holder = await self._port.holder()
        counts = await self._reader.read()
        if holder is None or counts.process_start_unix_seconds is not None:
            return counts
        if not holder.is_current:  # of which of two processes are these counts?
            raise EngineFailure("ended", "the process that listened ended while its page was read")
        return replace(counts, process_start_unix_seconds=holder.started_unix_seconds)
