"""Jobs that report their work: nothing counts twice, nothing grows without bound."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import info, mig

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.work.counters import MAX_KEYS
from perwatt_agent.work.job import MAX_UNITS, Reporting
from perwatt_agent.work.registry import (
    CYCLES_TO_ATTRIBUTE,
    ENDED_SECONDS,
    IDLE_SECONDS,
    MAX_REPORTERS,
    STILL_SECONDS,
    WorkRegistry,
)
from perwatt_agent.work.report import WorkRejected, WorkReport

GPUS = (info(0), info(1), info(2))
SOURCE = Reporting("a test")


def post(
    total: float | None = None, *, job: str = "train", unit: str = "tokens", **fields: Any
) -> WorkReport:
    """A report as it comes in: decoded, and so checked."""
    given = {"job": job, "unit": unit, **fields} | ({} if total is None else {"total": total})
    return msgspec.json.decode(msgspec.json.encode(given), type=WorkReport)


def rank(number: int, total: float, **fields: Any) -> WorkReport:
    return post(total, scope="rank", rank=number, **fields)


def taken(book: WorkRegistry, *posts: WorkReport) -> list[float]:
    """The job's total after each report."""
    return [book.add(one, SOURCE).total for one in posts]


def counted(samples: Sequence[EngineSample]) -> list[tuple[float, dict[str, float]]]:
    """The counts in the samples, with their instants."""
    return [(sample.monotonic_seconds, sample.counts.work) for sample in samples if sample.counts]


@pytest.fixture
def book(clock: ManualClock) -> WorkRegistry:
    return WorkRegistry(clock, max_jobs=3)


class TestGlobal:
    def test_total(self, book: WorkRegistry) -> None:
        """A total of the whole job is shown as reported."""
        assert [500.0, 500.0, 800.0] == taken(book, post(500), post(500), post(800))

    def test_every_rank_tells_the_same(self, book: WorkRegistry) -> None:
        """If 64 ranks report the whole job, the highest counts; one that lags behind is not a restart."""
        totals = taken(book, *(post(total, rank=number) for total in (100, 200) for number in range(64)))

        assert 200.0 == taken(book, post(190 + 10, rank=3))[0] == totals[-1]
        assert totals == sorted(totals)

    def test_fall(self, book: WorkRegistry) -> None:
        """A total that decreases is a restart: the count continues from the new total."""
        assert [500.0, 20.0, 30.0] == taken(book, post(500), post(20), post(30))

    def test_restart_of_many(self, book: WorkRegistry) -> None:
        """Late reports of the old run do not count; a rank joins the new run when its total decreases."""
        taken(book, *(post(500, rank=number) for number in (0, 1)))

        restarted = [post(20, rank=0), post(505, rank=1), post(25, rank=1), post(30, rank=0)]
        assert [20.0, 20.0, 25.0, 30.0] == taken(book, *restarted)


class TestRanks:
    def test_sum(self, book: WorkRegistry) -> None:
        """The work of the ranks since their first reports adds up."""
        assert [0.0, 0.0, 10.0, 17.0] == taken(book, rank(0, 0), rank(1, 1000), rank(0, 10), rank(1, 1007))

    def test_restart_of_one(self, book: WorkRegistry) -> None:
        """All that a restarted rank reports is new; the work of the others still counts once."""
        taken(book, rank(0, 0), rank(1, 0), rank(0, 100), rank(1, 100))

        assert [205.0, 210.0] == taken(book, rank(0, 5), rank(1, 105))


class TestIncrements:
    def test_repeated(self, book: WorkRegistry) -> None:
        """The same key is the same work, however often it is reported."""
        again = [post(increment=5, key=key) for key in "aabab"]

        assert [5.0, 5.0, 10.0, 10.0, 10.0] == taken(book, *again)

    def test_keys_of_ranks(self, book: WorkRegistry) -> None:
        """With scope rank each rank has keys of its own, with scope global they share them."""
        own = [post(increment=1, key="step-1", scope="rank", rank=number) for number in range(64)]
        shared = [post(increment=1, key="step-1", rank=number, job="other") for number in range(64)]

        assert (64.0, 1.0) == (taken(book, *own)[-1], taken(book, *shared)[-1])

    def test_keys_are_bounded(self, book: WorkRegistry) -> None:
        """Only the latest keys are remembered."""
        totals = taken(book, *(post(increment=1, key=str(number)) for number in range(MAX_KEYS + 1)))

        latest, forgotten = post(increment=1, key=str(MAX_KEYS)), post(increment=1, key="0")
        assert [totals[-1], totals[-1] + 1.0] == taken(book, latest, forgotten)


REPORTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["work", "repeat", "restart"]), st.integers(0, 50)),
    max_size=60,
)


