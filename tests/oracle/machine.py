"""Machines of the oracle: GPUs, engines and the real agent over them; every fault is a field to set."""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from oracle.truth import DrivenClock, Steps
from perwatt.run.bootstrap import build_sampler
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.engine.endpoint_poller import Endpoint, EngineFailure
from perwatt_agent.engine.gpu_claims import GpuSelector
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.gpu.backend import Generation, GenerationEnded
from perwatt_agent.meters.config import MetersConfig
from perwatt_agent.sampling.sampler import Sampler

LIMIT_WATTS = 700.0
TOKENS_PER_REQUEST = 100.0


class TrueGpu:
    """
    A GPU of known power. What its driver shows is spoilt by the fields below.

    `is_listed` is whether the driver lists it, with its UUID if it `has_identity`; `failure` is what each
    read of it raises; `counter_scale` multiplies its energy counter, which stands still while
    `counter_stops_at` is set; without `has_sensor` it gives neither power nor energy.
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
        self.counter_scale = 1.0
        self.counter_stops_at: float | None = None

    def counter_joules(self, t: float) -> float:
        seen = t if self.counter_stops_at is None else min(t, self.counter_stops_at)
        # A driver's counter began long before the agent.
        return self.counter_scale * (1e6 + self.watts.total(seen))


class TrueDevice:
    """A TrueGpu as one driver generation shows it."""

    def __init__(self, gpu: TrueGpu, clock: DrivenClock, generation: "TrueBackend", number: int) -> None:
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
        return GpuReading(
            now,
            energy_joules=gpu.counter_joules(now) if has_counter else None,
            power_watts=mean,
            power_is_mean=True,
            utilization_ratio=0.9 if (watts or 0.0) > 150.0 else 0.0,
        )

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

    def __init__(self, gpus: list[TrueGpu], clock: DrivenClock) -> None:
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


class TrueEngine:
    """
    An engine that makes output tokens at a known rate on known GPUs, and its page.

    While not `is_reachable` its page is refused. `restart` starts its counters anew; tokens go on.
    """

    def __init__(
        self, name: str, model: str, gpus: tuple[TrueGpu, ...], rate: Steps, clock: DrivenClock
    ) -> None:
        self.name = name
        self.model = model
        self.gpus = gpus
        self.rate = rate
        self.is_reachable = True
        self.faults: tuple[EngineFailure, ...] = ()
        self.engine = "vllm"
        self._clock = clock
        self._born = clock.monotonic() - 500.0
        self._counted_from = 0.0

    def restart(self) -> None:
        now = self._clock.monotonic()
        self._born, self._counted_from = now, self.rate.total(now)

    async def read(self) -> EngineCounts:
        if not self.is_reachable:
            raise EngineFailure("refused", "nobody listens")
        now = self._clock.monotonic()
        tokens = self.rate.total(now) - self._counted_from
        return EngineCounts(
            self.model,
            output_tokens=tokens,
            prompt_computed_tokens=tokens / 2.0,
            prompt_cached_tokens=0.0,
            effective_output_tokens=tokens,
            requests_ok=tokens // TOKENS_PER_REQUEST,
            requests_aborted=0.0,
            requests_error=0.0,
            requests_running=1.0,
            process_start_unix_seconds=self._clock.unix() - (now - self._born),
        )


class TrueNode:
    """
    One machine and its agent. `claims` is what the configuration says of each engine's GPUs, by engine.

    While not `is_alive` the agent does not run; the machine goes on. `answers` is whether scrapes succeed. A
    meter of the node has all joules of its boards, and `rest_watts` beside them.
    """

    def __init__(
        self, name: str, gpus: list[TrueGpu], engines: list[TrueEngine], folder: Path, clock: DrivenClock
    ):
        self.name = name
        self.gpus = gpus
        self.engines = engines
        self.backend = TrueBackend(gpus, clock)
        self.claims: dict[str, GpuSelector] = {
            engine.name: tuple(gpu.uuid for gpu in engine.gpus) for engine in engines
        }
        self.answers = True
        self.rest_watts = 40.0 * len(gpus)
        self._folder = folder
        self._clock = clock
        self._born = clock.monotonic()
        self._sampler: Sampler | None = None

    def _start(self) -> Sampler:
        config = AgentConfig(
            state_dir=self._folder,
            data_dir=self._folder / "data",
            meters=MetersConfig(discover=False),
            engines=EnginesConfig(discover=False),
        )
        endpoints = [
            Endpoint(WorkloadInfo(engine.name), 8000 + place, self.claims[engine.name], engine)
            for place, engine in enumerate(self.engines)
        ]
        return build_sampler(config, self._clock, backend=self.backend, endpoints=endpoints)

    @property
    def is_alive(self) -> bool:
        return self._sampler is not None

    def restart_agent(self) -> None:
        self.stop_agent()
        self._sampler = self._start()

    def stop_agent(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = None

    async def tick(self) -> None:
        if self._sampler is not None:
            await self._sampler.tick()

    @property
    def snapshot(self) -> Snapshot:
        assert self._sampler is not None
        return self._sampler.latest

    @property
    def snapshot_with_meter(self) -> Snapshot:
        """The snapshot with the node's meter, which is read together with the GPUs."""
        snapshot = self.snapshot
        now = snapshot.monotonic_seconds
        seconds = now - self._born
        joules = sum(gpu.watts.between(self._born, now) for gpu in self.gpus) + self.rest_watts * seconds
        return replace(snapshot, node_meters=(NodeMeterSnapshot("ipmi", joules, seconds),))

    def factor(self, start: float, end: float) -> float:
        """Joules of the node per joule of its boards."""
        boards = sum(gpu.watts.between(start, end) for gpu in self.gpus)
        return 1.0 + self.rest_watts * (end - start) / boards if boards else 1.0
