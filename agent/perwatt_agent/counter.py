"""
Is a driver's energy counter to be believed, reading by reading?

The rules of the metric contract: a fall to no more than a board can have used since the last good
reading is a restart from zero; any other fall is a glitch, during which the last good value stands; a
glitch that lasts, or a rise that no board can have used, makes the counter untrustworthy until the
driver starts a new generation.
"""

from typing import Literal

from msgspec import Struct

from perwatt_agent.integrate import NOTHING, Increment

Verdict = Literal["first", "good", "reset", "held", "broken"]

# Where no limit is known: above any board sold, so that it only ever catches nonsense.
FALLBACK_LIMIT_WATTS = 2000.0
# A board may pass its limit for moments, and the counter moves in steps of up to 100 ms.
LEAP_FACTOR = 1.5
LEAP_SLACK_SECONDS = 0.5
HOLD_SECONDS = 60.0


class CounterState(Struct, frozen=True):
    """What is remembered of a counter: the last good reading, and since when it is held or broken."""

    joules: float
    monotonic_seconds: float
    held_since: float | None = None
    broken_since: float | None = None


class Judgement(Struct, frozen=True):
    """The verdict on one reading, what it adds, and what to remember."""

    verdict: Verdict
    increment: Increment
    state: CounterState


def judge(
    state: CounterState | None, joules: float, monotonic_seconds: float, limit_watts: float | None
) -> Judgement:
    """
    Judge one reading of a cumulative counter in joules against the last good one.

    `limit_watts` is the most that the board may draw. A reset covers no time: what was used between
    the last good reading and the restart is not known.
    """
    fresh = CounterState(joules, monotonic_seconds)
    if state is None:
        return Judgement("first", NOTHING, fresh)
    limit = limit_watts or FALLBACK_LIMIT_WATTS
    seconds = monotonic_seconds - state.monotonic_seconds
    plausible_as_restart = joules < state.joules and joules <= limit * seconds
    if plausible_as_restart:
        # Also how a broken counter comes back: it has restarted, so the driver has.
        verdict: Verdict = "reset" if state.broken_since is None else "first"
        return Judgement(verdict, Increment(joules, 0.0) if verdict == "reset" else NOTHING, fresh)
    if state.broken_since is not None:
        return Judgement("broken", NOTHING, state)
    if joules < state.joules:
        return _hold(state, monotonic_seconds)
    if joules - state.joules > LEAP_FACTOR * limit * (seconds + LEAP_SLACK_SECONDS):
        return _broken(state, monotonic_seconds)
    return Judgement("good", Increment(joules - state.joules, seconds), fresh)


def miss(state: CounterState, monotonic_seconds: float) -> CounterState:
    """Remember that a counter which used to be there did not answer; give it up when that lasts."""
    if state.broken_since is None and monotonic_seconds - state.monotonic_seconds > HOLD_SECONDS:
        return _broken(state, monotonic_seconds).state
    return state


def _hold(state: CounterState, monotonic_seconds: float) -> Judgement:
    held_since = monotonic_seconds if state.held_since is None else state.held_since
    if monotonic_seconds - held_since > HOLD_SECONDS:
        return _broken(state, monotonic_seconds)
    held = CounterState(state.joules, state.monotonic_seconds, held_since=held_since)
    return Judgement("held", NOTHING, held)


def _broken(state: CounterState, monotonic_seconds: float) -> Judgement:
    broken = CounterState(state.joules, state.monotonic_seconds, broken_since=monotonic_seconds)
    return Judgement("broken", NOTHING, broken)
