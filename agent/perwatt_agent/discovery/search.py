"""
Search for engines: from processes on the GPUs to the launch of their engine, and to the sockets of its page.

It reads the tables of processes and sockets, and opens no connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.discovery.launches import (
    kind_of,
    launch_port,
    leads_to,
    own_rank,
    pattern_of,
    rank_port,
    requested_gpus,
    role_of,
    shares_kv,
)
from perwatt_agent.discovery.process_table import Process, ProcessTable, ancestors, children_of, descendants
from perwatt_agent.discovery.rank_coverage import RequestedGpus
from perwatt_agent.discovery.sockets import Listener, in_other_network, listeners, socket_inodes
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.launch import Launch
from perwatt_agent.facts.workload import Role

_MAX_SOCKETS = 4
_MAX_PROGRAM_CHARACTERS = 60
HIDDEN_SOCKETS = "perwatt may not see its sockets"

GpuProcesses = Mapping[str, tuple[int, ...]]
"""Ids of the processes that compute on each GPU, by the GPU's UUID."""


class Candidate(Struct, frozen=True):
    """A socket that may serve an engine's page, and the process that owns it."""

    listener: Listener
    owner: Process


class DiscoveredEngine(Struct, frozen=True):
    """
    An engine: its launched process, that and all descendants as `members`, and the GPUs they compute on.

    `role`, `shares_kv` and `port` come from its launch. Without `candidates`, `absence` is the reason, and
    `is_starting` whether there may soon be one.
    """

    kind: EngineKind
    process: Process
    members: tuple[Process, ...]
    program: str
    gpus: tuple[str, ...]
    requested: RequestedGpus | None
    port: int | None
    default_port: int | None = None
    role: Role = "mixed"
    shares_kv: bool = False
    candidates: tuple[Candidate, ...] = ()
    absence: str = ""
    is_starting: bool = False

    @property
    def gpus_requested(self) -> int | None:
        """How many GPUs its launch requests; None if its command line hides it."""
        return None if self.requested is None else self.requested.gpus

    @property
    def expected_port(self) -> int:
        """The port where its page is expected; 0 if it has none."""
        return self.port or self.default_port or 0


class UnknownProcess(Struct, frozen=True):
    """A process on a GPU that belongs to no known engine."""

    process: Process
    program: str
    gpus: tuple[str, ...]


class SearchResult(Struct, frozen=True):
    """Engines and other processes on the GPUs; `relatives` are all processes that the result depends on."""

    engines: tuple[DiscoveredEngine, ...] = ()
    unknown: tuple[UnknownProcess, ...] = ()
    relatives: frozenset[Process] = frozenset()


class _Root(NamedTuple):
    """The process of an engine; that of one `rank` is below the process with the launch's command line."""

    process: Process
    kind: EngineKind
    launch: Launch
    launcher: Process
    rank: int | None = None


def search(
    table: ProcessTable, gpu_processes: GpuProcesses, kinds: Sequence[EngineKind] = ENGINES
) -> SearchResult:
    """Return the engines behind *gpu_processes*; the GPUs of an engine keep their order there."""
    processes = table.all()
    children = children_of(processes.values())
    roots: dict[_Root, list[str]] = {}
    unknown: dict[Process, list[str]] = {}
    relatives = set[Process]()
    for gpu, pids in gpu_processes.items():
        for process in (processes[pid] for pid in pids if pid in processes):
            line = tuple(ancestors(process, processes))
            relatives.update(line)
            root = _root_of(table, line, kinds)
            holders = unknown.setdefault(process, []) if root is None else roots.setdefault(root, [])
            if gpu not in holders:
                holders.append(gpu)
    sockets = _Sockets(table, listeners(table.root) if roots else {})
    engines = []
    for root, gpus in roots.items():
        members = tuple(descendants(root.process, children))
        relatives.update(members)
        engines.append(sockets.engine(root, members, tuple(gpus)))
    return SearchResult(
        tuple(_merged(engines)),
        tuple(
            UnknownProcess(process, describe(table, process, is_known=False), tuple(gpus))
            for process, gpus in unknown.items()
        ),
        frozenset(relatives),
    )


def _root_of(table: ProcessTable, line: Iterable[Process], kinds: Sequence[EngineKind]) -> _Root | None:
    """
    Return the launched process of an engine in a line of ancestors: the highest, unless `each_alone`.

    A data-parallel rank with a page of its own is an engine of its own.
    """
    root = rank_server = None
    programs: list[str] = []
    for process in line:
        programs.append(table.program(process))
        kind = kind_of(programs[-1], kinds)
        if kind is not None and kind.launch is not None and leads_to(kind.launch, programs):
            root = _Root(process, kind, kind.launch, process, own_rank(kind.launch, programs[-1]))
            rank_server = rank_server or (root if root.rank is not None else None)
            if kind.launch.each_alone:
                break
    return rank_server._replace(launcher=root.process) if rank_server and root else root


