"""Job that reports its work itself: its state from the first report to its end."""

from msgspec import Struct

from perwatt_agent.engine.gpu_claims import GpuSelector
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.work.claim_proof import Claimant, ClaimProof
from perwatt_agent.work.counters import Reporter, WorkCounter, counter_for
from perwatt_agent.work.quota import OPERATOR
from perwatt_agent.work.report import MAX_GPUS, WorkRejected, WorkReport

ENGINE = "work"
"""The engine name in the figures of such jobs."""

MAX_UNITS = 8


MAX_CLAIMANTS = 64
# Series that the aggregator keeps of a job beside its work, and of each of its GPUs.
JOB_SERIES = 8
GPU_SERIES = 8


class Reporting(Struct, frozen=True):
    """
    Who reports: the way of the reports, the user, and the `owner` of the places that the job takes.

    `user` is None if unknown, and the operator's own source needs no proof of its claims.
    """

    source: str
    owner: str = OPERATOR
    user: int | None = None


class Instant(Struct, frozen=True):
    """One instant on the monotonic and the Unix clock."""

    monotonic_seconds: float
    unix_seconds: float


class Job:
    """
    State of one job. `reporting` is the only source of its reports. `moved_at` is set while the job has new
    work, or its end, that is not collected yet.
    """

    def __init__(self, report: WorkReport, reporting: Reporting, now: Instant) -> None:
        self.info = WorkloadInfo(report.job, role=report.role or "trainer", engine=ENGINE)
        self.reporting = reporting
        self.model = report.model or ""
        self.received_at = now
        self.collected_at = now
        self.moved_at: Instant | None = now
        self.ended_at: float | None = None
        self.cycles_since_end = 0
        self.claimed = HeldGpus()
        self._gpus: GpuSelector = ()
        self._claimants: dict[Reporter, Claimant] = {}
        self._proven: dict[str, bool] = {}
        self._proven_at_version = -1
        self._counters: dict[str, WorkCounter] = {}
        self._modes: dict[str, str] = {}
        self._keys: dict[int, None] = {}
        self._open: dict[Reporter, bool] = {}
        # A total of the whole job is the job's own counter, like that of an engine. All other counts start
        # here: earlier work is not included, and the job does not get the joules of that time.
        counts_here = report.total is None or report.scope == "rank"
        self._started_unix = now.unix_seconds if counts_here else None

    @property
    def reporters(self) -> int:
        """How many ranks have reported, those that are done included."""
        return len(self._open)

    @property
    def gpus(self) -> GpuSelector:
        return self._gpus

    def is_known(self, reporter: Reporter) -> bool:
        return reporter in self._open

    def total(self, unit: str) -> float:
        return self._counters[unit].total

    def counts(self) -> EngineCounts:
        return EngineCounts(
            self.model,
            work={unit: counter.total for unit, counter in self._counters.items()},
            process_start_unix_seconds=self._started_unix,
        )

    def series(self, known_gpus: int) -> int:
        """At most so many series of this job are kept, while the machine has *known_gpus* GPUs."""
        return self._series(len(self._counters), self._gpus, known_gpus)

    def series_with(self, report: WorkReport, known_gpus: int) -> int:
        """At most so many series are kept once *report* is counted."""
        return self._series(len({*self._counters, report.unit}), self._gpus_with(report), known_gpus)

    @staticmethod
    def _series(units: int, gpus: GpuSelector, known_gpus: int) -> int:
        return JOB_SERIES + units + GPU_SERIES * (max(known_gpus, 1) if gpus == "all" else len(gpus))

    def unproven(self, gpus: tuple[str, ...], proof: ClaimProof) -> tuple[str, ...]:
        """Return the GPUs on which *proof* does not find the processes that this job names."""
        if self.reporting.owner == OPERATOR or proof.trusts(self.info.workload):
            return ()
        if self._proven_at_version != proof.version:
            self._proven, self._proven_at_version = {}, proof.version
        for gpu in gpus:
            if gpu not in self._proven:
                self._proven[gpu] = proof.holds(gpu, self._claimants.values())
        return tuple(gpu for gpu in gpus if not self._proven[gpu])

    def check(self, report: WorkReport, reporting: Reporting) -> None:
        """Raise WorkRejected if *report* contradicts an earlier report, or exceeds a limit."""
        if reporting.source != self.reporting.source:
            message = f"job {report.job!r} is already reported by {self.reporting.source}"
            raise WorkRejected("conflict", message)
        if None not in (reporting.user, self.reporting.user) and reporting.user != self.reporting.user:
            raise WorkRejected("conflict", f"job {report.job!r} is already reported by another user")
        if report.model not in (None, self.model):
            raise WorkRejected("conflict", f"job {report.job!r} has the model {self.model!r} until it ends")
        if report.role not in (None, self.info.role):
            raise WorkRejected("conflict", f"job {report.job!r} has the role {self.info.role} until it ends")
        mode = self._modes.get(report.unit, report.counting_mode)
        if mode != report.counting_mode:
            raise WorkRejected("conflict", f"job {report.job!r} already reports its {report.unit} as {mode}")
        if report.unit not in self._counters and len(self._counters) == MAX_UNITS:
            raise WorkRejected("full", f"job {report.job!r} has {MAX_UNITS} units already")
        if len(self._gpus_with(report)) > MAX_GPUS:
            raise WorkRejected("full", f"job {report.job!r} claims more than {MAX_GPUS} GPUs")

    def add(self, report: WorkReport, reporting: Reporting, now: Instant) -> None:
        """Count *report*, which `check` has accepted."""
        if report.unit not in self._counters:
            self._counters[report.unit] = counter_for(report, self._keys)
            self._modes[report.unit] = report.counting_mode
            self.moved_at = now
        counter = self._counters[report.unit]
        before = counter.total
        if counter.add(report):
            self._started_unix = now.unix_seconds
        if counter.total != before:
            self.moved_at = now
        self._gpus = self._gpus_with(report)
        self._add_claimant(report, reporting)
        self.received_at = now
        self._open[report.rank] = not report.done
        if report.done and (report.scope == "global" or not any(self._open.values())):
            self.moved_at = now  # attribute its last joules now, whether or not its count moved
            self.ended_at = now.monotonic_seconds

    def _add_claimant(self, report: WorkReport, reporting: Reporting) -> None:
        is_new = report.rank not in self._claimants
        if report.pid is None or (is_new and len(self._claimants) == MAX_CLAIMANTS):
            return
        claimant = Claimant(report.pid, reporting.user)
        if self._claimants.get(report.rank) != claimant:
            self._claimants[report.rank] = claimant
            self._proven_at_version = -1

    def _gpus_with(self, report: WorkReport) -> GpuSelector:
        if report.gpus is None:
            return self._gpus
        if report.gpus == "all" or self._gpus == "all" or report.scope == "global":
            return report.gpus
        return tuple(dict.fromkeys((*self._gpus, *report.gpus)))
