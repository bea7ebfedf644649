"""What a meter of the host can have measured at all, and whether its number stands still."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.facts.host_meter import MeterScope

MOST_WATTS: dict[MeterScope, float] = {
    "node": 100_000.0,
    "module": 10_000.0,
    "psys": 10_000.0,
    "package": 2_000.0,
    "core": 2_000.0,
    "dram": 1_000.0,
    "sensor": 100_000.0,
}
"""More than any there is, so that it only ever catches nonsense: a unit, a factor, a leap."""

# A node takes at least what its boards do, but for the errors of both meters.
LEAST_OF_BOARDS = 0.9
# Idle nodes draw four times their boards, loaded ones twice; those of few boards have a host all the same.
MOST_OF_BOARDS = 3.0
MOST_BESIDE_BOARDS_WATTS = 5_000.0

STILL_REFRESHES = 10
STILL_REFRESHES_WITHOUT_BOARDS = 30
MOVED_RATIO = 0.1


class Bounds(Struct, frozen=True):
    """The least and the most power that can be."""

    least_watts: float
    most_watts: float


def bounds(scope: MeterScope, boards: BoardPower, mean_watts: float | None = None) -> Bounds:
    """
    What a meter of *scope* can show beside what the boards drew lately.

    *mean_watts* is the boards' own mean over the span of the reading, where it has one.
    """
    if scope != "node":
        return Bounds(0.0, MOST_WATTS[scope])
    least = boards.least_watts if mean_watts is None else min(boards.least_watts, mean_watts)
    if boards.most_watts is None:
        return Bounds(LEAST_OF_BOARDS * least, MOST_WATTS[scope])
    most = max(boards.most_watts, mean_watts or 0.0)
    return Bounds(LEAST_OF_BOARDS * least, MOST_OF_BOARDS * most + MOST_BESIDE_BOARDS_WATTS)


class FreezeDetector:
    """
    Watch whether a meter shows the same number to the last digit while the boards move.

    `see` says `moves` for an honest reading; `doubtful` once the boards have moved by a tenth of what the
    meter shows; `frozen` when that has lasted for ten readings, or thirty of a meter without boards.
    """

    def __init__(self, scope: MeterScope) -> None:
        contains_boards = scope in ("node", "module")
        self._patience = STILL_REFRESHES if contains_boards else STILL_REFRESHES_WITHOUT_BOARDS
        self._watts: float | None = None
        self._same = 0
        self._least = self._most = 0.0

    def see(self, watts: float, boards_watts: float | None) -> Literal["moves", "doubtful", "frozen"]:
        if boards_watts is None:
            return "moves"
        if watts != self._watts:
            self._watts, self._same = watts, 0
            self._least = self._most = boards_watts
            return "moves"
        self._same += 1
        self._least, self._most = min(self._least, boards_watts), max(self._most, boards_watts)
        if self._most - self._least < MOVED_RATIO * watts:
            return "moves"
        return "frozen" if self._same >= self._patience else "doubtful"
