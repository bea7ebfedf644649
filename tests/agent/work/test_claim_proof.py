"""
Falsified claims: a job gets the joules of a GPU only with a process of its user on that GPU.

The matrix crosses whom a report names, who reports, and what the driver lists.
"""

from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from support.accounts.readings import info

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.readings import GpuSample
from perwatt_agent.work.claim_proof import Claimant, ClaimProof
from perwatt_agent.work.job import GPU_SERIES, JOB_SERIES, MAX_UNITS, Reporting
from perwatt_agent.work.quota import OPERATOR
from perwatt_agent.work.registry import CYCLES_TO_ATTRIBUTE, MAX_SERIES, WorkRegistry
from perwatt_agent.work.report import MAX_GPUS, WorkRejected, WorkReport
from perwatt_aggregator.readings.node_ring import MAX_SERIES as AGGREGATOR_SERIES

GPUS = (info(0), info(1))
ALICE, MALLORY, ROOT = 1000, 1001, 0
PARENTS = {1: 0, 50: 1, 100: 50, 101: 100, 102: 101, 200: 1, 300: 1}
"""Launcher 100, its worker 101 on GPU 0 (pid 7 in its container), a helper 102; 50 is Alice's session."""
USERS = {1: ROOT, 50: ALICE, 100: ALICE, 101: ALICE, 102: ALICE, 200: MALLORY, 300: ALICE}
RELATED = {50, 100, 101, 102}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for pid, parent in PARENTS.items():
        folder = tmp_path / str(pid)
        folder.mkdir()
        inner = "\t7" if pid == 101 else ""
        uid = "\t".join([str(USERS[pid])] * 4)
        (folder / "status").write_text(
            f"Name:\ta: b\nState:\tS (sleeping)\nPPid:\t{parent}\nUid:\t{uid}\nNSpid:\t{pid}{inner}\n"
        )
    return tmp_path


def listing(*pids: int) -> tuple[GpuSample, ...]:
    processes = tuple(GpuProcess(pid) for pid in pids)
    return (
        GpuSample(GPUS[0].uuid, "ok", slow=GpuSlowReading(0.0, processes=processes)),
        GpuSample(GPUS[1].uuid, "ok", slow=GpuSlowReading(0.0)),
    )


def test_matrix(proc: Path) -> None:
    """Only a process on the GPU, above it or below it proves a claim, and only to its own user and root."""
    proof = ClaimProof(proc=proc)
    proof.update(listing(101))
    pids, users = [*PARENTS, 7, 4711], [ALICE, MALLORY, ROOT, None]
    right = {
        (pid, user): (pid in RELATED and user in (ALICE, ROOT, None)) or (pid == 7 and user in (ALICE, ROOT))
        for pid, user in product(pids, users)
    }

    assert right == {one: proof.holds(GPUS[0].uuid, [Claimant(*one)]) for one in right}
    assert not any(proof.holds(GPUS[1].uuid, [Claimant(*one)]) for one in right)


def reporting(user: int | None) -> Reporting:
    return Reporting("POST", f"user {user}", user)


def report(job: str = "train", **fields: object) -> WorkReport:
    return WorkReport(job, "tokens", total=1.0, gpus=(0,), **fields)  # type: ignore[arg-type]


def registry(clock: ManualClock, proc: Path, *trusted: str) -> WorkRegistry:
    book = WorkRegistry(clock, proof=ClaimProof(trusted, proc))
    book.drain(GPUS, listing(101))
    return book


def test_falsified_claim(clock: ManualClock, proc: Path) -> None:
    """A claim without a process has no GPU and is not valid: the engine there keeps its joules."""
    book = registry(clock, proc)
    for pid in (None, 101, 200):
        answer = book.add(report(pid=pid), reporting(MALLORY))
        assert ((), (GPUS[0].uuid,)) == (answer.gpus, answer.unproven_gpus)
    (sample,) = book.drain(GPUS)

    assert ((), 1) == (sample.gpus, sample.missing_gpus)
    assert (("unproven", 3),) == book.rejections


def test_proven_later(clock: ManualClock, proc: Path) -> None:
    """A job that reports before its process is listed gets its GPU once it is."""
    book = WorkRegistry(clock, proof=ClaimProof(proc=proc))
    book.drain(GPUS, listing())
    assert () == book.add(report(pid=100), reporting(ALICE)).gpus
    book.drain(GPUS)
    (sample,) = book.drain(GPUS, listing(101))

    assert ((GPUS[0].uuid,), None) == (sample.gpus, sample.missing_gpus)
    (sample,) = book.drain(GPUS, listing(300))
    assert ((), 1) == (sample.gpus, sample.missing_gpus)


def test_trusted(clock: ManualClock, proc: Path) -> None:
    """What the operator configures needs no proof: trusted jobs, and text files."""
    book = registry(clock, proc, "train-*")

    assert (GPUS[0].uuid,) == book.add(report("train-7b"), reporting(MALLORY)).gpus
    assert () == book.add(report("other"), reporting(MALLORY)).gpus
    assert (GPUS[0].uuid,) == book.add(report("file"), Reporting("a text file", OPERATOR)).gpus


def test_another_user(clock: ManualClock, proc: Path) -> None:
    """A job belongs to the user who reported it first."""
    book = registry(clock, proc)
    book.add(report(), reporting(ALICE))

    with pytest.raises(WorkRejected, match="another user"):
        book.add(report(), reporting(MALLORY))


def fill(book: WorkRegistry, user: int, *, done: bool = False) -> int:
    accepted = 0
    for number in range(1100):
        with suppress(WorkRejected):
            book.add(report(f"job-{user}-{number}", done=done), reporting(user))
            accepted += 1
    return accepted


def test_flood(clock: ManualClock) -> None:
    """1,100 posts of one user leave places for the others, and `done` frees the place."""
    book = WorkRegistry(clock, max_jobs=20)
    assert 10 == fill(book, MALLORY)
    assert 5 == fill(book, ALICE)
    for number in range(10):
        book.add(report(f"job-{MALLORY}-{number}", done=True), reporting(MALLORY))
    for _ in range(CYCLES_TO_ATTRIBUTE + 2):
        book.drain(GPUS)

    book.add(report("next"), reporting(MALLORY))


def test_bounds_of_agent_and_aggregator(clock: ManualClock) -> None:
    """All jobs together have fewer series than the aggregator keeps of a node, whatever is configured."""
    assert MAX_SERIES <= AGGREGATOR_SERIES // 2
    assert JOB_SERIES + MAX_UNITS + GPU_SERIES * MAX_GPUS <= MAX_SERIES // 2
    book = WorkRegistry(clock, max_jobs=100_000)
    jobs = sum(fill(book, user, done=user % 2 == 0) for user in range(12))

    assert jobs * (JOB_SERIES + 1 + GPU_SERIES) <= MAX_SERIES
