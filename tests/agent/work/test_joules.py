"""A job's work and its joules are those of the same instants, and every joule keeps its owner."""

import msgspec
import pytest
from support.accounts.readings import At, sweep, workload_joules

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import WorkloadSnapshot
from perwatt_agent.work.job import GPU_SERIES, JOB_SERIES, MAX_UNITS, Reporting
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.report import WorkReport
from perwatt_aggregator.readings.page_reader import sample_of_snapshot

WATTS = 100.0
SOURCE = Reporting("a test")
SHOWN_SECONDS = 320


class JobNode:
    """A node of one GPU at constant power, swept once a second; jobs report half a second before."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.book = WorkRegistry(self.clock)
        self.account = Account(1.0)
        self.snapshot = self.sweep()

    def post(self, total: float, job: str = "train", *, done: bool = False) -> None:
        self.book.add(WorkReport(job, "tokens", total=total, gpus=(0,), done=done), SOURCE)

    def run(self, seconds: int, *posts: tuple[str, float]) -> Snapshot:
        """Let time pass; each of *posts* is a job and what it adds a second."""
        for _ in range(seconds):
            self.clock.advance(0.5)
            for job, rate in posts:
                self.post(self.clock.monotonic() * rate, job)
            self.clock.advance(0.5)
            self.snapshot = self.sweep()
        return self.snapshot

    def sweep(self) -> Snapshot:
        t = self.clock.monotonic()
        readings = sweep(t, {0: At(joules=WATTS * t, watts=WATTS, utilization=1.0)}, read_at=t - 0.2)
        engines = tuple(self.book.drain(readings.known))
        return self.account.advance(msgspec.structs.replace(readings, engines=engines))

    def shown(self, job: str = "train") -> WorkloadSnapshot:
        return next(one for one in self.snapshot.workloads if one.info.workload == job)

    def joules(self, job: str = "train") -> float:
        return workload_joules(self.snapshot, job)

    def owned(self) -> float:
        """All joules of the GPU that have an owner or wait for one."""
        (gpu,) = self.snapshot.gpus
        assert gpu.unallocated_joules is not None
        assert gpu.unknown_joules is not None
        named = sum(self.joules(one.info.workload) for one in self.snapshot.workloads)
        return named + gpu.unallocated_joules + gpu.unknown_joules + self.account.waiting_joules("GPU-0")

    def accepted(self) -> float:
        (gpu,) = self.snapshot.gpus
        assert gpu.energy is not None
        return gpu.energy.accepted_joules


@pytest.fixture
def node() -> JobNode:
    return JobNode()


def tokens(shown: WorkloadSnapshot) -> float:
    assert shown.counts is not None
    return shown.counts.work["tokens"]


def test_together(node: JobNode) -> None:
    """Over any stretch, joules over tokens is exactly watts over the rate."""
    node.run(5, ("train", 50.0))
    before = (tokens(node.shown()), node.joules())
    for _ in range(30):
        node.run(1, ("train", 50.0))
        done, used = tokens(node.shown()) - before[0], node.joules() - before[1]

        assert pytest.approx(done * WATTS / 50.0) == used
        assert pytest.approx(node.accepted()) == node.owned()


def test_shared(node: JobNode) -> None:
    """Two jobs on one GPU, of which nothing else is known, share it equally."""
    node.run(20, ("train", 50.0), ("other", 1.0))
    before = (node.joules("train"), node.joules("other"))
    node.run(20, ("train", 50.0), ("other", 1.0))

    gained = (node.joules("train") - before[0], node.joules("other") - before[1])
    assert pytest.approx((WATTS * 10.0, WATTS * 10.0)) == gained
    assert pytest.approx(node.accepted()) == node.owned()


def test_done(node: JobNode) -> None:
    """A job's joules end with its last report; it is shown for five minutes more, and then no longer."""
    node.run(20, ("train", 50.0))
    node.post(50.0 * node.clock.monotonic() + 1.0, done=True)
    node.run(5)
    ended_with = node.joules()
    node.run(20)

    assert (ended_with, False) == (node.joules(), node.shown().up)
    assert pytest.approx(WATTS * 20.0, abs=WATTS) == ended_with
    assert pytest.approx(node.accepted()) == node.owned()
    assert () == node.run(SHOWN_SECONDS).workloads


def test_silent(node: JobNode) -> None:
    """The joules of a job that falls silent are not its own beyond its last word."""
    node.run(20, ("train", 50.0))
    spoke_with = node.joules()
    node.run(310)

    assert pytest.approx(spoke_with, abs=WATTS) == node.joules()
    assert 0.0 == node.account.waiting_joules("GPU-0")
    assert pytest.approx(node.accepted()) == node.owned()


def test_restart(node: JobNode) -> None:
    """The joules between a job's last report and its next start belong to no workload, never to its work."""
    node.run(20, ("train", 50.0))
    before = node.joules()
    node.run(60)
    node.post(0.0)
    node.run(10)
    between = node.joules()
    node.post(500.0)
    node.run(2)

    assert pytest.approx(before, abs=WATTS) == between
    assert pytest.approx(WATTS * 10.0, abs=WATTS) == node.joules() - between
    assert 500.0 == tokens(node.shown())


def test_series_of_a_job(node: JobNode) -> None:
    """A job has at most the series that the registry counts for it."""
    for number in range(MAX_UNITS):
        node.book.add(WorkReport("train", f"unit_{number}", total=1.0, gpus=(0,)), SOURCE)
    node.run(2)
    for second in range(3):
        node.book.add(WorkReport("train", "unit_0", total=2.0 + second, gpus=(0,)), SOURCE)
        node.run(1)
    kept = [one for one in sample_of_snapshot(node.snapshot).counters if one.workload == "train"]

    assert MAX_UNITS < len(kept) <= JOB_SERIES + MAX_UNITS + GPU_SERIES
