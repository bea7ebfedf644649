"""A counter is good, held or broken by the rules of the metric contract."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.accounting.gpu_counter import (
    FALLBACK_LIMIT_WATTS,
    HOLD_SECONDS,
    CounterState,
    Judgement,
    has_restarted,
    judge,
    miss,
    resume,
)
from perwatt_agent.accounting.integrator import NOTHING, Increment

LIMIT = 700.0
GOOD = CounterState(1_000_000.0, 100.0)


def judged(state: CounterState | None, *readings: tuple[float, float]) -> Judgement:
    """The judgement on the last of (monotonic seconds, joules)."""
    for t, joules in readings:
        judgement = judge(state, joules, t, LIMIT)
        state = msgspec.json.decode(msgspec.json.encode(judgement.state), type=CounterState)
    return judgement


class TestJudge:
    def test_first_reading(self) -> None:
        """A counter's first reading is a baseline: what was used before belongs to nobody."""
        assert Judgement("first", NOTHING, GOOD) == judge(None, 1_000_000.0, 100.0, LIMIT)

    def test_good(self) -> None:
        """A rise is what was used since the last good reading."""
        judgement = judged(GOOD, (110.0, 1_003_000.0))

        assert ("good", Increment(3_000.0, 10.0)) == (judgement.verdict, judgement.increment)

    def test_standing_still(self) -> None:
        """A counter that has not moved is good: an idle second may use less than it can show."""
        assert Judgement("good", Increment(0.0, 1.0), CounterState(1_000_000.0, 101.0)) == judged(
            GOOD, (101.0, 1_000_000.0)
        )

    @pytest.mark.parametrize("joules", [0.0, 1.0, LIMIT * 2.0])
    def test_restart(self, joules: float) -> None:
        """A fall to at most limit x seconds since the last good reading is a restart, and is shown."""
        assert Judgement("reset", Increment(joules, 0.0), CounterState(joules, 102.0)) == judged(
            GOOD, (102.0, joules)
        )

    def test_glitch(self) -> None:
        """Any other fall holds the last value until it is passed; the delta then covers what was drawn."""
        just_too_much = LIMIT * 2.0 + 0.001
        held = judged(GOOD, (102.0, just_too_much))
        still_held = judged(held.state, (103.0, 999_999.0)).state
        passed = judge(still_held, 1_002_000.0, 110.0, LIMIT, drawn=Increment(2_050.0, 10.0))

        assert ("held", NOTHING) == (held.verdict, held.increment)
        assert ("good", Increment(2_000.0, 10.0)) == (passed.verdict, passed.increment)

    def test_overtaking_covers_what_it_measured(self) -> None:
        """A counter that restarted unnoticed covers, once past its old value, what the delta stands for."""
        held = judged(GOOD, (101.0, 999_000.0))
        passed = judge(held.state, 1_000_529.0, 152.0, LIMIT, drawn=Increment(35_880.0, 52.0))
        unknown = judge(held.state, 1_000_529.0, 152.0, LIMIT)

        assert (529.0, pytest.approx(52.0 * 529.0 / 35_880.0)) == (
            passed.increment.joules,
            passed.increment.seconds,
        )
        assert Increment(529.0, 0.0) == unknown.increment

    def test_standing_still_under_load(self) -> None:
        """While the board draws power a counter that does not move covers nothing, and soon is no counter."""
        joules = GOOD.joules
        idle = judge(GOOD, joules, 101.0, LIMIT, drawn=Increment(0.0, 1.0))
        slow = judge(GOOD, joules, 103.0, LIMIT, drawn=Increment(435.0, 3.0))
        moved = judge(slow.state, joules + 580.0, 104.0, LIMIT, drawn=Increment(580.0, 4.0))
        frozen = judge(GOOD, joules, 106.0, LIMIT, drawn=Increment(870.0, 6.0))

        assert ("good", Increment(0.0, 1.0)) == (idle.verdict, idle.increment)
        assert ("still", NOTHING, True) == (slow.verdict, slow.increment, slow.is_pending)
        assert ("good", Increment(580.0, 4.0)) == (moved.verdict, moved.increment)
        assert ("broken", True) == (frozen.verdict, frozen.is_broken)

    def test_what_a_standstill_did_not_count(self) -> None:
        """A counter that moves again, and leaves out what it did not count, covers only what it measured."""
        joules = GOOD.joules
        still = judge(GOOD, joules, 104.0, LIMIT, drawn=Increment(400.0, 4.0)).state

        assert (
            Increment(100.0, 1.0)
            == judge(still, joules + 100.0, 105.0, LIMIT, drawn=Increment(500.0, 5.0)).increment
        )

    def test_standing_still_unseen(self) -> None:
        """A counter that has not moved while nobody read the power covers nothing: it may have stopped."""
        unseen = judge(GOOD, GOOD.joules, 150.0, LIMIT)
        moved = judge(unseen.state, GOOD.joules + 100.0, 151.0, LIMIT, drawn=Increment(100.0, 1.0))

        assert ("still", NOTHING) == (unseen.verdict, unseen.increment)
        assert (100.0, pytest.approx(1.0)) == (moved.increment.joules, moved.increment.seconds)

    def test_glitch_that_lasts_is_no_restart(self) -> None:
        """A fall is judged when it happens: what stays down does not become a restart as time passes."""
        assert "held" == judged(GOOD, (101.0, 2_000.0), (110.0, 2_000.0), (120.0, 2_100.0)).verdict

    def test_restart_during_a_glitch(self) -> None:
        """A counter that is held can still restart."""
        assert "reset" == judged(GOOD, (101.0, 900_000.0), (130.0, 500.0)).verdict

    def test_glitch_that_lasts(self) -> None:
        """A glitch of 60 s is borne; a longer one breaks the counter."""
        held = judged(GOOD, (101.0, 900_000.0), (101.0 + HOLD_SECONDS, 900_000.0))

        assert "held" == held.verdict
        assert "broken" == judged(held.state, (101.5 + HOLD_SECONDS, 900_000.0)).verdict

    def test_leap(self) -> None:
        """A rise that no board can have used breaks the counter at once, and adds nothing."""
        judgement = judged(GOOD, (101.0, 1_010_000.0))

        assert ("broken", NOTHING) == (judgement.verdict, judgement.increment)

    def test_just_no_leap(self) -> None:
        """A board may pass its limit for moments: half more than the limit is believed."""
        assert "good" == judged(GOOD, (110.0, 1_000_000.0 + 1.5 * LIMIT * 10.0)).verdict

    def test_broken_stays_broken(self) -> None:
        """Within its generation a broken counter is not believed again, whatever it says, however late."""
        readings = [(101.0, 1e9), (102.0, 1_000_300.0), (103.0, 0.0), (10_000.0, 1_001_000.0)]
        judgement = judged(GOOD, *readings)

        assert ("broken", NOTHING) == (judgement.verdict, judgement.increment)
        assert GOOD.joules == judgement.state.joules

    @pytest.mark.parametrize("limit_watts", [None, 0.0])
    def test_without_a_limit(self, limit_watts: float | None) -> None:
        """Where no limit is known, only what no board at all can use is refused."""
        most = 1_000_000.0 + 1.5 * FALLBACK_LIMIT_WATTS * 1.5

        assert "good" == judge(GOOD, most, 101.0, limit_watts).verdict
        assert "broken" == judge(GOOD, most + 1.0, 101.0, limit_watts).verdict


