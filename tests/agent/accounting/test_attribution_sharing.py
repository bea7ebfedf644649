"""A GPU that several workloads hold: equal shares of idle power, the rest by their activity."""

import pytest
from support.accounts.books import Books, books_of
from support.accounts.node import Engine, Node

from perwatt_agent.facts.gpu_process import GpuProcess

IDLE = {"Test GPU": 70.0}


def two(idle_watts: dict[str, float] | None = None) -> tuple[Books, Engine, Engine]:
    first, second = Engine("a"), Engine("b")
    return Books(Node(1, [first, second]), idle_watts), first, second


def with_processes(books: Books, *sm_ratios: float | None) -> None:
    """Processes 100, 101, ... on GPU 0, of which the first ones belong to the engines, one each."""
    for number, engine in enumerate(books.node.engines):
        engine.processes = {100 + number: 10.0}
    books.node.processes[0] = tuple(
        GpuProcess(100 + number, sm_ratio=ratio) for number, ratio in enumerate(sm_ratios)
    )


def watts(books: Books, seconds: int = 100) -> dict[str, float]:
    """The mean power of the two workloads, and of what is nobody's, over some time."""
    before = (books.joules("a"), books.joules("b"), sum(books.rest()))
    books.run(seconds)
    after = (books.joules("a"), books.joules("b"), sum(books.rest()))
    spent = [(late - early) / seconds for early, late in zip(before, after, strict=True)]
    return dict(zip(("a", "b", "rest"), spent, strict=True))


class TestSmShare:
    def test_above_idle(self) -> None:
        """Idle power equally, and what is above it by SM utilisation."""
        books, *_ = two(IDLE)
        with_processes(books, 0.6, 0.2)
        books.run(30)

        expected = {"a": 35.0 + 0.75 * 230.0, "b": 35.0 + 0.25 * 230.0, "rest": 0.0}
        assert pytest.approx(expected) == watts(books)
        assert "sm_share" == books.method("a") == books.method("b")

    def test_idle_power_unknown(self) -> None:
        """Without idle power all goes by SM utilisation."""
        books, *_ = two()
        with_processes(books, 0.6, 0.2)
        books.run(30)

        assert pytest.approx({"a": 225.0, "b": 75.0, "rest": 0.0}) == watts(books)

    def test_a_stranger(self) -> None:
        """What a process of no workload used is not the workloads', and is shown as unknown."""
        books, *_ = two(IDLE)
        with_processes(books, 0.3, 0.2, 0.5)
        books.run(30)

        assert pytest.approx({"a": 35.0 + 69.0, "b": 35.0 + 46.0, "rest": 115.0}) == watts(books)
        assert 0.0 == books.rest()[0]

    def test_shares_that_change(self) -> None:
        """What was used before keeps the shares of its time."""
        books, *_ = two()
        with_processes(books, 0.9, 0.1)
        books.run(30)
        before = watts(books)
        with_processes(books, 0.1, 0.9)
        books.run(20)

        assert pytest.approx({"a": 270.0, "b": 30.0, "rest": 0.0}) == before
        assert pytest.approx({"a": 30.0, "b": 270.0, "rest": 0.0}) == watts(books)

    @pytest.mark.parametrize("ratios", [(0.9, None), (None, None)])
    def test_not_measured(self, ratios: tuple[float | None, ...]) -> None:
        """SM utilisation that is not known of every process is not used: both have work, so equally."""
        books, *_ = two()
        with_processes(books, *ratios)
        books.run(30)

        assert pytest.approx({"a": 150.0, "b": 150.0, "rest": 0.0}) == watts(books)
        assert "busy_share" == books.method()

    def test_list_of_processes_grows_old(self) -> None:
        """SM utilisation is used for as long as it would be shown, and then no more."""
        books, *_ = two()
        with_processes(books, 0.9, 0.1)
        books.run(30)
        books.node.processes[0] = None
        books.run(60)

        assert "busy_share" == books.method()


