"""One GPU's published energy: never a false joule, whatever happens to its counter, driver or agent."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.readings import reading

from perwatt_agent.accounting.energy import EnergyAccount, EnergyState
from perwatt_agent.snapshot import GpuEnergy

LIMIT = 700.0
MAX_GAP_SECONDS = 3.0


def restarted(account: EnergyAccount) -> EnergyAccount:
    """The account of another agent, which knows what the first one saved."""
    saved = msgspec.json.encode(account.state)
    return EnergyAccount(MAX_GAP_SECONDS, msgspec.json.decode(saved, type=EnergyState))


class Reader:
    """Sums the deltas of each source's series, and adds the value after a fall: as Prometheus does."""

    def __init__(self) -> None:
        self.joules = 0.0
        self._last: dict[str, float] = {}

    def see(self, energy: GpuEnergy) -> None:
        last = self._last.get(energy.source, energy.joules)
        self.joules += energy.joules - last if energy.joules >= last else energy.joules
        self._last[energy.source] = energy.joules


class Board:
    """A GPU that uses power and counts it, the agent that reads it, and who reads the agent's page."""

    def __init__(self, counter_joules: float = 500_000.0) -> None:
        self.t = 1_000.0
        self.true_joules = 0.0
        self.counter_joules = counter_joules
        self.generation = 1
        self.account = EnergyAccount(MAX_GAP_SECONDS)
        self.reader = Reader()
        self.energy: GpuEnergy | None = None
        self.slack_joules = 0.0
        """The most that faults so far can have made the agent believe beyond the truth."""
        self._read_joules = 0.0
        self._read_at = self.t
        self.look()

    def run(self, seconds: int, watts: float, *, with_counter: bool = True) -> None:
        for _ in range(seconds):
            self.pass_time(1.0, watts)
            self.look(self.counter_joules if with_counter else None)

    def pass_time(self, seconds: float, watts: float) -> None:
        self.t += seconds
        self.true_joules += seconds * watts
        self.counter_joules += seconds * watts

    def look(self, counter_joules: float | None = -1.0, *, with_power: bool = True) -> None:
        """Read the board; its counter says *counter_joules*, by default the truth."""
        said = self.counter_joules if counter_joules == -1.0 else counter_joules
        seconds = self.t - self._read_at
        watts = (self.true_joules - self._read_joules) / seconds if seconds else 0.0
        self._read_at, self._read_joules = self.t, self.true_joules
        self.energy = self.account.add(
            reading(self.t, said, watts if with_power else None, utilization=0.5), LIMIT, self.generation
        )
        if self.energy is not None:
            self.reader.see(self.energy)

    def suffer(self) -> None:
        """Allow for a fault: what a board can use in the time that is not accounted for yet."""
        state = self.account.state
        broken = state.counter is None or state.counter.broken_since is not None
        since = state.accounted_until if broken or state.counter is None else state.counter.monotonic_seconds
        self.slack_joules += 1.5 * LIMIT * (self.t - since + 1.5)

    def restart_agent(self) -> None:
        self.account = restarted(self.account)
        self.generation = 1  # each run counts the driver's lives anew

    @property
    def source(self) -> str | None:
        return self.energy and self.energy.source


