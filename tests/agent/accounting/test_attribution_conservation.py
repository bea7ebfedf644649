"""Every joule of a board has one owner, in every collection cycle, whatever happens."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.accounts.books import Books
from support.accounts.node import Engine, Node
from support.accounts.readings import mig

from perwatt_agent.facts.gpu_process import GpuProcess

pytestmark = pytest.mark.slow


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
    books.node.migs[gpu] = (
        None
        if slices is None
        else tuple(
            mig(f"{gpu}-{number}", count, None if which > 8 else (size * (which + count)) % 1.0)
            for number, count in enumerate(slices)
        )
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
