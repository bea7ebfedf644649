"""Poller of the folder of text files, every 15 seconds, beside the collection cycle."""

import asyncio
import logging
from collections import Counter
from functools import partial

from perwatt_agent.clock import Clock
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.threads.worker import WorkerThread
from perwatt_agent.work.job import Instant, Reporting
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.report import WorkRejected
from perwatt_agent.work.textfile import FileReport, FolderScan, Problem, TextfileReader

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 15.0
SCAN_SECONDS = 10.0
SOURCE = Reporting("a text file")
_HUNG = FolderScan((), (Problem("", "hung", f"the folder did not answer within {SCAN_SECONDS:g} s"),))


class TextfilePoller:
    """
    Adds the reports in the files to the registry, dated to the instant at which a file was written.

    A problem is logged and counted when it first appears. A stale file is not a failure, as a job that ended
    leaves one behind.
    """

    def __init__(self, reader: TextfileReader, registry: WorkRegistry, clock: Clock) -> None:
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._worker = WorkerThread("textfiles", clock)
        self._problems: frozenset[Problem] = frozenset()
        self._failures: Counter[str] = Counter()
        self._success = False
        self._last_success: float | None = None
        self._duration_seconds: float | None = None

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.poll()
            await self._clock.sleep_until(started + PERIOD_SECONDS)

    async def poll(self) -> None:
        """Read the folder once."""
        started = self._clock.monotonic()
        scan = await self._scan()
        refused = [problem for report in scan.files for problem in self._add(report)]
        problems = frozenset((*scan.problems, *refused))
        for problem in sorted(problems - self._problems, key=lambda problem: problem.file):
            self._failures[f"textfile_{problem.reason}"] += 1
            logger.warning("work.textfile_dir: %s: %s", problem.file or problem.reason, problem.message)
        self._problems = problems
        self._success = all(problem.reason == "stale" for problem in problems)
        if self._success:
            self._last_success = self._clock.unix()
        self._duration_seconds = self._clock.monotonic() - started

    def health(self, rejections: tuple[tuple[str, int], ...]) -> CollectorHealth:
        """Return the health of the folder, with the *rejections* of other reporters."""
        failures = tuple(sorted((*rejections, *self._failures.items())))
        return CollectorHealth("work", self._success, self._last_success, self._duration_seconds, failures)

    async def _scan(self) -> FolderScan:
        if self._worker.busy_since is not None:
            return _HUNG
        scanning = self._worker.submit(partial(self._reader.scan, self._clock.unix()))
        await asyncio.wait([scanning], timeout=SCAN_SECONDS)
        return scanning.result() if scanning.done() else _HUNG

    def _add(self, report: FileReport) -> list[Problem]:
        """Add the reports of one file. A report that is rejected is a problem of the file."""
        age_seconds = max(0.0, self._clock.unix() - report.unix_seconds)
        at = Instant(self._clock.monotonic() - age_seconds, self._clock.unix() - age_seconds)
        problems = []
        for one in report.reports:
            try:
                self._registry.add(one, SOURCE, at)
            except WorkRejected as error:
                problems.append(Problem(report.file, error.reason, str(error)))
        return problems