class TestCounter:
    def test_unaltered(self) -> None:
        """The series of a counter is the driver's own reading."""
        board = Board()
        board.run(10, 300.0)

        assert board.energy is not None
        assert ("counter", 503_000.0) == (board.energy.source, board.energy.joules)
        assert (3_000.0, 10.0, 5.0) == (
            board.energy.accepted_joules,
            board.energy.covered_seconds,
            board.energy.busy_seconds,
        )

    def test_gap(self) -> None:
        """A delta between two good readings covers any gap."""
        board = Board()
        board.pass_time(600.0, 300.0)
        board.look()

        assert board.energy is not None
        assert (180_000.0, 600.0) == (board.energy.accepted_joules, board.energy.covered_seconds)

    def test_agent_restart(self) -> None:
        """What is used while the agent is down is accepted by the next one, once."""
        board = Board()
        board.run(5, 300.0)
        board.pass_time(120.0, 300.0)
        board.restart_agent()
        board.run(5, 300.0)

        assert board.true_joules == board.energy.accepted_joules == board.reader.joules  # type: ignore[union-attr]

    def test_held(self) -> None:
        """During a glitch the last value is shown and nothing is added; then all of it is."""
        board = Board()
        board.run(5, 300.0)
        board.pass_time(1.0, 300.0)
        board.look(400_000.0)

        assert board.energy is not None
        assert ("counter", 501_500.0, 1_500.0) == (
            board.energy.source,
            board.energy.joules,
            board.energy.accepted_joules,
        )

        board.run(1, 300.0)
        assert (2_100.0, 7.0) == (board.energy.accepted_joules, board.energy.covered_seconds)

    def test_missing(self) -> None:
        """While a counter is not given there is no figure; when it is back the delta covers all."""
        board = Board()
        board.run(30, 300.0, with_counter=False)
        assert board.energy is None

        board.run(1, 300.0)
        assert board.energy is not None
        assert (9_300.0, 31.0, 15.5) == (
            board.energy.accepted_joules,
            board.energy.covered_seconds,
            board.energy.busy_seconds,
        )

    def test_missing_for_long(self) -> None:
        """A counter that is not given for more than 60 s gives way to integration."""
        board = Board()
        board.run(70, 300.0, with_counter=False)
        assert "integrated" == board.source

        board.run(100, 300.0)
        assert "integrated" == board.source

    def test_reset(self) -> None:
        """A restart is shown: what a reader adds after it is what is accepted."""
        board = Board()
        board.run(5, 300.0)
        board.counter_joules = 0.0
        board.run(5, 300.0)

        assert board.energy is not None
        assert ("counter", 1_500.0, 3_000.0) == (
            board.energy.source,
            board.energy.joules,
            board.energy.accepted_joules,
        )

    def test_lower_limit(self) -> None:
        """What is used up to the limit is no leap."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        account.add(reading(100.0, 1_000.0), 700.0, 1)

        energy = account.add(reading(101.0, 1_700.0), 700.0, 1)

        assert "counter" == (energy and energy.source)


class TestIntegrated:
    def test_without_counter(self) -> None:
        """A GPU without a counter is integrated from its first reading on."""
        board = Board()
        board.account = EnergyAccount(MAX_GAP_SECONDS)
        board.look(None)
        board.run(10, 300.0, with_counter=False)

        assert board.energy is not None
        assert ("integrated", 3_000.0, 3_000.0, 10.0) == (
            board.energy.source,
            board.energy.joules,
            board.energy.accepted_joules,
            board.energy.covered_seconds,
        )

    def test_goes_on_over_agent_restart(self) -> None:
        """The integral goes on where the last agent left it; the time between is not covered."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        account.add(reading(100.0, watts=300.0), LIMIT, 1)
        account.add(reading(101.0, watts=300.0), LIMIT, 1)
        account = restarted(account)
        account.add(reading(103.0, watts=300.0), LIMIT, 1)

        energy = account.add(reading(104.0, watts=300.0), LIMIT, 1)

        assert (600.0, 2.0) == (energy and energy.joules, energy and energy.covered_seconds)

    def test_nothing(self) -> None:
        """A GPU that gives neither counter nor power has no energy, not zero."""
        assert EnergyAccount(MAX_GAP_SECONDS).add(reading(100.0), LIMIT, 1) is None

    def test_leap(self) -> None:
        """From a leap on, power is integrated; the leap itself is nobody's."""
        board = Board()
        board.run(5, 300.0)
        board.counter_joules += 1e9
        board.run(11, 300.0)

        assert board.energy is not None
        assert ("integrated", 3_000.0) == (board.energy.source, board.energy.joules)
        assert 1_500.0 + 3_000.0 == board.energy.accepted_joules == board.reader.joules

    def test_switch_adds_nothing(self) -> None:
        """An integrated series that comes back starts where it ended, whatever was counted meanwhile."""
        board = Board()
        board.counter_joules += 1e9
        board.run(10, 300.0)
        board.generation, board.counter_joules = 2, 0.0
        board.run(10, 300.0)
        assert "counter" == board.source

        board.counter_joules += 1e9
        board.run(10, 300.0)

        assert "integrated" == board.source
        assert board.reader.joules == board.account.state.accepted_joules

    @pytest.mark.parametrize("fault", ["leap", "glitch", "missing"])
    def test_until_the_next_generation(self, fault: str) -> None:
        """A broken counter is believed again when the driver has restarted, and not before."""
        board = Board()
        board.run(5, 300.0)
        match fault:
            case "leap":
                board.counter_joules += 1e9
            case "glitch":
                board.counter_joules -= 400_000.0
            case _:
                board.run(70, 300.0, with_counter=False)
        board.run(100, 300.0)
        assert "integrated" == board.source

        board.restart_agent()
        board.run(10, 300.0)
        assert "integrated" == board.source

        board.generation, board.counter_joules = 2, 0.0
        board.run(10, 300.0)
        assert "counter" == board.source
        assert pytest.approx(board.reader.joules) == board.account.state.accepted_joules
        assert board.reader.joules <= board.true_joules

    def test_driver_restart_unseen(self) -> None:
        """A driver that restarted while the agent was down ends the distrust as well."""
        board = Board()
        board.counter_joules += 1e9
        board.run(10, 300.0)
        board.pass_time(20.0, 300.0)
        board.restart_agent()
        board.counter_joules = 3_000.0
        board.look()

        assert "counter" == board.source
        assert board.reader.joules <= board.true_joules

    def test_other_generation_without_restart(self) -> None:
        """
        A driver that was opened anew but did not restart goes on with a counter whose growth was
        integrated meanwhile: showing it would count that twice.
        """
        board = Board()
        board.run(70, 300.0, with_counter=False)
        board.run(100, 300.0)
        board.generation = 2
        board.run(10, 300.0)

        assert "integrated" == board.source
        assert board.reader.joules <= board.true_joules