class TestNeverDoubled:
    @given(REPORTS)
    def test_ranks(self, reports: list[tuple[int, str, int]]) -> None:
        """The sum is exactly the ranks' work since their first reports, over repetitions and restarts."""
        book, done, totals = WorkRegistry(ManualClock()), 0.0, dict.fromkeys(range(4), 0.0)
        taken(book, *(rank(number, 0) for number in totals))
        for number, what, amount in reports:
            if what == "restart":
                # One that did at least as much at once cannot be told from one that went on.
                amount = min(amount, int(totals[number]) - 1)
                if amount < 0:
                    continue
                totals[number] = 0.0
            worked = 0.0 if what == "repeat" else float(amount)
            totals[number] += worked
            done += worked
            assert [done] == taken(book, rank(number, totals[number]))

    @given(REPORTS)
    def test_increments(self, reports: list[tuple[int, str, int]]) -> None:
        """Each key counts once, whichever rank repeats it and whenever."""
        book, done, told = WorkRegistry(ManualClock()), 0.0, list[WorkReport]()
        for number, what, amount in reports:
            if what == "repeat" and told:
                new = told[amount % len(told)]
            else:
                new = post(increment=amount, key=f"{len(told)}", scope="rank", rank=number)
                told.append(new)
                done += amount
            assert [done] == taken(book, new)

    @given(REPORTS)
    def test_global(self, reports: list[tuple[int, str, int]]) -> None:
        """
        Within one life the count never falls and is what the fastest rank told; after a restart of all
        ranks it is what was done since.
        """
        book, done, said = WorkRegistry(ManualClock()), 0.0, dict.fromkeys(range(4), 0.0)
        taken(book, *(post(0, rank=number) for number in said))
        for number, what, amount in reports:
            if what == "restart" and all(told > 0.0 for told in said.values()):
                done, said = 0.0, dict.fromkeys(said, 0.0)
                taken(book, *(post(0, rank=each) for each in said))
            elif what == "work":
                done += amount
            # A rank tells what it knows, which may be of some time ago.
            said[number] = max(said[number], done if what == "work" else said[number])
            assert [max(said.values())] == taken(book, post(said[number], rank=number))


class TestRefused:
    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(post(increment=1, key="a"), id="another way to count"),
            pytest.param(rank(0, 1), id="another scope"),
            pytest.param(post(2, model="other"), id="another model"),
            pytest.param(post(2, role="mixed"), id="another role"),
        ],
    )
    def test_conflict(self, book: WorkRegistry, second: WorkReport) -> None:
        """What contradicts the job's first report is refused, and changes nothing."""
        taken(book, post(1, model="llama"))
        with pytest.raises(WorkRejected) as refused:
            book.add(second, SOURCE)

        assert "conflict" == refused.value.reason
        assert [3.0] == taken(book, post(3))

    def test_two_sources(self, book: WorkRegistry) -> None:
        """Two sources of one job would look like restarts: the second is rejected."""
        taken(book, post(100))
        with pytest.raises(WorkRejected, match="already reported by a test"):
            book.add(post(90), Reporting("another"))

    def test_names_of_engines(self, clock: ManualClock) -> None:
        """A job cannot take the name of an engine, nor an engine that of a job."""
        names = WorkloadNames(["chat"])
        book = WorkRegistry(clock, names=names)
        with pytest.raises(WorkRejected, match="'chat' is the name of an engine"):
            book.add(post(1, job="chat"), SOURCE)
        taken(book, post(1))

        assert "train-8000" == names.claim("an engine", "train", 8000)

    def test_jobs(self, book: WorkRegistry, clock: ManualClock) -> None:
        """Of 10,000 jobs as many are held as may be; one that ended makes room only once it is forgotten."""
        refused = 0
        for number in range(10_000):
            try:
                book.add(post(1, job=f"job-{number}", done=True), SOURCE)
            except WorkRejected as error:
                refused += error.reason == "full"

        assert 9_997 == refused
        clock.advance(ENDED_SECONDS + 1.0)
        book.drain(GPUS)
        assert [7.0] == taken(book, post(7, job="another"))

    def test_units_ranks_and_gpus(self, book: WorkRegistry) -> None:
        """Units, ranks and GPUs are bounded too."""
        taken(book, *(post(1, unit=f"unit_{number}") for number in range(MAX_UNITS)))
        with pytest.raises(WorkRejected, match="8 units"):
            book.add(post(1, unit="one_more"), SOURCE)
        taken(book, rank(0, 1, job="other", gpus=list(range(60))))
        with pytest.raises(WorkRejected, match="64 GPUs"):
            book.add(rank(1, 1, job="other", gpus=list(range(60, 70))), SOURCE)

    def test_ranks(self, book: WorkRegistry) -> None:
        """Ranks are bounded over all jobs, those that are done included."""
        taken(book, *(rank(number, 1, done=number > 0) for number in range(MAX_REPORTERS)))
        with pytest.raises(WorkRejected) as refused:
            book.add(rank(0, 1, job="other"), SOURCE)

        assert "full" == refused.value.reason


