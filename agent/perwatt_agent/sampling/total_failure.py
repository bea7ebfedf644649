"""Total failure: the driver answers, but no GPU can be read, as in a container that lost its devices."""

from collections.abc import Sequence

from perwatt_agent.facts.gpu import GpuState

# Cycles without a reading before the driver is opened again. Doubled each time that this does not help.
FIRST_CYCLES = 10
MAX_CYCLES = 640


class TotalFailure:
    """Counts collection cycles in which every GPU failed and none hangs. To open the driver shows why."""

    def __init__(self) -> None:
        self._cycles = 0
        self._limit = FIRST_CYCLES

    def should_reopen(self, states: Sequence[GpuState]) -> bool:
        """Add the states of a cycle; whether to open the driver again now."""
        if "ok" in states:
            self._limit = FIRST_CYCLES
        if not states or set(states) != {"error"}:
            self._cycles = 0
            return False
        self._cycles += 1
        if self._cycles < self._limit:
            return False
        self._cycles, self._limit = 0, min(2 * self._limit, MAX_CYCLES)
        return True
