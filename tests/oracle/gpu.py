"""GPUs of the oracle, and the driver that shows them; every fault is a field to set."""

from collections.abc import Callable

from oracle.clock import NodeClock
from oracle.truth import Steps
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import Generation, GenerationEnded

LIMIT_WATTS = 700.0


class TrueGpu:
    """
    A GPU of known power. What its driver shows is spoilt by the fields below.

    `is_listed` is whether the driver lists it, with its UUID if it `has_identity`; `failure` is what each
    read of it raises; `counter_scale` multiplies its energy counter, which stands still while
    `counter_stops_at` is set, and began at `counter_base`; without `has_sensor` it gives neither power nor
    energy. `spoil` changes what is read.
    """

    def __init__(self, uuid: str, index: int, watts: Steps) -> None:
        self.uuid = uuid
        self.index = index
        self.watts = watts
        self.is_listed = True
        self.has_identity = True
        self.has_sensor = True
        self.has_counter = True
        self.failure: Callable[[], Exception] | None = None
        self.spoil: Callable[[GpuReading], GpuReading] | None = None
        # A driver's counter began long before the agent.
        self.counter_base = 1e6
        self.counter_scale = 1.0
        self.counter_stops_at: float | None = None

    def counter_joules(self, t: float) -> float:
        seen = t if self.counter_stops_at is None else min(t, self.counter_stops_at)
        return self.counter_scale * (self.counter_base + self.watts.total(seen))


class TrueDevice:
    """A TrueGpu as one driver generation shows it."""

    def __init__(self, gpu: TrueGpu, clock: NodeClock, generation: "TrueBackend", number: int) -> None:
        self.info = GpuInfo(gpu.uuid, gpu.index, "Oracle GPU")
        self._gpu = gpu
        self._clock = clock
        self._backend = generation
        self._number = number

    def read(self) -> GpuReading:
        self._check()
        gpu, now = self._gpu, self._clock.monotonic()
        watts = gpu.watts.at(now) if gpu.has_sensor else None
        # A driver's power is the mean of the last second.
        mean = gpu.watts.between(now - 1.0, now) if watts is not None else None
        has_counter = gpu.has_sensor and gpu.has_counter
        reading = GpuReading(
            now,
            energy_joules=gpu.counter_joules(now) if has_counter else None,
            power_watts=mean,
            power_is_mean=True,
            utilization_ratio=0.9 if (watts or 0.0) > 150.0 else 0.0,
        )
        return gpu.spoil(reading) if gpu.spoil else reading

    def read_slow(self) -> GpuSlowReading:
        self._check()
        return GpuSlowReading(self._clock.monotonic(), power_limit_watts=LIMIT_WATTS)

    def _check(self) -> None:
        if self._number != self._backend.generation:
            raise GenerationEnded("the driver was reloaded")
        if self._gpu.failure is not None:
            raise self._gpu.failure()


class TrueBackend:
    """A driver over the GPUs that are listed; `reload` voids every handle."""

    name = "nvml"

    def __init__(self, gpus: list[TrueGpu], clock: NodeClock) -> None:
        self._gpus = gpus
        self._clock = clock
        self.generation = 0

    def reload(self) -> None:
        self.generation += 1

    def open(self) -> Generation:
        self.generation += 1
        listed = [gpu for gpu in self._gpus if gpu.is_listed]
        named = [gpu for gpu in listed if gpu.has_identity]
        devices = tuple(TrueDevice(gpu, self._clock, self, self.generation) for gpu in named)
        return Generation("570.00", "12.570.00", devices, unidentified=len(listed) - len(named))

    def close(self) -> None:
        """Nothing is held."""
