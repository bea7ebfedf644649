"""When a driver that answers shows nothing any more, as in a container that lost its devices."""

from collections.abc import Sequence

from perwatt_agent.facts.gpu import GpuState

# Sweeps without a single reading before the driver is opened anew; doubled each time that this does not help.
FIRST_SWEEPS = 10
MOST_SWEEPS = 640


class Blindness:
    """Counts sweeps in which every GPU failed though none hangs: only opening the driver tells why."""

    def __init__(self) -> None:
        self._sweeps = 0
        self._patience = FIRST_SWEEPS

    def lasts(self, states: Sequence[GpuState]) -> bool:
        """Take in the states of a sweep; whether the driver is to be opened anew now."""
        if "ok" in states:
            self._patience = FIRST_SWEEPS
        if not states or set(states) != {"error"}:
            self._sweeps = 0
            return False
        self._sweeps += 1
        if self._sweeps < self._patience:
            return False
        self._sweeps, self._patience = 0, min(2 * self._patience, MOST_SWEEPS)
        return True
