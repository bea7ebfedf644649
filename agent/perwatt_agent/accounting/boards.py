"""What the GPU boards drew lately, all together: the measure of every meter that contains them."""

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.snapshot import GpuSnapshot

# A management controller shows a change of load late, some by a minute and more.
LATELY_SECONDS = 120.0


class Boards(Struct, frozen=True):
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


class _Look(Struct, frozen=True):
    """What was seen in one sweep; `is_whole` tells whether every board was."""

    monotonic_seconds: float
    watts: float
    is_whole: bool


class BoardsWatch:
    """Look at the boards sweep by sweep."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[float, float]] = {}
        self._lately: deque[_Look] = deque()

    def see(self, monotonic_seconds: float, gpus: Sequence[GpuSnapshot]) -> Boards:
        drawn = _known(gpu.reading.power_watts if gpu.reading else None for gpu in gpus)
        means = _known(self._mean_watts(gpu) for gpu in gpus)
        look = _Look(monotonic_seconds, sum(drawn), len(drawn) == len(gpus) > 0)
        lately = self._lately
        lately.append(look)
        while monotonic_seconds - lately[0].monotonic_seconds > LATELY_SECONDS:
            lately.popleft()
        return Boards(
            joules=sum(joules for joules, _ in self._accounts.values()),
            mean_watts=sum(means) if len(means) == len(gpus) > 0 else None,
            watts=look.watts if look.is_whole else None,
            least_watts=min(past.watts for past in lately),
            most_watts=max(past.watts for past in lately) if all(past.is_whole for past in lately) else None,
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