class TestBusyShare:
    def test_a_sleeping_engine_bears_half_of_the_idle_power_alone(self) -> None:
        """Who has no work gets nothing of what is used above idling."""
        books, _, second = two(IDLE)
        second.serves = False
        books.run(30)

        assert pytest.approx({"a": 35.0 + 230.0, "b": 35.0, "rest": 0.0}) == watts(books)
        assert "busy_share" == books.method("a") == books.method("b")
        assert 0.0 == books.energy("b").active_joules

    def test_in_turn(self) -> None:
        """Over time it is the share of the time in which each had work."""
        books, first, second = two(IDLE)
        books.run(30)
        spent = {"a": 0.0, "b": 0.0}
        for serving, seconds in ((first, 150), (second, 50)):
            first.serves, second.serves = serving is first, serving is second
            books.run(10)
            for name, mean in watts(books, seconds).items():
                spent[name] = spent.get(name, 0.0) + mean * seconds

        assert pytest.approx(265.0 * 150.0 + 35.0 * 50.0) == spent["a"]
        assert pytest.approx(35.0 * 150.0 + 265.0 * 50.0) == spent["b"]

    def test_page_out_of_reach(self) -> None:
        """Whether an engine that does not answer has work nobody knows: both share equally."""
        books, first, second = two(IDLE)
        first.serves = False
        books.run(30)
        second.reachable = False
        books.run(10)

        assert "equal" == books.method("a")


class TestMethod:
    def test_alone_again(self) -> None:
        """It tells how the share is found now, and nothing of a GPU that is not held any more."""
        books, _, second = two()
        books.run(30)
        assert "busy_share" == books.method("a")
        second.ended = True
        books.run(10)

        assert ("exclusive", None) == (books.method("a"), books.method("b"))


class TestProcesses:
    """Joules while the agent was down go to workloads whose processes live on, else to unknown."""

    @pytest.mark.parametrize(("started", "unknown_seconds"), [(10.0, 0.0), (1_400.0, 380.3)])
    def test_page_without_a_start(self, started: float, unknown_seconds: float) -> None:
        """A page that does not tell its start, of a process that does: it was there, or it is another."""

        class WithoutStart(Engine):
            def counts(self, t: float):  # type: ignore[no-untyped-def]
                counts = super().counts(t)
                return type(counts)(counts.model, counts.output_tokens, requests_running=1.0)

        engine = WithoutStart("a")
        engine.processes = {7: 10.0}
        books = books_of(engine)
        books.run(20)
        engine.processes = {7: started}
        books.restart_agent(seconds=1_000.0)
        books.run(10)

        assert pytest.approx(300.0 * unknown_seconds) == books.rest()[1]
        assert pytest.approx(300.0 * (2_029.7 - 1_000.8 - unknown_seconds)) == books.joules()


class TestEnded:
    def test_shown_for_five_minutes(self) -> None:
        """One that is over is down, stays for 300 s, is gone then, and its joules are still accounted for."""
        first, second = Engine("a"), Engine("b")
        books = books_of(first, second)
        books.run(30)
        second.ended = True
        books.run(10)
        joules, shown = books.joules("b"), books.shown("b")
        assert (False, True) == (shown.up, joules > 0.0)
        books.run(285)
        assert joules == books.joules("b")

        books.run(20)
        assert ["a"] == [one.info.workload for one in books.snapshot.workloads]
        assert joules == books.account.state().attribution.gpus["GPU-0"].ended_joules

    def test_comes_back(self) -> None:
        """Claimed again within that time, it goes on where it was."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(30)
        engine.ended = True
        books.run(200)
        before = books.joules()
        engine.ended = False
        books.run(400)

        assert books.shown().up
        assert books.joules() > before + 300.0 * 390

    def test_forgotten_with_the_agent(self) -> None:
        """A new agent does not show what was over before it came."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(30)
        joules = books.joules()
        engine.ended = True
        books.run(10)
        books.restart_agent(seconds=1.0)
        books.run(10)

        assert () == books.snapshot.workloads
        assert joules == books.account.state().attribution.gpus["GPU-0"].ended_joules
