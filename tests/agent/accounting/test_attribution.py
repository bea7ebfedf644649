"""Attribution of a workload's joules: with its tokens, over outages, restarts and sharing."""

import pytest
from support.accounts.books import Books, books_of
from support.accounts.node import Engine, Node

from perwatt_agent.accounting.attribution import WAIT_SECONDS


class TestTogether:
    @pytest.mark.parametrize("page_age_seconds", [0.0, 0.1, 0.5, 0.9])
    def test_same_instant(self, page_age_seconds: float) -> None:
        """
        A workload's tokens and joules are those of one instant, whether its page is younger or older
        than the newest readings; the joules are the board's exact energy up to then.
        """
        engine = Engine("a", gpus=(0, 1))
        books = books_of(engine, gpus=2)
        books.node.page_age_seconds = page_age_seconds
        books.run(1)
        began = [books.node.joules(gpu, books.node.t - 0.2) for gpu in (0, 1)]
        for _ in range(60):
            books.run(1)
            shown = books.shown()
            if shown.counts is None:
                continue
            assert shown.counts.output_tokens is not None
            at = engine.settled_at(shown.counts.output_tokens)
            used = sum(books.node.joules(gpu, at) - began[gpu] for gpu in (0, 1))

            assert 0.0 <= books.node.t - at <= 7.0
            assert pytest.approx(used) == books.joules()
            assert pytest.approx(at - (1_001.0 - 0.2)) == shown.covered_seconds

    def test_one_gpu_late(self) -> None:
        """Both wait for the last of the workload's GPUs to be read."""
        books = books_of(Engine("a", gpus=(0, 1)), gpus=2)
        books.run(20)
        before = (books.shown().counts, books.joules())
        books.node.present[1] = False
        books.run(20)

        assert before == (books.shown().counts, books.joules())

        books.node.present[1] = True
        books.run(1)
        assert pytest.approx(2 * 300.0 * (1_039.7 - 1_000.8)) == books.joules()

    def test_gpu_lost_for_long(self) -> None:
        """A GPU that is lost holds its workload back once, and then no more; what it used comes with it."""
        engine = Engine("a", gpus=(0, 1))
        books = books_of(engine, gpus=2)
        books.run(20)
        books.node.present[1] = False
        books.run(100)
        for _ in range(60):
            books.run(1)
            counts = books.shown().counts
            assert counts is not None
            assert counts.output_tokens is not None
            assert books.node.t - engine.settled_at(counts.output_tokens) < 7.0
        before = books.joules()
        books.run(600)
        assert pytest.approx(600.0 * 300.0) == books.joules() - before

        books.node.present[1] = True
        books.run(10)
        assert (0.0, 0.0) == books.rest(1)
        assert books.joules() > 0.98 * (books.accepted(0) + books.accepted(1))


class TestWithoutSensor:
    def test_a_card_holds_nothing_up(self) -> None:
        """A GPU that answers and has neither power nor energy: the others' joules and tokens are settled."""
        books = books_of(Engine("a", gpus=(0, 1)), gpus=2)
        books.node.has_sensor[1] = False
        books.run(61)
        shown = books.shown()

        assert pytest.approx(shown.covered_seconds * 300.0) == books.joules()
        assert 50.0 < shown.covered_seconds
        assert {"GPU-0", "GPU-1"} == {one.gpu for one in shown.energy}

    def test_a_gpu_that_had_energy_has_failed(self) -> None:
        """A GPU whose energy ends is missing, and the time of its workload is no longer covered."""
        books = books_of(Engine("a", gpus=(0, 1)), gpus=2)
        books.run(31)
        before = books.shown().covered_seconds
        books.node.has_sensor[1] = False
        books.run(120)

        assert books.shown().covered_seconds < before + 15.0

    def test_no_gpu_has_a_sensor(self) -> None:
        """Without any joules, no time is covered."""
        books = books_of(Engine("a"))
        books.node.has_sensor[0] = False
        books.run(61)

        assert (0.0, 0.0) == (books.joules(), books.shown().covered_seconds)


