"""A GPU in MIG instances: workloads hold them by claim, or by where their processes are."""

import pytest
from support.accounts.books import Books
from support.accounts.node import Engine, Node
from support.accounts.readings import mig

from perwatt_agent.facts.gpu_process import GpuProcess

IDLE = {"Test GPU": 70.0}
WATTS = 300.0


def divided(idle_watts: dict[str, float] | None = None, *engines: Engine) -> Books:
    """A GPU of a 3g that is busy and a 2g that is less so, two slices free; `a` and `b` hold one each."""
    books = Books(Node(1, engines or two()), idle_watts)
    books.node.migs[0] = (mig("big", 3, 0.8), mig("small", 2, 0.3))
    books.node.processes[0] = ()
    books.node.slow_seconds = 1
    return books


def two() -> tuple[Engine, Engine]:
    first, second = Engine("a"), Engine("b")
    first.migs, second.migs = {"GPU-0": ("MIG-big",)}, {"GPU-0": ("MIG-small",)}
    return first, second


def watts(books: Books, seconds: int = 50) -> dict[str, float]:
    """The mean power of the workloads, and of what is (unallocated, unknown), over some time."""

    def joules() -> dict[str, float]:
        names = [engine.workload for engine in books.node.engines]
        rest = dict(zip(("unallocated", "unknown"), books.rest(), strict=True))
        return {name: books.joules(name) for name in names} | rest

    before = joules()
    books.run(seconds)
    return {name: (after - before[name]) / seconds for name, after in joules().items()}


class TestByActivity:
    def test_slices_times_activity(self) -> None:
        """Idle power by slice, the free ones' is unallocated; what is above it by slices x activity."""
        books = divided(IDLE)
        books.run(30)

        expected = {"a": 30.0 + 230.0 * 0.8, "b": 20.0 + 230.0 * 0.2, "unallocated": 20.0, "unknown": 0.0}
        assert pytest.approx(expected) == watts(books)
        assert "mig_activity" == books.method("a") == books.method("b")

    def test_idle_power_unknown(self) -> None:
        """Without idle power, all goes by activity, and a free slice has nothing."""
        books = divided()
        books.run(30)

        assert pytest.approx({"a": 240.0, "b": 60.0, "unallocated": 0.0, "unknown": 0.0}) == watts(books)

    def test_alone(self) -> None:
        """One that holds an instance alone shares its GPU with nobody, and still has its slices only."""
        engine = two()[0]
        books = divided(IDLE, engine)
        books.node.migs[0] = (mig("big", 3, 0.8), mig("small", 2, 0.0))
        books.run(30)

        expected = {"a": 30.0 + 230.0, "unallocated": 40.0, "unknown": 0.0}
        assert pytest.approx(expected) == watts(books)
        assert "mig_activity" == books.method("a")

    def test_a_stranger(self) -> None:
        """What computes in an instance that no workload holds is unknown, its slices as well."""
        books = divided(IDLE, two()[0])
        books.run(30)

        expected = {"a": 30.0 + 230.0 * 0.8, "unallocated": 20.0, "unknown": 20.0 + 230.0 * 0.2}
        assert pytest.approx(expected) == watts(books)


class TestBySlice:
    def test_activity_unknown(self) -> None:
        """Before Hopper no instance tells what its SMs do: by slice alone."""
        books = divided(IDLE)
        books.node.migs[0] = (mig("big", 3), mig("small", 2))
        books.run(30)

        expected = {"a": 30.0 + 230.0 * 0.6, "b": 20.0 + 230.0 * 0.4, "unallocated": 20.0, "unknown": 0.0}
        assert pytest.approx(expected) == watts(books)
        assert "mig_slice" == books.method("a")

    def test_layout_that_grows_old(self) -> None:
        """What was done is believed for as long as it would be shown; how the GPU is divided stays."""
        books = divided(IDLE)
        books.run(30)
        books.node.slow_seconds = 1_000_000
        books.run(60)

        assert "mig_slice" == books.method("a")
        assert pytest.approx(20.0) == watts(books)["unallocated"]


