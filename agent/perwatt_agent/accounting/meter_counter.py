"""An energy counter of the host, reading by reading: what it adds, and whether it can be believed."""

from msgspec import Struct

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.accounting.integrator import NOTHING, Increment
from perwatt_agent.accounting.plausibility import STILL_REFRESHES, bounds
from perwatt_agent.facts.host_meter import MeterScope

# Meters at the wall count in steps of up to a kilowatt-hour; one that stands still for longer is frozen.
COARSEST_STEP_JOULES = 3.6e6


class CounterPoint(Struct, frozen=True):
    """What a counter said last when it said something new, and when."""

    joules: float
    monotonic_seconds: float


class MeterCounter:
    """
    Take the differences of a counter, from each move of it to the next.

    One that has a range goes round: once is told from the range, more than once is not known and adds
    nothing, and neither does a fall without a range, or growth that cannot be. `point` is what to
    remember over a restart of the agent.
    """

    def __init__(self, scope: MeterScope, point: CounterPoint | None = None) -> None:
        self._scope = scope
        self._stood = 0
        self._boards_joules: float | None = None
        # Between the first reading and the first move after it lies a part of a step that began before.
        self._is_at_a_move = point is not None
        self.point = point

    def add(
        self, monotonic_seconds: float, joules: float, range_joules: float | None, boards: BoardPower
    ) -> tuple[Increment, str]:
        """What a reading adds, and why it is not believed, if it is not."""
        last = self.point
        if last is not None and joules == last.joules:
            self._stood += 1
            return NOTHING, "frozen" if self._is_frozen(boards) else ""
        whole = self._is_at_a_move or not self._stood
        mean_watts = self._boards_mean(monotonic_seconds, boards)
        self.point = CounterPoint(joules, monotonic_seconds)
        self._boards_joules, self._stood, self._is_at_a_move = boards.joules, 0, last is not None
        if last is None or not whole:
            return NOTHING, ""
        seconds = monotonic_seconds - last.monotonic_seconds
        return self._judge(joules - last.joules, seconds, range_joules, boards, mean_watts)

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
            if possible.most_watts * seconds >= range_joules:
                return NOTHING, ""  # it may have gone round any number of times
            growth %= range_joules
        if growth < 0.0 or (fell and growth > possible.most_watts * seconds):
            return NOTHING, "reset"
        if growth > possible.most_watts * seconds:
            return NOTHING, "jump"
        if growth < possible.least_watts * seconds:
            return NOTHING, "implausible"
        return Increment(growth, seconds), ""

    def _boards_mean(self, monotonic_seconds: float, boards: BoardPower) -> float | None:
        """What the boards drew on average since the counter moved before."""
        if self.point is None or self._boards_joules is None:
            return None
        seconds = monotonic_seconds - self.point.monotonic_seconds
        return (boards.joules - self._boards_joules) / seconds if seconds > 0.0 else None

    def _is_frozen(self, boards: BoardPower) -> bool:
        if self._scope != "node":
            return self._stood >= STILL_REFRESHES
        used = boards.joules - (boards.joules if self._boards_joules is None else self._boards_joules)
        return self._stood >= STILL_REFRESHES and used > 2 * COARSEST_STEP_JOULES
