"""One job that tells of its work by itself, from its first report to its end."""

from msgspec import Struct

from perwatt_agent.engine.gpu_claims import GpuSelector
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.work.counters import Reporter, Tally, tally_for
from perwatt_agent.work.report import MAX_GPUS, WorkRejected, WorkReport

ENGINE = "work"
"""What stands for the engine in the figures of such jobs."""

MAX_UNITS = 8


class Instant(Struct, frozen=True):
    """One moment on both clocks."""

    monotonic_seconds: float
    unix_seconds: float


class Job:
    """
    What is known of one job. `source` is who tells of it, and `moved_at` when its count last grew
    beyond what was passed on.
    """

    def __init__(self, post: WorkReport, source: str, now: Instant) -> None:
        self.info = WorkloadInfo(post.job, role=post.role or "trainer", engine=ENGINE)
        self.source = source
        self.model = post.model or ""
        self.heard_at = now
        self.told_at = now
        self.moved_at: Instant | None = now
        self.ended_at: float | None = None
        self.drains_since_end = 0
        self.claimed = HeldGpus()
        self._gpus: GpuSelector = ()
        self._tallies: dict[str, Tally] = {}
        self._manners: dict[str, str] = {}
        self._keys: dict[int, None] = {}
        self._open: dict[Reporter, bool] = {}
        # A total for the whole job is the job's own, as an engine's is. All else is counted here, from
        # here on: what came before is not in it, nor are the joules of that time the job's.
        counts_here = post.total is None or post.scope == "rank"
        self._born_unix = now.unix_seconds if counts_here else None

    @property
    def reporters(self) -> int:
        """How many have told of the job, those that are done included."""
        return len(self._open)

    @property
    def gpus(self) -> GpuSelector:
        return self._gpus

    def knows(self, reporter: Reporter) -> bool:
        return reporter in self._open

    def total(self, unit: str) -> float:
        return self._tallies[unit].total

    def counts(self) -> EngineCounts:
        return EngineCounts(
            self.model,
            work={unit: tally.total for unit, tally in self._tallies.items()},
            process_start_unix_seconds=self._born_unix,
        )

    def check(self, post: WorkReport, source: str) -> None:
        """Raise WorkRejected where *post* contradicts what the job said before, or asks for too much."""
        if source != self.source:
            raise WorkRejected("conflict", f"job {post.job!r} is told of by {self.source} already")
        if post.model not in (None, self.model):
            raise WorkRejected("conflict", f"job {post.job!r} has the model {self.model!r} until it ends")
        if post.role not in (None, self.info.role):
            raise WorkRejected("conflict", f"job {post.job!r} has the role {self.info.role} until it ends")
        manner = self._manners.get(post.unit, post.manner)
        if manner != post.manner:
            raise WorkRejected("conflict", f"job {post.job!r} counts its {post.unit} by {manner}")
        if post.unit not in self._tallies and len(self._tallies) == MAX_UNITS:
            raise WorkRejected("full", f"job {post.job!r} has {MAX_UNITS} units already")
        if len(self._gpus_with(post)) > MAX_GPUS:
            raise WorkRejected("full", f"job {post.job!r} claims more than {MAX_GPUS} GPUs")

    def take(self, post: WorkReport, now: Instant) -> None:
        """Count *post*, which was checked."""
        if post.unit not in self._tallies:
            self._tallies[post.unit] = tally_for(post, self._keys)
            self._manners[post.unit] = post.manner
            self.moved_at = now
        tally = self._tallies[post.unit]
        before = tally.total
        if tally.add(post):
            self._born_unix = now.unix_seconds
        if tally.total != before:
            self.moved_at = now
        self._gpus = self._gpus_with(post)
        self.heard_at = now
        self._open[post.rank] = not post.done
        if post.done and (post.scope == "global" or not any(self._open.values())):
            self.moved_at = now  # its last joules are settled now, whether or not anything moved
            self.ended_at = now.monotonic_seconds

    def _gpus_with(self, post: WorkReport) -> GpuSelector:
        if post.gpus is None:
            return self._gpus
        if post.gpus == "all" or self._gpus == "all" or post.scope == "global":
            return post.gpus
        return tuple(dict.fromkeys((*self._gpus, *post.gpus)))
