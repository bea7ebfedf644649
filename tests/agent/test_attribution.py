"""Every joule of a board has one owner, at every sweep, whatever happens."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.books import Books, books_of
from support.node import Engine, Node
from support.readings import mig

from perwatt_agent.accounting.attribution import WAIT_SECONDS
from perwatt_agent.snapshot import GpuProcess


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


def power(books: Books, which: int, size: float) -> None:
    books.node.watts[which % len(books.node.watts)] = 700.0 * size


def toggle_gpu(books: Books, which: int, size: float) -> None:
    index = which % len(books.node.present)
    books.node.present[index] = not books.node.present[index]


def toggle_page(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.reachable = not engine.reachable


def toggle_load(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.running = 1.0 - engine.running


def claim(books: Books, which: int, size: float) -> None:
    books.node.engines[which % len(books.node.engines)].claimed = True


def move_claim(books: Books, which: int, size: float) -> None:
    gpus = len(books.node.watts)
    books.node.engines[which % len(books.node.engines)].gpus = (f"GPU-{round(size * (gpus - 1))}",)


def processes(books: Books, which: int, size: float) -> None:
    """Other processes on a GPU: of engines and of nobody, with and without their SM utilisation."""
    gpu = which % len(books.node.processes)
    pids = [engine_pid(engine) for engine in books.node.engines] + [1]
    ratios = [None if size > 0.9 else (size * (which + pid)) % 1.0 for pid in pids]
    listed = tuple(
        GpuProcess(pid, sm_ratio=ratio, mig=f"MIG-{gpu}-{(which + pid) % 4}")
        for pid, ratio in zip(pids, ratios, strict=True)
    )
    books.node.processes[gpu] = None if size < 0.1 else listed[: which % (len(pids) + 1)]


def divide(books: Books, which: int, size: float) -> None:
    """Arrange a GPU's instances anew, under whatever load: one less, one more, others, or none at all."""
    gpu = which % len(books.node.migs)
    slices = {0: None, 1: (7,), 2: (4, 3), 3: (1, 2, 3), 4: ()}[round(size * 4)]
    books.node.migs[gpu] = slices and tuple(
        mig(f"{gpu}-{number}", count, None if which > 8 else (size * (which + count)) % 1.0)
        for number, count in enumerate(slices)
    )


def claim_instance(books: Books, which: int, size: float) -> None:
    """Claim an instance of a GPU, which may not be there, or the whole again."""
    engine = books.node.engines[which % len(books.node.engines)]
    engine.migs = {gpu: (f"MIG-{gpu[4:]}-{round(size * 2)}",) for gpu in engine.gpus if size > 0.2}


def know_process(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.processes = {} if size < 0.2 else {engine_pid(engine): round(size)}


def toggle_end(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.ended = not engine.ended


def toggle_has_page(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.has_page = not engine.has_page


def engine_pid(engine: Engine) -> int:
    return 100 + int(engine.workload[1:])


def restart_engine(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.born = books.node.t - 10.0 * size


def change_model(books: Books, which: int, size: float) -> None:
    engine = books.node.engines[which % len(books.node.engines)]
    engine.model = "qwen" if engine.model == "llama" else "llama"
    engine.born = books.node.t


def restart_agent(books: Books, which: int, size: float) -> None:
    books.restart_agent(500.0 * size**2)


def forget_engine(books: Books, which: int, size: float) -> None:
    """Restart the agent with one endpoint less."""
    books.node.engines[which % len(books.node.engines)].claimed = False
    books.restart_agent(10.0 * size)


def page_age(books: Books, which: int, size: float) -> None:
    books.node.page_age_seconds = 0.9 * size


def let_pass(books: Books, which: int, size: float) -> None:
    books.run(round(400 * size**3))


Event = Callable[[Books, int, float], None]
EVENTS: tuple[Event, ...] = (
    power,
    toggle_gpu,
    toggle_page,
    toggle_load,
    claim,
    move_claim,
    processes,
    know_process,
    divide,
    claim_instance,
    toggle_end,
    toggle_has_page,
    restart_engine,
    change_model,
    restart_agent,
    forget_engine,
    page_age,
    let_pass,
)
NODES = st.integers(1, 4).flatmap(
    lambda gpus: st.tuples(
        st.just(gpus),
        st.lists(
            st.tuples(st.sets(st.integers(0, gpus - 1), min_size=1), st.booleans()), min_size=1, max_size=3
        ),
    )
)
DIVIDING: tuple[Event, ...] = (
    *(power, divide, claim_instance, processes, know_process),
    *(toggle_load, toggle_end, toggle_has_page, toggle_gpu, move_claim, restart_agent),
)


Schedule = list[tuple[Event, int, float, int]]


def schedules(events: tuple[Event, ...]) -> st.SearchStrategy[Schedule]:
    steps = st.tuples(st.sampled_from(events), st.integers(0, 11), st.floats(0.0, 1.0), st.integers(0, 12))
    return st.lists(steps, max_size=40)


def play(books: Books, schedule: Schedule) -> None:
    books.run(3)
    for happen, which, size, seconds in schedule:
        happen(books, which, size)
        books.run(seconds)


@settings(max_examples=100, deadline=None)
@given(NODES, schedules(EVENTS), st.sampled_from([None, 70.0, 500.0]))
def test_conservation(
    made: tuple[int, list[tuple[set[int], bool]]],
    schedule: Schedule,
    idle_watts: float | None,
) -> None:
    """
    For every GPU at every sweep: workloads + unallocated + unknown + waiting = accepted joules, and
    nothing that was booked is ever taken back: over any load, gaps, outages, restarts, late claims,
    shares that change, MIG instances that come, go and are arranged anew, and workloads that come, go and
    are forgotten.
    """
    gpus, claims = made
    engines = [Engine(f"w{number}", sorted(held)) for number, (held, _) in enumerate(claims)]
    for engine, (_, claimed) in zip(engines, claims, strict=True):
        engine.claimed = claimed
    books = Books(Node(gpus, engines), {} if idle_watts is None else {"Test GPU": idle_watts})
    play(books, schedule)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2), schedules(DIVIDING))
def test_conservation_of_divided_gpus(gpus: int, schedule: Schedule) -> None:
    """So it is where every GPU is divided, and instances come, go and are arranged anew all the time."""
    engines = [Engine(f"w{number}", (number % gpus,)) for number in range(3)]
    books = Books(Node(gpus, engines), {"Test GPU": 70.0})
    books.node.slow_seconds = 1
    for gpu in range(gpus):
        divide(books, gpu, 0.75)
        books.node.processes[gpu] = (GpuProcess(1, mig=f"MIG-{gpu}-2"),)
    for engine, number in zip(engines, (0, 1, 1), strict=True):
        engine.migs = {gpu: (f"MIG-{gpu[4:]}-{number}",) for gpu in engine.gpus}
    play(books, schedule)