class TestOutage:
    def test_two_minutes(self) -> None:
        """After two minutes without a page all joules come to the workload."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(20)
        engine.reachable = False
        books.run(120)
        assert not books.shown().up

        engine.reachable = True
        books.run(10)
        assert books.shown().up
        assert (0.0, 0.0) == books.rest()
        assert pytest.approx(300.0 * (1_149.7 - 1_000.8)) == books.joules()

    @pytest.mark.parametrize(("watts", "cause"), [(50.0, 0), (300.0, 1)])
    def test_longer_than_the_wait(self, watts: float, cause: int) -> None:
        """What waits for more than 300 s is given up, by whether anything ran on the GPU."""
        engine = Engine("a")
        books = Books(Node(1, [engine], watts))
        books.run(20)
        engine.reachable = False
        before = books.joules()
        books.run(1_000)

        waiting = books.account.waiting_joules("GPU-0")
        assert before == books.joules()
        assert pytest.approx(WAIT_SECONDS * watts, rel=0.01) == waiting
        assert pytest.approx(books.accepted() - before - waiting) == books.rest()[cause]
        assert 0.0 == books.rest()[1 - cause]

    def test_never_heard(self) -> None:
        """An engine whose page never answers explains nothing."""
        engine = Engine("a")
        engine.reachable = False
        books = books_of(engine)
        books.run(700)

        assert (0.0, None, ()) == (books.joules(), books.shown().counts, books.shown().energy)
        assert books.rest()[1] > 300.0 * 390

    def test_agent_down(self) -> None:
        """What was used while the agent was down goes to the workload that went on meanwhile."""
        books = books_of(Engine("a"))
        books.run(20)
        books.restart_agent(seconds=1_000.0)
        books.run(10)

        assert (0.0, 0.0) == books.rest()
        assert pytest.approx(300.0 * (2_029.7 - 1_000.8)) == books.joules()

    def test_agent_down_and_page_late(self) -> None:
        """The first page of a new agent may be some minutes late without losing that."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(20)
        books.restart_agent(seconds=1_000.0)
        engine.reachable = False
        books.run(120)
        engine.reachable = True
        books.run(10)

        assert (0.0, 0.0) == books.rest()

    def test_gone_with_the_agent(self) -> None:
        """A workload that a new agent does not know any more is given up after the usual wait."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(20)
        books.restart_agent(seconds=100.0)
        books.node.engines.clear()
        books.run(300)
        assert 0.0 == sum(books.rest())

        books.run(10)
        assert sum(books.rest()) > 300.0 * 400
        assert 0.0 == books.account.waiting_joules("GPU-0")

    def test_forgotten(self) -> None:
        """What a new agent hears nothing of for an hour is forgotten: the state cannot grow for ever."""
        books = books_of(Engine("a"))
        books.run(20)
        books.restart_agent(seconds=100.0)
        books.node.engines.clear()
        books.run(3_590)
        assert {"a"} == set(books.account.state().attribution.workloads)

        books.run(20)
        assert {} == books.account.state().attribution.workloads


class TestRestart:
    def test_engine(self) -> None:
        """Before the new engine's birth: unknown; until it answers: loading; then what it does."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(20)
        engine.reachable = False
        books.run(20)
        engine.born = books.node.t
        books.run(40)
        engine.reachable = True
        books.run(10)

        (energy,) = books.shown().energy
        assert pytest.approx(300.0 * 20.3) == books.rest()[1]
        assert pytest.approx(300.0 * (1_079.7 - 1_040.0)) == energy.loading_joules
        assert pytest.approx(300.0 * (1_019.7 - 1_000.8 + 10.0)) == energy.active_joules

    def test_model(self) -> None:
        """Another model under the same name is another account, and the first one's joules stay."""
        engine = Engine("a")
        books = books_of(engine)
        books.run(20)
        before = books.account.state().attribution.workloads["a"].models["llama"]
        engine.model, engine.born = "qwen", books.node.t
        books.run(20)

        models = books.account.state().attribution.workloads["a"].models
        assert before == models["llama"]
        assert pytest.approx(300.0 * (1_039.7 - 1_020.0)) == models["qwen"].joules["GPU-0"]["active"]
        assert pytest.approx(models["qwen"].joules["GPU-0"]["active"]) == books.joules()

    def test_idle(self) -> None:
        """A workload that serves nobody pays for its baseline as idle."""
        engine = Engine("a")
        engine.serves = False
        books = Books(Node(1, [engine], watts=80.0))
        books.run(21)

        (energy,) = books.shown().energy
        assert (0.0, 0.0) == (energy.active_joules, energy.loading_joules)
        assert pytest.approx(80.0 * (1_019.7 - 1_000.8)) == energy.idle_joules


class TestSharing:
    def test_equally(self) -> None:
        """A GPU claimed by two workloads is divided equally."""
        books = books_of(Engine("a"), Engine("b"))
        books.run(21)

        assert pytest.approx(150.0 * (1_019.7 - 1_000.8)) == books.joules("a") == books.joules("b")

    def test_claimed_late(self) -> None:
        """Who claims late gets its share from then on, and nothing of the others' past."""
        first, second = Engine("a"), Engine("b")
        second.claimed = False
        books = books_of(first, second)
        books.run(30)
        second.claimed = True
        books.run(31)

        assert pytest.approx(300.0 * 30.0 + 150.0 * (1_059.7 - 1_030.8)) == books.joules("a")
        assert pytest.approx(150.0 * (1_059.7 - 1_030.8)) == books.joules("b")

    def test_first_claim_is_late(self) -> None:
        """What was used before anybody claimed the GPU is unallocated or unknown, and stays so."""
        engine = Engine("a")
        engine.claimed = False
        books = books_of(engine)
        books.run(30)
        engine.claimed = True
        books.run(31)

        assert pytest.approx(300.0 * 30.0) == books.rest()[1]
        assert pytest.approx(300.0 * (1_059.7 - 1_030.8)) == books.joules()

    def test_claim_moves(self) -> None:
        """A workload whose GPU becomes another one pays for that from then on."""
        engine = Engine("a")
        books = books_of(engine, gpus=2)
        books.run(20)
        engine.gpus = ("GPU-1",)
        books.run(20)

        by_gpu = {energy.gpu: energy.active_joules for energy in books.shown().energy}
        assert pytest.approx(300.0 * (1_019.7 - 1_000.8)) == by_gpu["GPU-0"]
        assert pytest.approx(300.0 * (1_039.7 - 1_024.8)) == by_gpu["GPU-1"]
        assert 0.0 == books.account.waiting_joules("GPU-0")

    def test_agent_restart_while_one_is_silent(self) -> None:
        """Two that are settled to different instants keep their halves over a restart of the agent."""
        first, second = Engine("a"), Engine("b")
        books = books_of(first, second)
        books.run(20)
        second.reachable = False
        books.run(60)
        books.restart_agent(seconds=30.0)
        books.run(20)
        second.reachable = True
        books.run(10)

        assert (0.0, 0.0) == books.rest()
        assert pytest.approx(150.0 * (1_139.7 - 1_000.8)) == books.joules("a") == books.joules("b")