class TestDivergence:
    @pytest.mark.parametrize(("gain", "expected"), [(1.0, 0.0), (1.1, 0.1), (0.9, -0.1)])
    def test_ratio(self, gain: float, expected: float) -> None:
        """The ratio is how much more the counter counts than power integrates to."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        for second in range(121):
            energy = account.add(reading(second, gain * 300.0 * second, 300.0), LIMIT, 1)

        assert energy is not None
        assert pytest.approx(expected) == energy.divergence_ratio

    def test_absent_at_first(self) -> None:
        """Below 60 s of common time the meters' own granularity would be all there is to see."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        ratios = {}
        for second in range(62):
            energy = account.add(reading(second, 300.0 * second, 300.0), LIMIT, 1)
            ratios[second] = energy and energy.divergence_ratio

        assert ratios[59] is None
        assert ratios[61] is not None

    def test_gaps_are_left_out(self) -> None:
        """Only what both meters cover is compared: a gap that the counter bridges is no divergence."""
        board = Board()
        for _ in range(10):
            board.run(10, 300.0)
            board.pass_time(60.0, 100.0)
            board.look()

        assert board.energy is not None
        assert pytest.approx(0.0) == board.energy.divergence_ratio

    def test_absent_without_counter(self) -> None:
        """Once the counter is broken there is nothing to compare."""
        board = Board()
        board.run(100, 300.0)
        board.counter_joules += 1e9
        board.run(1, 300.0)

        assert board.energy is not None
        assert board.energy.divergence_ratio is None


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