class TestByProcess:
    @staticmethod
    def books() -> Books:
        engines = Engine("a"), Engine("b")
        for pid, engine in enumerate(engines, 100):
            engine.processes = {pid: 10.0}
        books = divided(IDLE, *engines)
        books.node.processes[0] = (GpuProcess(100, mig="MIG-big"), GpuProcess(101, mig="MIG-small"))
        return books

    def test_where_its_processes_are(self) -> None:
        """A workload whose processes are known holds the instances in which they compute."""
        books = self.books()
        books.run(30)

        expected = {"a": 30.0 + 230.0 * 0.8, "b": 20.0 + 230.0 * 0.2, "unallocated": 20.0, "unknown": 0.0}
        assert pytest.approx(expected) == watts(books)

    def test_a_list_that_is_not_had(self) -> None:
        """Processes that are not listed for a while are where they were."""
        books = self.books()
        books.run(30)
        books.node.processes[0] = None
        books.run(10)

        assert "mig_activity" == books.method("a")

    def test_moved(self) -> None:
        """One that moves takes the other instance's share from then on."""
        books = self.books()
        books.run(30)
        books.node.processes[0] = (GpuProcess(100, mig="MIG-small"), GpuProcess(101, mig="MIG-big"))
        books.run(10)

        assert pytest.approx(20.0 + 230.0 * 0.2) == watts(books)["a"]

    def test_the_whole_of_it(self) -> None:
        """Where one holder's instance is not known the GPU is shared as a whole one is."""
        books = self.books()
        books.node.engines[1].processes = {}
        books.run(30)

        assert pytest.approx({"a": 150.0, "b": 150.0, "unallocated": 0.0, "unknown": 0.0}) == watts(books)
        assert "busy_share" == books.method("a")


class TestClaimOfTheWhole:
    def test_alone(self) -> None:
        """Who claims all of a divided GPU has all of it, its free slices too."""
        books = divided(IDLE, Engine("a"))
        books.run(30)

        assert pytest.approx({"a": WATTS, "unallocated": 0.0, "unknown": 0.0}) == watts(books)
        assert "exclusive" == books.method("a")


class TestArrangedAnew:
    def test_under_load(self) -> None:
        """From the read that sees it on, the new parts divide; what was before keeps its shares."""
        books = divided(IDLE)
        books.run(30)
        books.node.migs[0] = (mig("new", 4, 0.5), mig("small", 2, 0.5))
        books.node.engines[0].migs = {"GPU-0": ("MIG-new",)}
        books.run(10)

        assert pytest.approx(
            {"a": 40.0 + 230.0 * 2 / 3, "b": 20.0 + 230.0 / 3, "unallocated": 10.0, "unknown": 0.0}
        ) == watts(books)

    def test_made_whole(self) -> None:
        """A GPU that is not divided any more is shared as a whole one."""
        books = divided(IDLE)
        books.run(30)
        books.node.migs[0] = None
        for engine in books.node.engines:
            engine.migs = {}
        books.run(10)

        assert "busy_share" == books.method("a")
        assert pytest.approx(150.0) == watts(books)["a"]

    def test_agent_down(self) -> None:
        """The time without an agent goes by the instances that each workload had."""
        books = divided(IDLE)
        books.run(30)
        books.restart_agent(seconds=1_000.0)
        before = books.rest()[0]
        books.run(10)

        assert pytest.approx(20.0 * 1_010.0, rel=0.01) == books.rest()[0] - before
        assert pytest.approx(214.0 / 66.0, rel=0.01) == books.joules("a") / books.joules("b")


def test_followers() -> None:
    """One without a page is active while its own instance works, whatever its neighbours do."""
    engines = two()
    for engine in engines:
        engine.has_page = False
    books = divided(IDLE, *engines)
    books.node.migs[0] = (mig("big", 3, 0.8), mig("small", 2, 0.0))
    books.run(30)

    first, second = books.energy("a"), books.energy("b")
    assert pytest.approx((0.0, (30.0 + 230.0) * 29.0)) == (first.idle_joules, first.active_joules)
    assert pytest.approx((20.0 * 29.0, 0.0)) == (second.idle_joules, second.active_joules)


def test_idle_power_of_a_divided_gpu() -> None:
    """It is learnt while no process is listed and no instance works, though there is no utilization."""
    books = Books(Node(1, (), watts=80.0))
    books.node.migs[0], books.node.processes[0] = (mig("big", 3, 0.1), mig("small", 2)), ()
    books.node.slow_seconds = 1
    books.run(80)
    assert books.snapshot is not None
    assert None is books.snapshot.gpus[0].idle_power_watts

    books.node.migs[0] = (mig("big", 3, 0.0), mig("small", 2))
    books.run(80)
    assert 80.0 == books.snapshot.gpus[0].idle_power_watts
