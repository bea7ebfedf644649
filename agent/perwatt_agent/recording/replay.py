"""Replay source: a recording played as if it happened now."""

from collections.abc import Callable, Iterator

import msgspec

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import EngineSample, Readings, XidEvent
from perwatt_agent.facts.snapshot import BackendStatus
from perwatt_agent.recording.recording import Recording

ENDED = "recording_ended"


class ReplaySource:
    """
    A Source of a recording's readings, with times moved so that the first one is now.

    At speed 1 they come as they were recorded, at infinite speed without a wait. At the end the backend is
    down for that reason, and no old value stays on the metrics page.
    """

    def __init__(self, recording: Recording, clock: Clock, speed: float = 1.0) -> None:
        self._recorded: Iterator[Readings] = recording.readings()
        self._clock = clock
        self._speed = speed
        self._started = (clock.monotonic(), clock.unix())
        self._first: Readings | None = None
        self._last: Readings | None = None
        self._engines: dict[str, EngineSample] = {}
        self.status = BackendStatus("replay", up=False, reason="starting")

    async def next(self) -> Readings | None:
        readings = next(self._recorded, None)
        if readings is None:
            return self._ended()
        self._first = self._first or readings
        elapsed = (readings.monotonic_seconds - self._first.monotonic_seconds) / self._speed
        await self._clock.sleep_until(self._started[0] + elapsed)
        self._last = self._moved(readings)
        self._engines.update((sample.info.workload, sample) for sample in readings.engines)
        self.status = self._last.backend
        return self._last

    def subscribe(self, on_event: Callable[[XidEvent], None]) -> None:
        """Recorded error events come with the readings of their cycle, not earlier."""

    def close(self) -> None:
        """Nothing to close."""

    def _ended(self) -> Readings | None:
        if self.status.reason == ENDED or self._last is None:
            return None
        self.status = msgspec.structs.replace(self.status, up=False, reason=ENDED)
        gone = tuple(
            msgspec.structs.replace(gpu, state="lost", reading=None, slow=None) for gpu in self._last.gpus
        )
        silent = tuple(
            msgspec.structs.replace(
                engine,
                monotonic_seconds=self._last.monotonic_seconds,
                unix_seconds=self._last.unix_seconds,
                counts=None,
                failure=ENDED,
            )
            for engine in self._engines.values()
        )
        return msgspec.structs.replace(
            self._last, backend=self.status, gpus=gone, engines=silent, meters=(), host=None
        )

    def _moved(self, readings: Readings) -> Readings:
        assert self._first is not None
        # Only the shown time is moved: the account uses the recording's own monotonic time.
        unix_seconds = readings.unix_seconds + self._started[1] - self._first.unix_seconds
        # Simulated readings stay labelled so, however often they are recorded and replayed.
        name = readings.backend.name if readings.backend.name == "simulated" else "replay"
        backend = msgspec.structs.replace(readings.backend, name=name)
        return msgspec.structs.replace(readings, unix_seconds=unix_seconds, backend=backend)
