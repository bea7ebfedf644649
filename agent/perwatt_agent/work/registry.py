"""Registry of the jobs that report their work themselves."""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.engine.gpu_claims import held
from perwatt_agent.engine.mig_instances import HeldGpus, MigInstances
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.work.claim_proof import ClaimProof
from perwatt_agent.work.job import Instant, Job, Reporting
from perwatt_agent.work.quota import Quota
from perwatt_agent.work.report import WorkAccepted, WorkRejected, WorkReport

# A job without a report for this long has ended. Its name stays reserved for as long again.
IDLE_SECONDS = 300.0
ENDED_SECONDS = 300.0
# A job whose count does not move is idle after this long: one step of work may take as long.
STILL_SECONDS = 60.0
# The GPUs of a last report are read in the next collection cycle, and released in the cycle after that.
CYCLES_TO_ATTRIBUTE = 2
MAX_REPORTERS = 16_384
# Series of all jobs together: the aggregator drops a node with more than it keeps (8192), engines included.
MAX_SERIES = 4096
SOURCE = "work"


class WorkRegistry:
    """
    Accepts reports of work, and returns their samples once a collection cycle.

    It holds at most *max_jobs* jobs that have not ended, MAX_REPORTERS ranks in total, and, with the jobs
    that ended within the last five minutes, MAX_SERIES series. *names* keeps their names apart from those of
    the engines. With *proof*, a job gets no GPU on which its process is not found.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        names: WorkloadNames | None = None,
        max_jobs: int = 1000,
        proof: ClaimProof | None = None,
    ) -> None:
        self.names = names or WorkloadNames()
        self._clock = clock
        self._proof = proof
        self._jobs: dict[str, Job] = {}
        self._places = Quota(max_jobs)
        self._ranks = Quota(MAX_REPORTERS)
        self._series = Quota(MAX_SERIES)
        self._taken: dict[str, tuple[int, int, int]] = {}
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

    def add(self, report: WorkReport, reporting: Reporting, at: Instant | None = None) -> WorkAccepted:
        """
        Count a report, made at the instant *at* or now. Raises WorkRejected.

        A report for an ended job starts a new job.
        """
        job = self._jobs.get(report.job)
        at = at or self.now()
        if job is None or job.ended_at is not None:
            job = Job(report, reporting, at)
        job.check(report, reporting)
        self._check_quotas(job, report)
        if job is not self._jobs.get(report.job):
            self._forget(report.job)
            self._store(job)
        elif at.monotonic_seconds < job.received_at.monotonic_seconds:
            at = job.received_at  # time must not go backwards between the job's reporters
        job.add(report, reporting, at)
        self._take(job)
        self.last_report_unix_seconds = at.unix_seconds
        claimed = held(job.gpus, self._known, self._instances.gpu_of).gpus
        unproven = job.unproven(claimed, self._proof) if self._proof else ()
        if unproven:
            self.count_rejection("unproven")
        gpus = tuple(gpu for gpu in claimed if gpu not in unproven)
        return WorkAccepted(report.job, report.unit, job.total(report.unit), gpus, unproven)

    def drain(self, known: Sequence[GpuInfo], gpus: Sequence[GpuSample] = ()) -> list[EngineSample]:
        """Return samples since the last cycle, and changed GPU claims; *gpus* are this cycle's samples."""
        self._known = tuple(known)
        self._instances.update(gpus)
        if self._proof is not None:
            self._proof.update(gpus)
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
            elif job.cycles_since_end > CYCLES_TO_ATTRIBUTE:
                self._take(job)  # it frees its place; its series are shown for a while
        return samples

    def _held(self, job: Job, known: Sequence[GpuInfo]) -> HeldGpus:
        """What a job holds: a GPU that it claims without proof is missing, so its figures are not valid."""
        holds = held(job.gpus, known, self._instances.gpu_of)
        unproven = job.unproven(holds.gpus, self._proof) if self._proof else ()
        if not unproven:
            return holds
        return replace(holds.without(unproven), missing=(holds.missing or 0) + len(unproven))

    def _check_quotas(self, job: Job, report: WorkReport) -> None:
        """Raise WorkRejected if there is no place for what *report* adds."""
        owner = job.reporting.owner
        before = self._jobs.get(report.job)
        # What the ended job of this name holds becomes free.
        places, ranks, series = self._taken.get(report.job, (0, 0, 0)) if before else (0, 0, 0)
        known_ranks = ranks if job is before else 0
        if not self._places.fits(owner, 1 - places):
            raise _full("jobs", owner, f"raise work.max_jobs, now {self._places.limit}")
        if not self._ranks.fits(owner, known_ranks + (not job.is_known(report.rank)) - ranks):
            raise _full("ranks", owner, f"the agent keeps {MAX_REPORTERS} of all jobs")
        if not self._series.fits(owner, job.series_with(report, len(self._known)) - series):
            raise _full("series", owner, f"the agent keeps {MAX_SERIES} of all jobs")

    def _take(self, job: Job) -> None:
        """Bring what a job takes of the quotas up to date."""
        name, owner = job.info.workload, job.reporting.owner
        is_settled = job.cycles_since_end > CYCLES_TO_ATTRIBUTE
        takes = (int(not is_settled), 0 if is_settled else job.reporters, job.series(len(self._known)))
        before = self._taken.get(name, (0, 0, 0))
        self._taken[name] = takes
        for quota, more, less in zip((self._places, self._ranks, self._series), takes, before, strict=True):
            quota.take(owner, more - less)

    def _store(self, job: Job) -> None:
        name = job.info.workload
        if not self.names.reserve((SOURCE, name), name):
            raise WorkRejected("conflict", f"{name!r} is the name of an engine that the agent reads itself")
        self._jobs[name] = job

    def _forget(self, name: str) -> None:
        if name in self._jobs:
            owner = self._jobs.pop(name).reporting.owner
            takes = self._taken.pop(name, (0, 0, 0))
            for quota, places in zip((self._places, self._ranks, self._series), takes, strict=True):
                quota.take(owner, -places)
            self.names.release((SOURCE, name))


def _full(what: str, owner: str, advice: str) -> WorkRejected:
    return WorkRejected("full", f"there is no place for more {what} of {owner or 'the operator'}: {advice}")


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
