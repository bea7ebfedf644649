"""Recent power of all GPU boards together, against which meters that contain them are checked."""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuSnapshot

# A management controller shows a change of load late, some by more than a minute.
LATELY_SECONDS = 120.0


class BoardPower(Struct, frozen=True):
    """
    Power of all boards of the node at one collection cycle; None is a value that some board does not have.

    `mean_watts` is their accounted power since the previous cycle, `watts` their power now. `min_watts` and
    `max_watts` are its extremes within the last two minutes; the minimum is of the boards that answered.
    `joules` are the sum so far.
    """

    joules: float = 0.0
    mean_watts: float | None = None
    watts: float | None = None
    min_watts: float = 0.0
    max_watts: float | None = None


class _MovingMax:
    """
    Maximum of the values of the last `seconds`, at a constant cost.

    A value that is not greater than a later one can never be the maximum again, so it is dropped.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._candidates: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> float:
        """Add a value and return the maximum."""
        candidates = self._candidates
        while candidates and candidates[-1][1] <= value:
            candidates.pop()
        candidates.append((now, value))
        while now - candidates[0][0] > self._seconds:
            candidates.popleft()
        return candidates[0][1]


class BoardPowerMonitor:
    """Power of the boards, updated in each collection cycle."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[float, float]] = {}
        self._max_watts = _MovingMax(LATELY_SECONDS)
        self._min_watts = _MovingMax(LATELY_SECONDS)  # of the negative power
        self._not_whole_at = -math.inf

    def add(self, monotonic_seconds: float, gpus: Sequence[GpuSnapshot]) -> BoardPower:
        drawn = _without_none([gpu.reading.power_watts if gpu.reading else None for gpu in gpus])
        means = _without_none([self._mean_watts(gpu) for gpu in gpus])
        watts, is_whole = sum(drawn), len(drawn) == len(gpus) > 0
        max_watts = self._max_watts.add(monotonic_seconds, watts)
        if not is_whole:
            self._not_whole_at = monotonic_seconds
        was_whole = monotonic_seconds - self._not_whole_at > LATELY_SECONDS
        return BoardPower(
            joules=sum([joules for joules, _ in self._accounts.values()]),
            mean_watts=sum(means) if len(means) == len(gpus) > 0 else None,
            watts=watts if is_whole else None,
            min_watts=-self._min_watts.add(monotonic_seconds, -watts),
            max_watts=max_watts if was_whole else None,
        )

    def _mean_watts(self, gpu: GpuSnapshot) -> float | None:
        """Return the mean power of one board since its previous account."""
        if gpu.energy is None:
            return None
        joules, seconds = gpu.energy.accepted_joules, gpu.energy.covered_seconds
        before_joules, before_seconds = self._accounts.get(gpu.info.uuid, (joules, seconds))
        self._accounts[gpu.info.uuid] = (joules, seconds)
        return (joules - before_joules) / (seconds - before_seconds) if seconds > before_seconds else None


def _without_none(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
