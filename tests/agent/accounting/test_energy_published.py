"""Published energy of one GPU: no false joule, whatever happens to its counter, driver or agent."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.accounts.board import LIMIT, Board


def glitch(board: Board, watts: float, size: float) -> None:
    board.pass_time(1.0, watts)
    board.suffer()
    board.look(2.0 * size**4 * board.counter_joules)


def stay_wrong(board: Board, watts: float, size: float) -> None:
    board.suffer()
    board.counter_joules *= size
    board.look()


def leap(board: Board, watts: float, size: float) -> None:
    board.suffer()
    board.counter_joules += 10.0 ** (12.0 * size)
    board.look()


def reset(board: Board, watts: float, size: float) -> None:
    board.pass_time(size, watts)
    board.suffer()
    board.counter_joules = 0.0
    board.look()


def reload_driver(board: Board, watts: float, size: float) -> None:
    board.pass_time(1.0 + 100.0 * size, watts)
    board.suffer()
    board.generation += 1
    board.counter_joules = 0.0
    board.look()


def reopen_driver(board: Board, watts: float, size: float) -> None:
    board.suffer()
    board.generation += 1
    board.look()


def restart_agent(board: Board, watts: float, size: float) -> None:
    board.pass_time(300.0 * size, watts)
    board.suffer()
    board.restart_agent()
    board.look()


def restart_both(board: Board, watts: float, size: float) -> None:
    board.counter_joules = 0.0
    restart_agent(board, watts, size)


def miss(board: Board, watts: float, size: float) -> None:
    board.run(round(80 * size), watts, with_counter=False)


def miss_power(board: Board, watts: float, size: float) -> None:
    board.pass_time(1.0, watts)
    board.look(with_power=False)


def tick(board: Board, watts: float, size: float) -> None:
    board.run(1, watts)


def go_on(board: Board, watts: float, size: float) -> None:
    board.run(70, watts)


def gap(board: Board, watts: float, size: float) -> None:
    board.pass_time(1.0 + 400.0 * size, watts)
    board.look()


HARMLESS = (tick, gap, restart_agent, miss_power)
FAULTS = (glitch, stay_wrong, leap, reset, reload_driver, reopen_driver, restart_both, miss)
Step = tuple[Callable[[Board, float, float], None], float, float]


def schedules(*steps: Callable[[Board, float, float], None]) -> st.SearchStrategy[list[Step]]:
    """Lists of (what happens, watts, how much of it)."""
    return st.lists(
        st.tuples(st.sampled_from(steps), st.floats(0.0, LIMIT), st.floats(0.0, 1.0)), max_size=40
    )


@settings(max_examples=200, deadline=None)
@given(schedules(*HARMLESS, *FAULTS, go_on))
@example([(leap, 300.0, 1.0), (go_on, 300.0, 0.0), (reload_driver, 300.0, 1.0), (go_on, 300.0, 0.0)])
@example([(glitch, 300.0, 0.0), (tick, 300.0, 0.0), (restart_agent, 300.0, 1.0), (tick, 300.0, 0.0)])
@example([(miss, 300.0, 1.0), (go_on, 300.0, 0.0), (reopen_driver, 300.0, 1.0), (go_on, 300.0, 0.0)])
@example([(glitch, 1.0, 1.0), (miss_power, 0.0, 0.0)])
@example([(miss_power, 0.0, 0.0), (leap, 0.0, 1.0), (tick, 0.0, 0.0)])
def test_page_and_account_agree(steps: list[Step]) -> None:
    """
    Whatever happens, who sums the shown series' growth has exactly the accepted joules, and never
    more than was used plus what the board could have used around each fault.
    """
    board = Board()
    for happen, watts, size in steps:
        before = board.account.state
        happen(board, watts, size)
        after = board.account.state

        assert pytest.approx(after.accepted_joules, abs=1e-3) == board.reader.joules
        assert after.accepted_joules <= board.true_joules + board.slack_joules + 1e-3
        assert after.accepted_joules >= before.accepted_joules
        assert before.covered_seconds <= after.covered_seconds <= board.t - 1_000.0 + 1e-6


@settings(deadline=None)
@given(schedules(*HARMLESS))
def test_nothing_is_lost(steps: list[Step]) -> None:
    """With an honest counter every joule is accepted, over all gaps and agents."""
    board = Board()
    for happen, watts, size in steps:
        happen(board, watts, size)

        assert pytest.approx(board.true_joules, abs=1e-3) == board.account.state.accepted_joules
