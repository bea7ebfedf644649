"""Engines that nobody configured: found by their processes, and read for as long as these live."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import msgspec

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.discovered_workload import DiscoveredWorkload
from perwatt_agent.discovery.probe import DiscoveredReader, Page, ask
from perwatt_agent.discovery.processes import ProcessTable
from perwatt_agent.discovery.scanner import Scan, Scanner
from perwatt_agent.discovery.search import DiscoveredEngine, SearchResult, UnknownProcess
from perwatt_agent.discovery.tracked_engine import TrackedEngine
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identity import Identity, described, workload_name
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
SCAN_SECONDS = 5.0
# A page that was refused may be another one by then: engines show some families from their first use on.
ASK_AGAIN_SECONDS = 60.0
# Loading a model takes no longer than this; what does not listen by then never will.
LOADING_SECONDS = 1800.0


class IdentityLookup(Protocol):
    """Finds out whom a process and its GPUs work for; `pending` while an answer may yet come."""

    @property
    def pending(self) -> bool: ...

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity: ...


class DiscoveryFeed:
    """
    Every ten seconds, look for the engines whose processes compute on the GPUs; read those that have a
    page every *interval_seconds*.

    An engine that does not listen yet on its port is loading: it holds its GPUs already. One whose
    process ended is a workload no more. *kinds* are the engines that are understood.
    """

    def __init__(
        self,
        table: ProcessTable,
        identifier: IdentityLookup,
        names: WorkloadNames,
        configured: ConfiguredEndpoints,
        clock: Clock,
        interval_seconds: float,
        *,
        kinds: Sequence[EngineKind] = ENGINES,
    ) -> None:
        self._table = table
        self._kinds = kinds
        self._scanner = Scanner(table, kinds)
        self._identifier = identifier
        self._names = names
        self._configured = configured
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._lane: WorkerThread | None = None
        self._known: tuple[GpuInfo, ...] = ()
        self._gpu_processes: dict[str, tuple[int, ...]] = {}
        self._migs: dict[str, dict[int, str]] = {}
        self._seen = asyncio.Event()
        self._engines: dict[tuple[int, int], TrackedEngine] = {}
        self._leaving: list[tuple[DiscoveredWorkload, DiscoveredEngine]] = []
        self._strangers: frozenset[UnknownProcess] = frozenset()
        self._health = Health("discovery")
        self._past_failures: Counter[str] = Counter()
        self._failure = ""

    async def run(self) -> None:
        """Look until cancelled; until the first process is seen on a GPU, there is nothing to look for."""
        try:
            await self.round()
            await self._seen.wait()
            while True:
                started = self._clock.monotonic()
                await self.round()
                await self._clock.sleep_until(started + ROUND_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Ask for no more pages."""
        for engine in self._engines.values():
            if engine.workload is not None:
                engine.workload.stop()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        """What was heard of the engines that were found, and of those that are over."""
        self._known = tuple(known)
        for sample in samples:
            if sample.slow is not None and sample.slow.processes is not None:
                pids = tuple(process.pid for process in sample.slow.processes)
                self._gpu_processes[sample.uuid] = pids
                self._migs[sample.uuid] = {one.pid: one.mig for one in sample.slow.processes if one.mig}
                if pids:
                    self._seen.set()
        # Those that end come first: another engine may have taken over a name.
        told = list(self._last_words(known))
        for engine in self._engines.values():
            if engine.workload is not None:
                told += engine.workload.drain(engine.found, known)
        return told

    def health(self) -> CollectorHealth:
        """How the search fares; failed fetches of the engines found are counted with it."""
        own = self._health.snapshot()
        workloads = (*self._workloads(), *(workload for workload, _ in self._leaving))
        if not workloads and not self._past_failures:
            return own
        failures = self._past_failures + Counter(dict(own.failures))
        for workload in workloads:
            failures.update(dict(workload.health().failures))
        return msgspec.structs.replace(own, failures=tuple(sorted(failures.items())))

    async def round(self) -> None:
        """Look once: for engines that came, for pages of those that have none, for those that ended."""
        started = self._clock.monotonic()
        try:
            if any(self._gpu_processes.values()) or self._engines:
                await self._look()
        except Exception as error:  # noqa: BLE001 - a surprise in one round must not end all later ones
            self._health.failed("unexpected")
            if repr(error) != self._failure:
                logger.warning("the search for engines failed and goes on: %r", error)
            self._failure = repr(error)
        self._health.attempted(self._clock.unix(), self._clock.monotonic() - started)

    async def _look(self) -> None:
        scan = await self._scan()
        if scan is None:
            self._health.failed("hung")
            return
        for process in scan.ended:
            engine = self._engines.pop(process.life)
            logger.info("%s (process %d) has ended", engine.found.program, process.pid)
            self._leave(engine)
        self._meet(scan.search)
        await asyncio.gather(*(self._attend(engine) for engine in self._engines.values()))

    async def _scan(self) -> Scan | None:
        """The scan of now; None while one hangs in a file of /proc."""
        self._lane = self._lane or WorkerThread("discovery", self._clock)
        if self._lane.busy_since is not None:
            return None
        anew = any(engine.page is None for engine in self._engines.values())
        roots = [engine.found.process for engine in self._engines.values()]
        scanning = self._lane.submit(partial(self._scanner.scan, dict(self._gpu_processes), roots, anew=anew))
        done, _ = await asyncio.wait([scanning], timeout=SCAN_SECONDS)
        if not done:
            scanning.cancel()  # a result that comes later only frees the lane
            return None
        return scanning.result()

    def _meet(self, search: SearchResult) -> None:
        for engine in self._engines.values():
            engine.found = msgspec.structs.replace(engine.found, gpus=())  # unless it is found with some
        for found in search.engines:
            if found.process.life in self._engines:
                self._engines[found.process.life].found = found
            else:
                self._engines[found.process.life] = self._engine(found)
        for stranger in frozenset(search.strangers) - self._strangers:
            logger.info(
                "process %d (%s) is on a GPU and belongs to no known engine",
                stranger.process.pid,
                stranger.program,
            )
        self._strangers = frozenset(search.strangers)

    def _engine(self, found: DiscoveredEngine) -> TrackedEngine:
        started_unix_seconds = self._table.started_unix_seconds(found.process)
        reader = DiscoveredReader(found.kind.name, started_unix_seconds, self._table.is_alive)
        return TrackedEngine(found, reader, self._clock.monotonic())

    async def _attend(self, engine: TrackedEngine) -> None:
        """Let an engine be what it can be now: read, loading, or refused."""
        if engine.page is not None and not self._table.is_alive(engine.page.owner):
            engine.reader.page = None
        if engine.page is not None:
            self._engage(engine)  # again, where names were pending
            return
        now = self._clock.monotonic()
        objection = self._configured.objection(engine.found, self._known, self._migs_of(engine.found))
        if objection:
            engine.leave_alone(objection)
            self._leave(engine)
        elif engine.found.is_starting and now - engine.seen_at < LOADING_SECONDS:
            self._engage(engine)
        elif not engine.found.candidates:
            engine.refuse(engine.found.absence)
            self._leave(engine)
        elif now >= engine.ask_at:
            page = await ask(engine.found, self._table.is_alive, self._kinds)
            if isinstance(page, Page):
                if page.port != engine.port:
                    self._leave(engine)  # it was loading under the name of another port
                engine.accept(page)
                self._engage(engine)
            else:
                engine.ask_at = now + ASK_AGAIN_SECONDS
                engine.refuse(page)
                self._leave(engine)

    def _migs_of(self, found: DiscoveredEngine) -> set[str]:
        """The MIG instances in which an engine's processes compute."""
        pids = {process.pid for process in found.members}
        return {mig for migs in self._migs.values() for pid, mig in migs.items() if pid in pids}

    def _engage(self, engine: TrackedEngine) -> None:
        """Let it be a workload, once it can have its name."""
        if engine.workload is not None or self._identifier.pending:
            return
        gpus = [gpu for gpu in self._known if gpu.uuid in engine.found.gpus]
        identity = self._identifier.identify(engine.found.process.pid, gpus)
        # By how it was launched: its page may call it otherwise, but not before it has loaded.
        name = workload_name(identity, engine.found.kind.name, engine.port)
        info = WorkloadInfo(self._names.claim(engine, name, engine.port), role=engine.found.role)
        info = described(info, identity)
        engine.workload = DiscoveredWorkload(
            info, engine.port, engine.reader, self._clock, self._interval_seconds
        )

    def _leave(self, engine: TrackedEngine) -> None:
        self._names.release(engine)
        if engine.workload is not None:
            engine.workload.stop()
            self._leaving.append((engine.workload, engine.found))
            engine.workload = None

    def _last_words(self, known: Sequence[GpuInfo]) -> Iterator[EngineSample]:
        """Pages that were still heard; a sweep later, when these are settled, the end."""
        names = {workload.info.workload for workload in self._workloads()}
        leaving, self._leaving = self._leaving, []
        for workload, found in leaving:
            heard = workload.drain(found, known)
            yield from heard
            if heard:
                self._leaving.append((workload, found))
                continue
            self._past_failures.update(dict(workload.health().failures))
            if workload.info.workload not in names:
                yield workload.end()

    def _workloads(self) -> list[DiscoveredWorkload]:
        return [engine.workload for engine in self._engines.values() if engine.workload is not None]
