"""Plausibility of a host meter: bounds of its power, and detection of a frozen value."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.facts.host_meter import MeterScope

MAX_WATTS: dict[MeterScope, float] = {
    "node": 100_000.0,
    "module": 10_000.0,
    "psys": 10_000.0,
    "package": 2_000.0,
    "core": 2_000.0,
    "dram": 1_000.0,
    "sensor": 100_000.0,
}
"""Above any real part, so that only errors exceed it: a wrong unit or factor, or a jump."""

# A node draws at least as much as its boards, apart from the errors of both meters.
MIN_RATIO_TO_BOARDS = 0.9
# Idle nodes draw four times their boards, loaded ones twice; the fixed part is for a host with few boards.
MAX_RATIO_TO_BOARDS = 3.0
MAX_BESIDE_BOARDS_WATTS = 5_000.0

FROZEN_READINGS = 10
FROZEN_READINGS_WITHOUT_BOARDS = 30
MOVED_RATIO = 0.1


class Bounds(Struct, frozen=True):
    """Plausible power, from minimum to maximum."""

    min_watts: float
    max_watts: float


def bounds(scope: MeterScope, boards: BoardPower, mean_watts: float | None = None) -> Bounds:
    """
    Return the plausible power of a meter of *scope*, given the recent power of the boards.

    *mean_watts* is the boards' mean power over the time that the reading covers, if it covers any.
    """
    if scope != "node":
        return Bounds(0.0, MAX_WATTS[scope])
    lowest = boards.min_watts if mean_watts is None else min(boards.min_watts, mean_watts)
    if boards.max_watts is None:
        return Bounds(MIN_RATIO_TO_BOARDS * lowest, MAX_WATTS[scope])
    highest = max(boards.max_watts, mean_watts or 0.0)
    return Bounds(MIN_RATIO_TO_BOARDS * lowest, MAX_RATIO_TO_BOARDS * highest + MAX_BESIDE_BOARDS_WATTS)


class FreezeDetector:
    """
    Detection of a meter that reports the same number to the last digit while the power of the boards changes.

    `add` returns "moves" for a good reading, "doubtful" once the boards have changed by a tenth of the
    meter's value, and "frozen" after ten such readings, or thirty of a meter that does not contain boards.
    """

    def __init__(self, scope: MeterScope) -> None:
        contains_boards = scope in ("node", "module")
        self._frozen_readings = FROZEN_READINGS if contains_boards else FROZEN_READINGS_WITHOUT_BOARDS
        self._watts: float | None = None
        self._same = 0
        self._boards_min = self._boards_max = 0.0

    def add(self, watts: float, boards_watts: float | None) -> Literal["moves", "doubtful", "frozen"]:
        if boards_watts is None:
            return "moves"
        if watts != self._watts:
            self._watts, self._same = watts, 0
            self._boards_min = self._boards_max = boards_watts
            return "moves"
        self._same += 1
        self._boards_min, self._boards_max = (
            min(self._boards_min, boards_watts),
            max(self._boards_max, boards_watts),
        )
        if self._boards_max - self._boards_min < MOVED_RATIO * watts:
            return "moves"
        return "frozen" if self._same >= self._frozen_readings else "doubtful"
