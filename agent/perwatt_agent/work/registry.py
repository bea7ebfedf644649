"""Registry of the jobs that report their work themselves."""

from collections import Counter
from collections.abc import Sequence

from perwatt_agent.clock import Clock
from perwatt_agent.engine.gpu_claims import held
from perwatt_agent.engine.mig_instances import HeldGpus, MigInstances
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.work.job import Instant, Job
from perwatt_agent.work.report import WorkAccepted, WorkRejected, WorkReport

# A job without a report for this long has ended. Its name stays reserved for as long again.
IDLE_SECONDS = 300.0
ENDED_SECONDS = 300.0
# A job whose count does not move is idle after this long: one step of work may take as long.
STILL_SECONDS = 60.0
# The GPUs of a last report are read in the next collection cycle, and released in the cycle after that.
CYCLES_TO_ATTRIBUTE = 2
MAX_REPORTERS = 16_384
SOURCE = "work"


class WorkRegistry:
    """
    Accepts reports of work, and returns their samples once a collection cycle.

    It holds at most *max_jobs* jobs, with those that ended within the last five minutes, and at most
    MAX_REPORTERS ranks in total. *names* keeps their names apart from those of the engines.
    """

    def __init__(self, clock: Clock, *, names: WorkloadNames | None = None, max_jobs: int = 1000) -> None:
        self.names = names or WorkloadNames()
        self._clock = clock
        self._max_jobs = max_jobs
        self._jobs: dict[str, Job] = {}
        self._reporters = 0
        self._known: tuple[GpuInfo, ...] = ()
        self._instances = MigInstances()
        self._rejections: Counter[str] = Counter()
        self.last_report_unix_seconds: float | None = None

    @property
    def rejections(self) -> tuple[tuple[str, int], ...]:
        """How many reports were rejected since the start, by reason."""
        return tuple(sorted(self._rejections.items()))

    def count_rejection(self, reason: str) -> None:
        self._rejections[reason] += 1

    def now(self) -> Instant:
        return Instant(self._clock.monotonic(), self._clock.unix())

    def add(self, report: WorkReport, source: str, at: Instant | None = None) -> WorkAccepted:
        """
        Count a report of *source*, made at the instant *at* or now. Raises WorkRejected.

        A report for an ended job starts a new job.
        """
        job = self._jobs.get(report.job)
        at = at or self.now()
        if job is None or job.ended_at is not None:
            job = self._new_job(report, source, at)
        self._check(job, report, source)
        if job is not self._jobs.get(report.job):
            self._forget(report.job)
            self._store(job)
        elif at.monotonic_seconds < job.received_at.monotonic_seconds:
            at = job.received_at  # time must not go backwards between the job's reporters
        before = job.reporters
        job.add(report, at)
        self._reporters += job.reporters - before
        self.last_report_unix_seconds = at.unix_seconds
        return WorkAccepted(
            report.job, report.unit, job.total(report.unit), self._held(job, self._known).gpus
        )

    def drain(self, known: Sequence[GpuInfo], gpus: Sequence[GpuSample] = ()) -> list[EngineSample]:
        """Return samples since the last cycle, and changed GPU claims; *gpus* are this cycle's samples."""
        self._known = tuple(known)
        self._instances.update(gpus)
        now = self.now()
        samples: list[EngineSample] = []
        for name, job in tuple(self._jobs.items()):
            if (
                job.ended_at is None
                and now.monotonic_seconds - job.received_at.monotonic_seconds > IDLE_SECONDS
            ):
                job.ended_at = now.monotonic_seconds
            samples += _samples_of(job, self._held(job, known), now)
            if job.ended_at is not None and now.monotonic_seconds - job.ended_at > ENDED_SECONDS:
                self._forget(name)
        return samples

    def _held(self, job: Job, known: Sequence[GpuInfo]) -> HeldGpus:
        return held(job.gpus, known, self._instances.gpu_of)

    def _new_job(self, report: WorkReport, source: str, at: Instant) -> Job:
        if report.job not in self._jobs and len(self._jobs) >= self._max_jobs:
            raise WorkRejected("full", f"the agent has {self._max_jobs} jobs already: raise work.max_jobs")
        return Job(report, source, at)

    def _check(self, job: Job, report: WorkReport, source: str) -> None:
        job.check(report, source)
        if not job.is_known(report.rank) and self._reporters >= MAX_REPORTERS:
            raise WorkRejected("full", f"the agent has {MAX_REPORTERS} ranks already, its maximum")

    def _store(self, job: Job) -> None:
        name = job.info.workload
        if not self.names.reserve((SOURCE, name), name):
            raise WorkRejected("conflict", f"{name!r} is the name of an engine that the agent reads itself")
        self._jobs[name] = job

    def _forget(self, name: str) -> None:
        if name in self._jobs:
            self._reporters -= self._jobs.pop(name).reporters
            self.names.release((SOURCE, name))


def _samples_of(job: Job, holds: HeldGpus, now: Instant) -> list[EngineSample]:
    """Return the samples of a job that are due now, with the GPUs that it *holds*."""
    if job.ended_at is not None:
        job.cycles_since_end += 1
        if job.cycles_since_end == CYCLES_TO_ATTRIBUTE + 1:
            return [_sample(job, HeldGpus(), now, None, ended=True)]
        if job.cycles_since_end > CYCLES_TO_ATTRIBUTE:
            return []
    at, job.moved_at = job.moved_at, None
    still_seconds = job.received_at.monotonic_seconds - job.collected_at.monotonic_seconds
    if at is None and still_seconds >= STILL_SECONDS:
        at = job.received_at
    if at is not None:
        job.collected_at, job.claimed = at, holds
        return [_sample(job, holds, at, job.counts())]
    if holds != job.claimed:
        job.claimed = holds
        return [_sample(job, holds, now, None)]
    return []


def _sample(
    job: Job, holds: HeldGpus, at: Instant, counts: EngineCounts | None, *, ended: bool = False
) -> EngineSample:
    return EngineSample(
        job.info,
        holds.gpus,
        at.monotonic_seconds,
        at.unix_seconds,
        counts=counts,
        missing_gpus=holds.missing,
        ended=ended,
        migs=holds.migs,
    )