class TestTelling:
    def test_instant(self, book: WorkRegistry, clock: ManualClock) -> None:
        """Counts are dated to the report; the reports of one collection cycle become one sample."""
        taken(book, post(0, gpus=[0, "GPU-2"], model="llama"))
        clock.advance(0.25)
        taken(book, post(10))
        clock.advance(0.25)
        taken(book, post(10))
        (sample,) = book.drain(GPUS)

        assert [(1_000.25, {"tokens": 10.0})] == counted([sample])
        assert ("train", "trainer", "work") == (sample.info.workload, sample.info.role, sample.info.engine)
        assert (("GPU-0", "GPU-2"), None) == (sample.gpus, sample.counts and sample.counts.output_tokens)
        assert [] == book.drain(GPUS)

    def test_gpus_of_ranks(self, book: WorkRegistry) -> None:
        """Each rank names its GPUs, and the job holds them all; GPUs appear when the driver does."""
        taken(book, rank(0, 0, gpus=[0]), rank(1, 0, gpus=[1]))

        assert [(), ("GPU-0", "GPU-1")] == [
            sample.gpus for known in ((), GPUS) for sample in book.drain(known)
        ]
        assert ("GPU-0", "GPU-1") == book.add(rank(1, 5), SOURCE).gpus

    def test_instances(self, book: WorkRegistry) -> None:
        """A job that names MIG instances holds these parts, and misses those that there are not."""
        slow = GpuSlowReading(0.0, mig=(mig("a", 3), mig("b", 4)))
        book.add(post(1, gpus=["MIG-b", "MIG-z", 2]), SOURCE)
        (told,) = book.drain(GPUS, [GpuSample("GPU-1", "ok", slow=slow)])

        held = (("GPU-1", "GPU-2"), {"GPU-1": ("MIG-b",)}, 1)
        assert held == (told.gpus, told.migs, told.missing_gpus)
        assert ("GPU-1", "GPU-2") == book.add(post(2), SOURCE).gpus

        (told,) = book.drain(GPUS, [GpuSample("GPU-1", "ok", slow=GpuSlowReading(1.0))])
        assert (("GPU-2",), {}, 2) == (told.gpus, told.migs, told.missing_gpus)

    def test_standing_still(self, book: WorkRegistry, clock: ManualClock) -> None:
        """A count that does not move is reported again only after a minute: a step may take that long."""
        taken(book, post(10))
        book.drain(GPUS)
        told = []
        for _ in range(int(2 * STILL_SECONDS)):
            clock.advance(1.0)
            taken(book, post(10))
            told += counted(book.drain(GPUS))

        assert [(1_000.0 + STILL_SECONDS * number, {"tokens": 10.0}) for number in (1, 2)] == told

    def test_done(self, book: WorkRegistry, clock: ManualClock) -> None:
        """The last report is settled by the GPUs' next readings; then the job lets go of them."""
        taken(book, post(10, gpus="all"), post(10, done=True))
        told = [book.drain(GPUS) for _ in range(CYCLES_TO_ATTRIBUTE + 3)]

        assert [1, 0, 1, 0, 0] == [len(samples) for samples in told]
        assert (("GPU-0", "GPU-1", "GPU-2"), False) == (told[0][0].gpus, told[0][0].ended)
        assert ((), True, None) == (told[2][0].gpus, told[2][0].ended, told[2][0].counts)

    def test_ranks_are_done_one_by_one(self, book: WorkRegistry) -> None:
        """A job ends with its last rank."""
        taken(book, rank(0, 1), rank(1, 1), rank(0, 2, done=True))
        book.drain(GPUS)
        assert not any(sample.ended for _ in range(4) for sample in book.drain(GPUS))

        taken(book, rank(1, 2, done=True))
        assert 1 == sum(sample.ended for _ in range(4) for sample in book.drain(GPUS))

    def test_silence(self, book: WorkRegistry, clock: ManualClock) -> None:
        """A job without a report for five minutes has ended, and its name may be used again."""
        taken(book, post(10, model="llama"))
        book.drain(GPUS)
        clock.advance(IDLE_SECONDS + 1.0)

        assert [True] == [sample.ended for _ in range(4) for sample in book.drain(GPUS)]
        assert [3.0] == taken(book, post(increment=3, key="a", model="other"))

    def test_begins_anew(self, book: WorkRegistry, clock: ManualClock) -> None:
        """A count that resets has its time, so that joules of the time between are not attributed to work."""
        taken(book, post(10))
        (first,) = book.drain(GPUS)
        clock.advance(60.0)
        taken(book, post(2))
        (second,) = book.drain(GPUS)

        assert first.counts is not None
        assert second.counts is not None
        assert None is first.counts.process_start_unix_seconds
        assert clock.unix() == second.counts.process_start_unix_seconds
