"""What the GPU boards drew lately, all together: the measure of every meter that contains them."""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuSnapshot

# A management controller shows a change of load late, some by a minute and more.
LATELY_SECONDS = 120.0


class BoardPower(Struct, frozen=True):
    """
    All boards of the node at one sweep; what cannot be said of all of them is None.

    `mean_watts` is their accounted power since the sweep before, `watts` what they draw now.
    `least_watts` and `most_watts` are the bounds of that within the last two minutes, the lower one of
    the boards that answered. `joules` are all so far.
    """

    joules: float = 0.0
    mean_watts: float | None = None
    watts: float | None = None
    least_watts: float = 0.0
    most_watts: float | None = None


class _Extreme:
    """
    The greatest of the values of the last `seconds`, at a constant cost.

    Whatever is not greater than a later value never will be the greatest again, and is dropped.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._candidates: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> float:
        """Take in a value; return the greatest."""
        candidates = self._candidates
        while candidates and candidates[-1][1] <= value:
            candidates.pop()
        candidates.append((now, value))
        while now - candidates[0][0] > self._seconds:
            candidates.popleft()
        return candidates[0][1]


class BoardPowerMonitor:
    """Look at the boards sweep by sweep."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[float, float]] = {}
        self._most_watts = _Extreme(LATELY_SECONDS)
        self._least_watts = _Extreme(LATELY_SECONDS)  # of the negative power
        self._not_whole_at = -math.inf

    def see(self, monotonic_seconds: float, gpus: Sequence[GpuSnapshot]) -> BoardPower:
        drawn = _known([gpu.reading.power_watts if gpu.reading else None for gpu in gpus])
        means = _known([self._mean_watts(gpu) for gpu in gpus])
        watts, is_whole = sum(drawn), len(drawn) == len(gpus) > 0
        most_watts = self._most_watts.add(monotonic_seconds, watts)
        if not is_whole:
            self._not_whole_at = monotonic_seconds
        was_whole = monotonic_seconds - self._not_whole_at > LATELY_SECONDS
        return BoardPower(
            joules=sum([joules for joules, _ in self._accounts.values()]),
            mean_watts=sum(means) if len(means) == len(gpus) > 0 else None,
            watts=watts if is_whole else None,
            least_watts=-self._least_watts.add(monotonic_seconds, -watts),
            most_watts=most_watts if was_whole else None,
        )

    def _mean_watts(self, gpu: GpuSnapshot) -> float | None:
        """The mean power of one board since it was accounted before."""
        if gpu.energy is None:
            return None
        joules, seconds = gpu.energy.accepted_joules, gpu.energy.covered_seconds
        before_joules, before_seconds = self._accounts.get(gpu.info.uuid, (joules, seconds))
        self._accounts[gpu.info.uuid] = (joules, seconds)
        return (joules - before_joules) / (seconds - before_seconds) if seconds > before_seconds else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
