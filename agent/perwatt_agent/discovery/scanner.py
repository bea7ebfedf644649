"""Search only when something has changed: a round over an unchanged process tree costs next to nothing."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.discovery.processes import Process, ProcessTable
from perwatt_agent.discovery.search import GpuProcesses, SearchResult, search
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind


class Scan(Struct, frozen=True):
    """What one look brought: the search, as it stands, and which of the watched processes have ended."""

    search: SearchResult
    ended: frozenset[Process]


class Scanner:
    """Search a process table again and again. It only reads files of /proc, and may block while it does."""

    def __init__(self, table: ProcessTable, kinds: Sequence[EngineKind] = ENGINES) -> None:
        self._table = table
        self._kinds = kinds
        self._gpu_processes: GpuProcesses = {}
        self._search = SearchResult()

    def scan(self, gpu_processes: GpuProcesses, watched: Iterable[Process], *, anew: bool) -> Scan:
        """Look once. *anew* asks for a search even where no process has changed: sockets open later."""
        if anew or gpu_processes != self._gpu_processes or not self._is_unchanged():
            self._search = search(self._table, gpu_processes, self._kinds)
            self._gpu_processes = gpu_processes
        return Scan(self._search, frozenset(one for one in watched if not self._table.is_alive(one)))

    def _is_unchanged(self) -> bool:
        return all(self._table.process(one.pid) == one for one in self._search.relatives)
