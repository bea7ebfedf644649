"""Published energy of one GPU, case by case: from its counter, from its power, and their divergence."""

import pytest
from support.accounts.board import LIMIT, MAX_GAP_SECONDS, Board, restarted
from support.accounts.readings import reading

from perwatt_agent.accounting.gpu_energy import EnergyAccount


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

    @pytest.mark.parametrize("watts", [4.8e9, 2.0 * LIMIT, -5.0])
    def test_impossible_power(self, watts: float) -> None:
        """A power that no board draws is not integrated: its time is not covered."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        for second in range(5):
            energy = account.add(reading(float(second), None, 300.0), LIMIT, 1)
        account.add(reading(5.0, None, watts), LIMIT, 1)
        energy = account.add(reading(6.0, None, 300.0), LIMIT, 1)

        assert energy is not None
        assert energy.joules == pytest.approx(300.0 * energy.covered_seconds)

    def test_nothing(self) -> None:
        """A GPU that gives neither counter nor power has no energy, not zero."""
        assert EnergyAccount(MAX_GAP_SECONDS).add(reading(100.0), LIMIT, 1) is None

    def test_leap(self) -> None:
        """From the last reading before a leap on, power is integrated; the leap itself is nobody's."""
        board = Board()
        board.run(5, 300.0)
        board.counter_joules += 1e9
        board.run(11, 300.0)

        assert board.energy is not None
        assert ("integrated", 3_300.0) == (board.energy.source, board.energy.joules)
        assert 1_500.0 + 3_300.0 == board.energy.accepted_joules == board.reader.joules

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


class TestFrozen:
    def test_integrated_instead(self) -> None:
        """A counter that stands still under load is replaced by integrated power within six seconds."""
        board = Board()
        board.run(5, 145.0)
        for _ in range(60):
            board.pass_time(1.0, 145.0)
            board.look(500_725.0)

        assert board.energy is not None
        assert "integrated" == board.energy.source
        # What was drawn while the counter stood still is integrated too.
        assert (145.0 * 65.0, 65.0) == (board.energy.accepted_joules, board.energy.covered_seconds)
        assert board.reader.joules == board.energy.accepted_joules

    def test_not_known_meanwhile(self) -> None:
        """While it stands still its joules are known up to its last movement; afterwards up to now."""
        board = Board()
        board.run(5, 145.0)
        until = []
        for joules in (500_725.0, 500_725.0, 500_725.0 + 3.0 * 145.0):
            board.pass_time(1.0, 145.0)
            board.look(joules)
            until.append(board.t - board.account.state.accounted_until)

        assert [1.0, 2.0, 0.0] == until
        assert board.energy is not None
        assert (8.0 * 145.0, 8.0) == (board.energy.accepted_joules, board.energy.covered_seconds)


class TestWrongScale:
    @pytest.mark.parametrize("scale", [0.001, 0.5, 1.75])
    def test_a_gross_one_shows_soon(self, scale: float) -> None:
        """A counter of another scale shows within 12 seconds."""
        account = EnergyAccount(MAX_GAP_SECONDS)
        for second in range(13):
            energy = account.add(reading(float(second), scale * 300.0 * second, 300.0), LIMIT, 1)

        assert energy is not None
        assert energy.divergence_ratio == pytest.approx(scale - 1.0)

    def test_a_late_one_shows(self) -> None:
        """After hours that agree, a counter that goes wrong shows within half an hour."""
        account, joules = EnergyAccount(MAX_GAP_SECONDS), 0.0
        for second in range(3 * 3_600 + 1_800):
            joules += 300.0 if second <= 3 * 3_600 else 150.0
            energy = account.add(reading(float(second), joules, 300.0), LIMIT, 1)

        assert energy is not None
        assert energy.divergence_ratio is not None
        assert -0.5 < energy.divergence_ratio < -0.35
