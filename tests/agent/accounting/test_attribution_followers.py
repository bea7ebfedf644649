"""A workload without a page: its joules are attributed in every cycle, by the activity of its GPUs."""

import pytest
from support.accounts.books import Books, books_of
from support.accounts.node import Engine, Node


def follower(*gpus: int) -> Engine:
    engine = Engine("pair-1", gpus or (0,))
    engine.has_page = False
    return engine


def test_settled_at_each_sweep() -> None:
    """All that its GPUs used up to their last reading is its own, without a token or a model."""
    books = books_of(follower(0, 1), gpus=2)
    books.run(11)
    shown = books.shown("pair-1")

    assert (True, None) == (shown.up, shown.counts)
    assert pytest.approx(2 * 300.0 * 10.0) == books.joules("pair-1")
    assert pytest.approx(10.0) == shown.covered_seconds
    assert 0.0 == books.account.waiting_joules("GPU-0")


def test_active_and_idle() -> None:
    """Active while the GPU is utilised, else idle."""
    books = books_of(follower())
    books.run(11)
    books.node.watts[0] = 80.0
    books.run(10)

    # The first reading after the change tells of the stretch that it ends.
    energy = books.energy("pair-1")
    assert pytest.approx(300.0 * 10.0) == energy.active_joules
    assert pytest.approx(300.0 * 0.2 + 80.0 * 9.8) == energy.idle_joules
    assert 0.0 == energy.loading_joules


def test_lost_gpu() -> None:
    """What a GPU used while it was lost comes when it is read again; the others do not wait."""
    books = books_of(follower(0, 1), gpus=2)
    books.run(11)
    books.node.present[1] = False
    books.run(100)
    assert pytest.approx(300.0 * (110.0 + 10.0)) == books.joules("pair-1")

    books.node.present[1] = True
    books.run(1)
    assert pytest.approx(2 * 300.0 * 111.0) == books.joules("pair-1")


@pytest.mark.parametrize(
    ("before", "after", "lived_on"),
    [
        ({}, {}, False),
        ({7: 10.0}, {7: 10.0}, True),
        ({7: 10.0, 8: 11.0}, {8: 11.0, 9: 900.0}, True),
        ({7: 10.0}, {7: 1_500.0}, False),
    ],
    ids=["not known", "the same", "one of them", "a PID reused"],
)
def test_agent_down(before: dict[int, float], after: dict[int, float], lived_on: bool) -> None:
    """What was used while the agent was down is its own where a process of it was there, else unknown."""
    engine = follower()
    engine.processes = before
    books = books_of(engine)
    books.run(21)
    engine.processes = after
    books.restart_agent(seconds=1_000.0)
    books.run(20)

    assert pytest.approx(0.0 if lived_on else 300.0 * 1_001.0) == books.rest()[1]
    assert pytest.approx(300.0 * (1_040.0 if lived_on else 39.0)) == books.joules("pair-1")


def test_shares_with_an_engine() -> None:
    """Whether it has work nobody knows, so it shares a GPU equally."""
    books = Books(Node(1, [follower(), Engine("a")]))
    books.run(51)

    assert pytest.approx(150.0 * 50.0) == books.joules("pair-1")
    assert "equal" == books.method("a") == books.method("pair-1")


def test_ended() -> None:
    """What it used up to its end is its own."""
    engine = follower()
    books = books_of(engine)
    books.run(11)
    engine.ended = True
    books.run(10)

    assert pytest.approx(300.0 * 11.0) == books.joules("pair-1")
    assert pytest.approx(300.0 * 9.0) == sum(books.rest())
