"""The book of all jobs that tell of their work by themselves."""

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

# A job that says nothing for this long has ended, and its name is taken for as long again.
IDLE_SECONDS = 300.0
ENDED_SECONDS = 300.0
# A job whose count stands still is idle after this long; a step may take that time and is work still.
STILL_SECONDS = 60.0
# The GPUs that a last report needs are read in the sweep after it, and released in the one after that.
DRAINS_TO_SETTLE = 2
MAX_REPORTERS = 16_384
SOURCE = "work"


class WorkRegistry:
    """
    Take reports of work, and tell the account of them once a sweep.

    At most *max_jobs* are held, those that ended within the last five minutes included, and at most
    MAX_REPORTERS ranks in all. *names* keeps their names apart from those of the engines.
    """

    def __init__(self, clock: Clock, *, names: WorkloadNames | None = None, max_jobs: int = 1000) -> None:
        self.names = names or WorkloadNames()
        self._clock = clock
        self._max_jobs = max_jobs
        self._jobs: dict[str, Job] = {}
        self._reporters = 0
        self._known: tuple[GpuInfo, ...] = ()
        self._instances = MigInstances()
        self._refusals: Counter[str] = Counter()
        self.last_taken_unix_seconds: float | None = None

    @property
    def refusals(self) -> tuple[tuple[str, int], ...]:
        """How many reports were refused since the start, by reason."""
        return tuple(sorted(self._refusals.items()))

    def count_refusal(self, reason: str) -> None:
        self._refusals[reason] += 1

    def now(self) -> Instant:
        return Instant(self._clock.monotonic(), self._clock.unix())

    def take(self, post: WorkReport, source: str, at: Instant | None = None) -> WorkAccepted:
        """
        Count a report of *source*, made at the instant *at* or now. Raises WorkRejected.

        A job that ended begins anew.
        """
        job = self._jobs.get(post.job)
        at = at or self.now()
        if job is None or job.ended_at is not None:
            job = self._new_job(post, source, at)
        self._check(job, post, source)
        if job is not self._jobs.get(post.job):
            self._forget(post.job)
            self._remember(job)
        elif at.monotonic_seconds < job.heard_at.monotonic_seconds:
            at = job.heard_at  # time does not go back, whoever of the job's reporters comes first
        before = job.reporters
        job.take(post, at)
        self._reporters += job.reporters - before
        self.last_taken_unix_seconds = at.unix_seconds
        return WorkAccepted(post.job, post.unit, job.total(post.unit), self._held(job, self._known).gpus)

    def drain(self, known: Sequence[GpuInfo], gpus: Sequence[GpuSample] = ()) -> list[EngineSample]:
        """What is new since the last sweep, of *gpus*, with claims on GPUs where they changed."""
        self._known = tuple(known)
        self._instances.note(gpus)
        now = self.now()
        samples: list[EngineSample] = []
        for name, job in tuple(self._jobs.items()):
            if job.ended_at is None and now.monotonic_seconds - job.heard_at.monotonic_seconds > IDLE_SECONDS:
                job.ended_at = now.monotonic_seconds
            samples += _told(job, self._held(job, known), now)
            if job.ended_at is not None and now.monotonic_seconds - job.ended_at > ENDED_SECONDS:
                self._forget(name)
        return samples

    def _held(self, job: Job, known: Sequence[GpuInfo]) -> HeldGpus:
        return held(job.gpus, known, self._instances.gpu_of)

    def _new_job(self, post: WorkReport, source: str, at: Instant) -> Job:
        if post.job not in self._jobs and len(self._jobs) >= self._max_jobs:
            raise WorkRejected("full", f"the agent holds {self._max_jobs} jobs already (work.max_jobs)")
        return Job(post, source, at)

    def _check(self, job: Job, post: WorkReport, source: str) -> None:
        job.check(post, source)
        if not job.knows(post.rank) and self._reporters >= MAX_REPORTERS:
            raise WorkRejected("full", f"the agent listens to {MAX_REPORTERS} ranks already")

    def _remember(self, job: Job) -> None:
        name = job.info.workload
        if not self.names.reserve((SOURCE, name), name):
            raise WorkRejected("conflict", f"{name!r} is the name of an engine that the agent reads itself")
        self._jobs[name] = job

    def _forget(self, name: str) -> None:
        if name in self._jobs:
            self._reporters -= self._jobs.pop(name).reporters
            self.names.release((SOURCE, name))


def _told(job: Job, holds: HeldGpus, now: Instant) -> list[EngineSample]:
    """What the account has to hear now of a job, and what it *holds*."""
    if job.ended_at is not None:
        job.drains_since_end += 1
        if job.drains_since_end == DRAINS_TO_SETTLE + 1:
            return [_sample(job, HeldGpus(), now, None, ended=True)]
        if job.drains_since_end > DRAINS_TO_SETTLE:
            return []
    at, job.moved_at = job.moved_at, None
    still_seconds = job.heard_at.monotonic_seconds - job.told_at.monotonic_seconds
    if at is None and still_seconds >= STILL_SECONDS:
        at = job.heard_at
    if at is not None:
        job.told_at, job.claimed = at, holds
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