class TestMiss:
    def test_short(self) -> None:
        """A counter that is not given for up to 60 s goes on as if nothing had been."""
        state = miss(miss(GOOD, 101.0).state, 101.0 + HOLD_SECONDS).state

        assert Increment(30_000.0, 62.0) == judge(state, 1_030_000.0, 162.0, LIMIT).increment

    def test_long(self) -> None:
        """One that is not given for longer is broken."""
        state = miss(miss(GOOD, 101.0).state, 101.5 + HOLD_SECONDS).state

        assert "broken" == judge(state, 1_030_000.0, 163.0, LIMIT).verdict

    def test_after_an_outage(self) -> None:
        """Time in which nobody asked does not count against the counter."""
        assert not miss(GOOD, 10_000.0).is_broken

    def test_glitch_and_miss_together(self) -> None:
        """Bad readings and none at all add up: what counts is how long there was no good one."""
        held = judged(GOOD, (101.0, 900_000.0))
        missed = miss(held.state, 130.0).state

        assert "broken" == judged(missed, (161.5, 900_000.0)).verdict


class TestResume:
    BROKEN = judged(GOOD, (101.0, 1e9)).state

    def test_restarted(self) -> None:
        """A broken counter that restarted with the driver is taken up, and what it shows is accepted."""
        judgement = resume(self.BROKEN, 500.0, 1_001.0, LIMIT, accounted_until=1_000.0)

        assert ("reset", Increment(500.0, 0.0)) == (judgement.verdict, judgement.increment)
        assert CounterState(500.0, 1_001.0) == judgement.state

    def test_not_restarted(self) -> None:
        """One that stands too high would show joules that were integrated already: it stays broken."""
        judgement = resume(self.BROKEN, 1_300_000.0, 1_001.0, LIMIT, accounted_until=1_000.0)

        assert ("broken", NOTHING) == (judgement.verdict, judgement.increment)

    def test_passed_the_old_value(self) -> None:
        """One that restarted and has passed the value shown last shows, and adds, only the difference."""
        broken = CounterState(100.0, 100.0, broken_since=101.0, seen_joules=1e9)

        judgement = resume(broken, 20_000.0, 1_060.0, LIMIT, accounted_until=1_000.0)

        assert Increment(19_900.0, 0.0) == judgement.increment

    def test_has_restarted(self) -> None:
        """A counter has restarted when it says less than it said last, believed or not."""
        assert has_restarted(self.BROKEN, 2_000_000.0)
        assert not has_restarted(self.BROKEN, 1e9 + 1.0)
        assert has_restarted(GOOD, 999_999.0)
        assert not has_restarted(GOOD, 1_000_001.0)


@given(st.lists(st.tuples(st.floats(0.1, 100.0), st.floats(0.0, 1e7))))
def test_judgement_is_bounded(steps: list[tuple[float, float]]) -> None:
    """
    Whatever a counter says, no more is ever believed for a stretch of time than a board can use in it.
    """
    state: CounterState | None = None
    t = 0.0
    for seconds, joules in steps:
        t += seconds
        before, judgement = state, judge(state, joules, t, LIMIT)
        state = judgement.state
        if before is not None:
            since_good = t - before.monotonic_seconds
            assert 0.0 <= judgement.increment.joules <= 1.5 * LIMIT * (since_good + 0.5)
            assert 0.0 <= judgement.increment.seconds <= since_good