class _Sockets:
    """Listening sockets, assigned to the servers of engines."""

    def __init__(self, table: ProcessTable, listening: Mapping[int, Listener]) -> None:
        self._table = table
        self._listening = listening

    def engine(self, root: _Root, members: tuple[Process, ...], gpus: tuple[str, ...]) -> DiscoveredEngine:
        command = self._table.command(root.launcher)
        launch = root.launch
        servers = [process for process in members if self._is_server(launch, process)]
        ports = (self._launch_port(launch, process) for process in (root.process, *servers))
        found = DiscoveredEngine(
            kind=root.kind,
            process=root.process,
            members=members,
            program=describe(self._table, root.process, is_known=True),
            gpus=gpus,
            requested=_requested(root, command),
            port=next((port for port in ports if port is not None), None),
            default_port=self._default_port(root, command),
            role=role_of(command),
            shares_kv=shares_kv(command),
        )
        if launch.absence:
            return replace(found, absence=launch.absence)
        if self._are_hidden(servers):
            return replace(found, absence=HIDDEN_SOCKETS)
        if not found.expected_port:
            how = " or ".join(filter(None, (*launch.port_options, launch.port_variable)))
            return replace(found, absence=f"its launch does not set the port of its page: set {how}")
        return self._with_candidates(found, launch, servers, members)

    def _are_hidden(self, servers: Sequence[Process]) -> bool:
        return any(socket_inodes(self._table.root, process.pid) is None for process in servers)

    def _launch_port(self, launch: Launch, process: Process) -> int | None:
        name = launch.port_variable
        variable = self._table.variable(process, name) if name else ""
        return launch_port(launch, self._table.command(process), variable)

    def _default_port(self, root: _Root, command: Sequence[str]) -> int | None:
        port = self._launch_port(root.launch, root.launcher) or root.launch.default_port
        if root.rank is None or port is None:
            return root.launch.default_port
        return rank_port(root.launch, command, port, root.rank)

    def _is_server(self, launch: Launch, process: Process) -> bool:
        return pattern_of(launch.serves).match(self._table.program(process)) is not None

    def _with_candidates(
        self, found: DiscoveredEngine, launch: Launch, servers: list[Process], members: tuple[Process, ...]
    ) -> DiscoveredEngine:
        port = found.expected_port
        held = self._held_by(servers)
        others = self._held_by(self._servers_at_port(launch, members))
        # A server also has sockets for its own workers, which must not receive anything else.
        at_port = [candidate for candidate in held + others if candidate.listener.port == port]
        chosen = at_port if at_port or found.port is not None else held
        reachable = [candidate for candidate in chosen if candidate.listener.loopback_url is not None]
        if reachable:
            return replace(found, candidates=tuple(reachable[:_MAX_SOCKETS]))
        if chosen:
            return replace(found, absence=f"it listens on {chosen[0].listener.address}, not on loopback")
        if in_other_network(self._table.root, found.process.pid):
            return replace(found, absence="it is in another network namespace")
        return replace(found, absence=f"it does not listen on port {port} yet", is_starting=True)

    def _held_by(self, processes: Iterable[Process]) -> list[Candidate]:
        """Return the listening sockets of these processes, each once, ordered by port."""
        held: dict[Listener, Process] = {}
        for process in processes:
            for inode in socket_inodes(self._table.root, process.pid) or ():
                if inode in self._listening:
                    held.setdefault(self._listening[inode], process)
        ordered = sorted(held.items(), key=lambda item: (item[0].port, item[0].address))
        return [Candidate(listener, owner) for listener, owner in ordered]

    def _servers_at_port(self, launch: Launch, members: tuple[Process, ...]) -> list[Process]:
        pattern = launch.serves_at_port
        if pattern is None:
            return []
        return [process for process in members if pattern_of(pattern).match(self._table.program(process))]


def _requested(root: _Root, command: Sequence[str]) -> RequestedGpus | None:
    requested = requested_gpus(root.launch, command)
    return requested if requested is None or root.rank is None else replace(requested, ranks=1)


def _merged(engines: Iterable[DiscoveredEngine]) -> list[DiscoveredEngine]:
    """Merge engines that share a socket into one, represented by the process that started first."""
    by_socket: dict[Listener, DiscoveredEngine] = {}
    merged: list[DiscoveredEngine] = []
    for found in sorted(engines, key=lambda found: (found.process.started_ticks, found.process.pid)):
        listener = found.candidates[0].listener if found.candidates else None
        first = by_socket.get(listener) if listener is not None else None
        if first is not None:
            more = tuple(gpu for gpu in found.gpus if gpu not in first.gpus)
            whole = replace(first, gpus=first.gpus + more)
            merged[merged.index(first)] = by_socket[first.candidates[0].listener] = whole
            continue
        merged.append(found)
        if listener is not None:
            by_socket[listener] = found
    return merged


def describe(table: ProcessTable, process: Process, *, is_known: bool) -> str:
    """
    The program, and of an engine also what stands before its first option, such as the model.

    Other arguments may be anything, secrets included, and do not belong in a log.
    """
    text = table.program(process) or next(iter(table.command(process)), "") or process.comm
    words = text.split(" ")
    text = " ".join(takewhile(lambda word: not word.startswith("-"), words)) if is_known else words[0]
    return text if len(text) <= _MAX_PROGRAM_CHARACTERS else f"{text[:_MAX_PROGRAM_CHARACTERS]}..."
