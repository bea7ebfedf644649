"""Owner of a local port: the process that listens there, and whether it is still the same one."""

import asyncio
import logging
import os
from collections.abc import Iterable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.discovery.process_table import Process, ProcessTable
from perwatt_agent.discovery.sockets import descriptor_of, listeners
from perwatt_agent.engine.endpoint_poller import CountsReader, EngineFailure
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

LOOPBACK_HOSTS = {"127.0.0.1": ("127.0.0.1",), "::1": ("::1",), "localhost": ("127.0.0.1", "::1")}
"""URL hosts that mean this machine's loopback, and their addresses."""

LOOKUP_SECONDS = 5.0
_ANY_ADDRESS = {"127.0.0.1": ("0.0.0.0", "::"), "::1": ("::",)}
# Proxies and forwarders: what is known of them does not apply to the engine behind them.
_FORWARDERS = frozenset(
    ("docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "pasta.avx2", "nginx", "haproxy",
     "envoy", "traefik", "caddy", "apache2", "httpd", "ssh", "sshd", "sshd-session", "socat", "kubectl")
)  # fmt: skip


class PortOwner(Struct, frozen=True):
    """A process that listens, its start time, and the descriptor and socket by which it does."""

    process: Process
    started_unix_seconds: float | None
    descriptor: str
    socket: str

    @property
    def is_current(self) -> bool:
        """Whether it still holds the same socket."""
        try:
            return os.readlink(self.descriptor) == self.socket  # noqa: PTH115 - called for every page
        except OSError:
            return False


def owner_of(table: ProcessTable, sockets: Iterable[int]) -> PortOwner | None:
    """
    Return the process that holds one of *sockets* (inodes); of several, the one that started first.

    Process 1 counts last, as it holds sockets for the services that it starts.
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
    """Lookup of the owners of listening sockets: one at a time, on a worker thread, as /proc may hang."""

    def __init__(self, table: ProcessTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._worker: WorkerThread | None = None
        self._lock = asyncio.Lock()

    async def find(
        self, host: str, port: int, unowned: frozenset[int]
    ) -> tuple[frozenset[int], PortOwner | None]:
        """
        Return the sockets (inodes) that listen at *port* of one of LOOPBACK_HOSTS, and the owner of one.

        Sockets in *unowned*, whose owner an earlier lookup did not find, are not looked up again.
        """
        async with self._lock:
            self._worker = self._worker or WorkerThread("listeners", self._clock)
            if self._worker.busy_since is not None:
                return unowned, None
            finding = self._worker.submit(partial(self._find, host, port, unowned))
            done, _ = await asyncio.wait([finding], timeout=LOOKUP_SECONDS)
            if not done:
                finding.cancel()  # a result that comes later only frees the worker thread
                return unowned, None
            return finding.result()

    def _find(self, host: str, port: int, unowned: frozenset[int]) -> tuple[frozenset[int], PortOwner | None]:
        bound = [
            (inode, one.address) for inode, one in listeners(self._table.root).items() if one.port == port
        ]
        for address in LOOPBACK_HOSTS[host]:
            exact = frozenset(inode for inode, at in bound if at == address)
            sockets = exact or frozenset(inode for inode, at in bound if at in _ANY_ADDRESS[address])
            if sockets:
                return sockets, owner_of(self._table, sockets) if sockets != unowned else None
        return frozenset(), None


class LocalPort:
    """The process that listens at one loopback port; looked up again when it stops."""

    def __init__(self, port_owners: PortOwnerLookup, host: str, port: int) -> None:
        self._lookout = port_owners
        self._host = host
        self._port = port
        self._holder: PortOwner | None = None
        self._unowned = frozenset[int]()
        self._has_logged = False

    def pid(self) -> int | None:
        """Return the process that listened at the last lookup; None if unknown."""
        return self._holder.process.pid if self._holder else None

    async def holder(self) -> PortOwner | None:
        """Return the process that listens now; None if there is none, or if it is unknown."""
        if self._holder is None or not self._holder.is_current:
            sockets, holder = await self._lookout.find(self._host, self._port, self._unowned)
            if holder is None and sockets and not self._has_logged:
                self._has_logged = True
                logger.info(
                    "cannot see which process listens at port %d, so its unit, job or pod is known by its "
                    "GPUs only: run perwatt as root, or with CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
                    self._port,
                )
            is_engine = holder is not None and holder.process.comm not in _FORWARDERS
            self._holder = holder if is_engine else None
            self._unowned = frozenset() if is_engine else sockets
        return self._holder


class LocalReader:
    """Reads a local page with *reader*. If the page has no start time, the start of its listener is used."""

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
        if not holder.is_current:  # the counts may belong to either process
            raise EngineFailure("ended", "the process that listened ended while its page was read")
        return replace(counts, process_start_unix_seconds=holder.started_unix_seconds)
