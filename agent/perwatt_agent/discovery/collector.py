"""Collector of engines that are found by their processes, and read while these run."""

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
from perwatt_agent.discovery.probe import DiscoveredReader, ProbedPage, probe
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.discovery.scanner import Scan, Scanner
from perwatt_agent.discovery.search import DiscoveredEngine, SearchResult, UnknownProcess
from perwatt_agent.discovery.tracked_engine import TrackedEngine
from perwatt_agent.discovery.visibility import VisibilityLog, is_unlisted
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
# A rejected page may be accepted later: engines show some metrics only after their first use.
PROBE_AGAIN_SECONDS = 60.0
# Maximum time to load a model; an engine that does not listen by then is rejected.
LOADING_SECONDS = 1800.0


class IdentityLookup(Protocol):
    """Lookup of the identity of a process and its GPUs; `pending` while an answer is expected."""

    @property
    def pending(self) -> bool: ...

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity: ...


class DiscoveryCollector:
    """
    Searches every ten seconds for engines on the GPUs, and reads their pages every *interval_seconds*.

    An engine that does not listen on its port yet is loading, and holds its GPUs already. An engine whose
    process ended is no longer a workload. *kinds* are the engines that are recognised.
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
        self._worker: WorkerThread | None = None
        self._known: tuple[GpuInfo, ...] = ()
        self._gpu_processes: dict[str, tuple[int, ...]] = {}
        self._migs: dict[str, dict[int, str]] = {}
        self._unlisted: set[str] = set()
        self._visibility = VisibilityLog(table.root)
        self._is_used = asyncio.Event()
        self._engines: dict[tuple[int, int], TrackedEngine] = {}
        self._ending: list[tuple[DiscoveredWorkload, DiscoveredEngine]] = []
        self._unknown: frozenset[UnknownProcess] = frozenset()
        self._health = Health("discovery")
        self._past_failures: Counter[str] = Counter()
        self._failure = ""

    async def run(self) -> None:
        """Search until cancelled, from the first use of a GPU on."""
        try:
            await self.round()
            await self._is_used.wait()
            while True:
                started = self._clock.monotonic()
                await self.round()
                await self._clock.sleep_until(started + ROUND_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Stop polling."""
        for engine in self._engines.values():
            if engine.workload is not None:
                engine.workload.stop()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        """Return what was received from the engines, and the ends of workloads."""
        self._known = tuple(known)
        for sample in samples:
            if sample.slow is not None and sample.slow.processes is not None:
                pids = tuple(process.pid for process in sample.slow.processes)
                self._gpu_processes[sample.uuid] = pids
                self._migs[sample.uuid] = {one.pid: one.mig for one in sample.slow.processes if one.mig}
                if pids:
                    self._is_used.set()
                self._set_unlisted(sample)
        # Ends come first, as another engine may have taken over a name.
        samples_of_engines = list(self._final_samples(known))
        for engine in self._engines.values():
            if engine.workload is not None:
                samples_of_engines += engine.workload.drain(engine.found, known)
        return samples_of_engines

    def _set_unlisted(self, sample: GpuSample) -> None:
        if is_unlisted(sample.reading, sample.slow):
            self._unlisted.add(sample.uuid)
            self._is_used.set()
        else:
            self._unlisted.discard(sample.uuid)

    def health(self) -> CollectorHealth:
        """Return the health of the search, with the failed fetches of the engines' pages."""
        own = self._health.snapshot()
        workloads = (*self._workloads(), *(workload for workload, _ in self._ending))
        if not workloads and not self._past_failures:
            return own
        failures = self._past_failures + Counter(dict(own.failures))
        for workload in workloads:
            failures.update(dict(workload.health().failures))
        return msgspec.structs.replace(own, failures=tuple(sorted(failures.items())))

    async def round(self) -> None:
        """Search once for new engines, for pages of engines without one, and for ended engines."""
        started = self._clock.monotonic()
        try:
            if any(self._gpu_processes.values()) or self._engines or self._unlisted:
                await self._update()
        except Exception as error:  # noqa: BLE001 - an unexpected error must not end the search
            self._health.failed("unexpected")
            if repr(error) != self._failure:
                logger.warning(
                    "engine discovery failed: %r; will keep trying (engines.discover: false disables it)",
                    error,
                )
            self._failure = repr(error)
        self._health.attempted(self._clock.unix(), self._clock.monotonic() - started)

    async def _update(self) -> None:
        scan = await self._scan()
        if scan is None:
            self._health.failed("hung")
            return
        for process in scan.ended:
            engine = self._engines.pop(process.key)
            logger.info("%s (process %d) has ended", engine.found.program, process.pid)
            self._stop(engine)
        self._visibility.update(scan.unseen, self._unlisted)
        self._merge(scan.search)
        await asyncio.gather(*(self._advance(engine) for engine in self._engines.values()))

    async def _scan(self) -> Scan | None:
        """Return a new scan, or None while one hangs in a file of /proc."""
        self._worker = self._worker or WorkerThread("discovery", self._clock)
        if self._worker.busy_since is not None:
            return None
        force = any(engine.page is None for engine in self._engines.values())
        roots = [engine.found.process for engine in self._engines.values()]
        scanning = self._worker.submit(
            partial(self._scanner.scan, dict(self._gpu_processes), roots, force=force)
        )
        done, _ = await asyncio.wait([scanning], timeout=SCAN_SECONDS)
        if not done:
            scanning.cancel()  # a late result only frees the worker thread
            return None
        return scanning.result()

    def _merge(self, search: SearchResult) -> None:
        for engine in self._engines.values():
            # An engine that the search no longer has holds no GPUs.
            engine.found = msgspec.structs.replace(engine.found, gpus=())
        for found in search.engines:
            if found.process.key in self._engines:
                self._engines[found.process.key].found = found
            else:
                self._engines[found.process.key] = self._engine(found)
        for unknown in frozenset(search.unknown) - self._unknown:
            logger.info(
                "process %d (%s) on a GPU is not a known engine; if it is one, add it to engines.endpoints",
                unknown.process.pid,
                unknown.program,
            )
        self._unknown = frozenset(search.unknown)

    def _engine(self, found: DiscoveredEngine) -> TrackedEngine:
        started_unix_seconds = self._table.started_unix_seconds(found.process)
        reader = DiscoveredReader(found.kind.name, started_unix_seconds, self._table.is_alive)
        return TrackedEngine(found, reader, self._clock.monotonic())

    async def _advance(self, engine: TrackedEngine) -> None:
        """Move an engine to its current state: read, loading, skipped or rejected."""
        if engine.page is not None and not self._table.is_alive(engine.page.owner):
            engine.reader.page = None
        if engine.page is not None:
            self._start(engine)  # again, if its identity was pending
            return
        now = self._clock.monotonic()
        reason = self._configured.reason_to_skip(engine.found, self._known, self._migs_of(engine.found))
        if reason:
            engine.skip(reason)
            self._stop(engine)
        elif engine.found.is_starting and now - engine.seen_at < LOADING_SECONDS:
            self._start(engine)
        elif not engine.found.candidates:
            engine.reject(engine.found.absence)
            self._stop(engine)
        elif now >= engine.probe_at:
            page = await probe(engine.found, self._table.is_alive, self._kinds)
            if isinstance(page, ProbedPage):
                if page.port != engine.port:
                    self._stop(engine)  # it was loading, named by another port
                engine.accept(page)
                self._start(engine)
            else:
                engine.probe_at = now + PROBE_AGAIN_SECONDS
                engine.reject(page)
                self._stop(engine)

    def _migs_of(self, found: DiscoveredEngine) -> set[str]:
        """Return the MIG instances in which an engine's processes compute."""
        pids = {process.pid for process in found.members}
        return {mig for migs in self._migs.values() for pid, mig in migs.items() if pid in pids}

    def _start(self, engine: TrackedEngine) -> None:
        """Start its workload as soon as it can be named."""
        if engine.workload is not None or self._identifier.pending:
            return
        gpus = [gpu for gpu in self._known if gpu.uuid in engine.found.gpus]
        identity = self._identifier.identify(engine.found.process.pid, gpus)
        # By its launch: its page may name another engine, but only after it has loaded.
        name = workload_name(identity, engine.found.kind.name, engine.port)
        info = WorkloadInfo(self._names.claim(engine, name, engine.port), role=engine.found.role)
        info = described(info, identity)
        engine.workload = DiscoveredWorkload(
            info, engine.port, engine.reader, self._clock, self._interval_seconds
        )

    def _stop(self, engine: TrackedEngine) -> None:
        self._names.release(engine)
        if engine.workload is not None:
            engine.workload.stop()
            self._ending.append((engine.workload, engine.found))
            engine.workload = None

    def _final_samples(self, known: Sequence[GpuInfo]) -> Iterator[EngineSample]:
        """Yield pages received before a stop, and one collection cycle later, after attribution, the end."""
        names = {workload.info.workload for workload in self._workloads()}
        ending, self._ending = self._ending, []
        for workload, found in ending:
            received = workload.drain(found, known)
            yield from received
            if received:
                self._ending.append((workload, found))
                continue
            self._past_failures.update(dict(workload.health().failures))
            if workload.info.workload not in names:
                yield workload.end()

    def _workloads(self) -> list[DiscoveredWorkload]:
        return [engine.workload for engine in self._engines.values() if engine.workload is not None]
