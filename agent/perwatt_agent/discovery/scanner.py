"""Scanner: repeats the search only when a process has changed, so that an idle round is cheap."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.discovery.process_table import Process, ProcessTable
from perwatt_agent.discovery.search import GpuProcesses, SearchResult, search
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind


class Scan(Struct, frozen=True):
    """
    Result of one scan: the current search result, the watched processes that have ended, and the ids on GPUs
    that have no visible process.
    """

    search: SearchResult
    ended: frozenset[Process]
    unseen: frozenset[int] = frozenset()


class Scanner:
    """Searches a process table repeatedly. It only reads files of /proc, and may block there."""

    def __init__(self, table: ProcessTable, kinds: Sequence[EngineKind] = ENGINES) -> None:
        self._table = table
        self._kinds = kinds
        self._gpu_processes: GpuProcesses = {}
        self._search = SearchResult()

    def scan(self, gpu_processes: GpuProcesses, watched: Iterable[Process], *, force: bool) -> Scan:
        """Scan once. *force* searches even if no process has changed, as sockets open later."""
        if force or gpu_processes != self._gpu_processes or not self._is_unchanged():
            self._search = search(self._table, gpu_processes, self._kinds)
            self._gpu_processes = gpu_processes
        listed = {pid for pids in gpu_processes.values() for pid in pids}
        return Scan(
            self._search,
            frozenset(one for one in watched if not self._table.is_alive(one)),
            frozenset(pid for pid in listed if not self._table.is_visible(pid)),
        )

    def _is_unchanged(self) -> bool:
        return all(self._table.process(one.pid) == one for one in self._search.relatives)
