"""
Energy counter of a GPU driver: whether each reading is plausible.

The rules of the metric contract: a fall to no more than a board can have used since the last good
reading is a restart from zero; any other fall is a glitch, during which the last good value holds; a
glitch that lasts, a rise that no board can have used, or standing still while the board draws power, makes
the counter untrustworthy until the driver starts a new generation. While a counter is held or stands still,
its joules are not known yet: they belong to the time since its last good reading, not to the next one.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.accounting.integrator import NOTHING, Increment

Verdict = Literal["first", "good", "reset", "still", "held", "broken"]

# Used if no limit is known. Above any board sold, so that only errors exceed it.
FALLBACK_LIMIT_WATTS = 2000.0
# A board may exceed its limit for moments, and the counter moves in steps of up to 100 ms.
LEAP_FACTOR = 1.5
LEAP_SLACK_SECONDS = 0.5
HOLD_SECONDS = 60.0
# A counter moves in millijoules, several times a second. Once the board has drawn the first amount it should
# have moved; after the second amount, and as long as this, it is no counter.
STEP_JOULES = 1.0
STILL_JOULES = 100.0
STILL_SECONDS = 5.0
# No board uses nothing for so long. Without a reading of its power, the counter may have stopped.
UNSEEN_SECONDS = 1.5
# After a hold, a counter that agrees with the power this well has counted all the time.
AGREEMENT_RATIO = 0.8


class CounterState(Struct, frozen=True):
    """
    State of a counter: the last good reading, and since when it stands still, is held or is broken.

    `seen_joules` is the latest value of a held or broken counter.
    """

    joules: float
    monotonic_seconds: float
    held_since: float | None = None
    broken_since: float | None = None
    seen_joules: float | None = None
    still_since: float | None = None


class Judgement(Struct, frozen=True):
    """Verdict on one reading, its increment, and the new state."""

    verdict: Verdict
    increment: Increment
    state: CounterState

    @property
    def is_accepted(self) -> bool:
        """Whether this reading is the last good one."""
        return self.verdict in ("first", "good", "reset")

    @property
    def is_pending(self) -> bool:
        """Whether the joules since the last good reading are not known yet."""
        return self.verdict in ("still", "held")

    @property
    def is_broken(self) -> bool:
        return self.state.broken_since is not None


def judge(
    state: CounterState | None,
    joules: float,
    monotonic_seconds: float,
    limit_watts: float | None,
    drawn: Increment = NOTHING,
) -> Judgement:
    """
    Judge one reading of a cumulative counter in joules against the last good one.

    `limit_watts` is the maximum power of the board, `drawn` its integrated power since the last good reading.
    A reset covers no time, because the energy between the last good reading and the restart is unknown.
    """
    fresh = CounterState(joules, monotonic_seconds)
    if state is None:
        return Judgement("first", NOTHING, fresh)
    if state.broken_since is not None:
        return Judgement("broken", NOTHING, replace(state, seen_joules=joules))
    limit = limit_watts or FALLBACK_LIMIT_WATTS
    seconds = monotonic_seconds - state.monotonic_seconds
    if joules < state.joules:
        # Judged at the fall, not later: a glitch that lasts does not become a restart.
        if has_restarted(state, joules) and joules <= limit * seconds:
            return Judgement("reset", Increment(joules, 0.0), fresh)
        return _hold(state, joules, monotonic_seconds)
    if joules - state.joules > LEAP_FACTOR * limit * (seconds + LEAP_SLACK_SECONDS):
        return _broken(state, joules, monotonic_seconds)
    if joules == state.joules and _should_have_moved(seconds, drawn):
        if drawn.joules > STILL_JOULES and drawn.seconds > STILL_SECONDS:
            return _broken(state, joules, monotonic_seconds)
        still_since = monotonic_seconds if state.still_since is None else state.still_since
        return Judgement("still", NOTHING, replace(state, still_since=still_since))
    counted = joules - state.joules
    is_continuous = state.seen_joules is None and state.still_since is None
    covered = seconds if is_continuous else _covered_seconds(counted, seconds, drawn)
    return Judgement("good", Increment(counted, covered), fresh)


def _should_have_moved(seconds: float, drawn: Increment) -> bool:
    """Whether a board that has *drawn* power, of so many *seconds*, must have moved its counter."""
    return drawn.joules > STEP_JOULES or seconds - drawn.seconds > UNSEEN_SECONDS


def _covered_seconds(counted: float, seconds: float, drawn: Increment) -> float:
    """
    Return the seconds that a counter covers when a hold or a standstill, of so many seconds, ends.

    It may have restarted unnoticed and only now passed its old value, or it may not have counted while it
    stood still. Then it measured no more than what the board draws in a part of that time; without any power
    to compare, nothing is certain.
    """
    if drawn.joules <= 0.0:
        return 0.0
    expected = drawn.joules * seconds / drawn.seconds
    return seconds if counted >= AGREEMENT_RATIO * expected else seconds * counted / expected


def miss(state: CounterState, monotonic_seconds: float) -> Judgement:
    """Judge a reading without the counter: it is held, and broken once that lasts."""
    if state.broken_since is not None:
        return Judgement("broken", NOTHING, state)
    return _hold(state, state.seen_joules, monotonic_seconds)


def resume(
    state: CounterState,
    joules: float,
    monotonic_seconds: float,
    limit_watts: float | None,
    accounted_until: float,
) -> Judgement:
    """
    Judge a broken counter by its first reading in a new driver generation.

    Its series continues from the last published value. So it is accepted only if the growth that a reader
    then sees (the whole value, after a fall) is no more than the board can have used since
    *accounted_until*, the end of the integrated energy.
    """
    growth = joules - state.joules if joules >= state.joules else joules
    if growth <= (limit_watts or FALLBACK_LIMIT_WATTS) * (monotonic_seconds - accounted_until):
        return Judgement("reset", Increment(growth, 0.0), CounterState(joules, monotonic_seconds))
    return judge(state, joules, monotonic_seconds, limit_watts)


def has_restarted(state: CounterState, joules: float) -> bool:
    """Whether a counter may have restarted: its value is lower than its latest one."""
    return joules < (state.joules if state.seen_joules is None else state.seen_joules)


def _hold(state: CounterState, joules: float | None, monotonic_seconds: float) -> Judgement:
    held_since = monotonic_seconds if state.held_since is None else state.held_since
    if monotonic_seconds - held_since > HOLD_SECONDS:
        return _broken(state, joules, monotonic_seconds)
    return Judgement("held", NOTHING, replace(state, held_since=held_since, seen_joules=joules))


def _broken(state: CounterState, joules: float | None, monotonic_seconds: float) -> Judgement:
    broken = replace(
        state, held_since=None, still_since=None, broken_since=monotonic_seconds, seen_joules=joules
    )
    return Judgement("broken", NOTHING, broken)
