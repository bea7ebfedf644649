"""Energy counter of a host meter: the increment of each reading, or why it is rejected."""

from msgspec import Struct

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.accounting.integrator import NOTHING, Increment
from perwatt_agent.accounting.plausibility import FROZEN_READINGS, bounds
from perwatt_agent.facts.host_meter import MeterScope

# Wall meters count in steps of up to a kilowatt-hour; a counter that stays constant for longer is frozen.
COARSEST_STEP_JOULES = 3.6e6
CHANGES_AFTER_A_FALL = 3
"""After a fall or a jump, increments are held back for so many changes: counters in turn go on falling."""


class CounterPoint(Struct, frozen=True):
    """Last change of a counter: its value and its instant."""

    joules: float
    monotonic_seconds: float


class MeterCounter:
    """
    Differences of a counter, from each change to the next.

    A counter with a range wraps: a single wrap is corrected, several wraps cannot be recognised and add
    nothing. A fall without a range, implausible growth, and a value beyond the range add nothing either.
    What follows a fall or a jump adds once the counter has grown three times, and nothing if it falls again
    before; a single step of the size of the fall is a jump, for then two counters answer in turn.
    `point` survives a restart of the agent.
    """

    def __init__(self, scope: MeterScope, point: CounterPoint | None = None) -> None:
        self._scope = scope
        self._unchanged_reads = 0
        self._boards_joules: float | None = None
        # The first change after the start completes a step that began before the start.
        self._point_is_a_change = point is not None
        self._fell_by: float | None = None
        self._held = NOTHING
        self._held_changes = 0
        self.point = point

    def add(
        self, monotonic_seconds: float, joules: float, range_joules: float | None, boards: BoardPower
    ) -> tuple[Increment, str]:
        """Return what a reading adds, and why it is rejected, or an empty text."""
        if range_joules is not None and joules > range_joules:
            return NOTHING, "implausible"
        last = self.point
        if last is not None and joules == last.joules:
            self._unchanged_reads += 1
            return NOTHING, "frozen" if self._is_frozen(boards) else ""
        whole = self._point_is_a_change or not self._unchanged_reads
        mean_watts = self._boards_mean(monotonic_seconds, boards)
        self.point = CounterPoint(joules, monotonic_seconds)
        self._boards_joules, self._unchanged_reads, self._point_is_a_change = (
            boards.joules,
            0,
            last is not None,
        )
        if last is None or not whole:
            return NOTHING, ""
        seconds = monotonic_seconds - last.monotonic_seconds
        increment, rejection = self._judge(joules - last.joules, seconds, range_joules, boards, mean_watts)
        return self._after_a_fall(last.joules, joules, increment, rejection)

    def _after_a_fall(
        self, before: float, joules: float, increment: Increment, rejection: str
    ) -> tuple[Increment, str]:
        """Refuse a step that makes up for a fall at once, and hold back what follows a fall."""
        if rejection == "reset":
            self._fell_by = before - joules
        elif self._fell_by is not None and joules - before >= self._fell_by:
            self._fell_by, rejection = None, "jump"
        if rejection in ("reset", "jump"):
            self._held, self._held_changes = NOTHING, CHANGES_AFTER_A_FALL
        if rejection or not self._held_changes:
            return (NOTHING if rejection else increment), rejection
        self._held_changes -= 1
        held = Increment(self._held.joules + increment.joules, self._held.seconds + increment.seconds)
        self._held = held if self._held_changes else NOTHING
        return NOTHING if self._held_changes else held, ""

    def _judge(
        self,
        growth: float,
        seconds: float,
        range_joules: float | None,
        boards: BoardPower,
        mean_watts: float | None,
    ) -> tuple[Increment, str]:
        possible = bounds(self._scope, boards, mean_watts)
        fell = growth < 0.0
        if range_joules is not None:
            if possible.max_watts * seconds >= range_joules:
                return NOTHING, ""  # it may have wrapped more than once
            growth %= range_joules
        if growth < 0.0 or (fell and growth > possible.max_watts * seconds):
            return NOTHING, "reset"
        if growth > possible.max_watts * seconds:
            return NOTHING, "jump"
        if growth < possible.min_watts * seconds:
            return NOTHING, "implausible"
        return Increment(growth, seconds), ""

    def _boards_mean(self, monotonic_seconds: float, boards: BoardPower) -> float | None:
        """Return the mean power of the boards since the counter last changed."""
        if self.point is None or self._boards_joules is None:
            return None
        seconds = monotonic_seconds - self.point.monotonic_seconds
        return (boards.joules - self._boards_joules) / seconds if seconds > 0.0 else None

    def _is_frozen(self, boards: BoardPower) -> bool:
        if self._scope != "node":
            return self._unchanged_reads >= FROZEN_READINGS
        used = boards.joules - (boards.joules if self._boards_joules is None else self._boards_joules)
        return self._unchanged_reads >= FROZEN_READINGS and used > 2 * COARSEST_STEP_JOULES
