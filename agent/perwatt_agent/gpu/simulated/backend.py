"""
Simulated backend: GPUs whose power follows a load, and whose energy is the exact integral of their power.

Everything is labelled simulated: the name, the UUID, the source of the energy, the driver.
"""

import math
import platform
from random import Random

from perwatt_agent.clock import Clock
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.simulated.load import Load

# A board like an H100 SXM. Idle as the H100 and H200 boards that are documented (60 to 74 W); a load
# of 1 stays below the limit, as serving does.
IDLE_WATTS = 68.0
FULL_WATTS = 640.0
LIMIT_WATTS = 700.0
LIMIT_MIN_WATTS = 200.0

_GIB = 1024**3
_MEMORY_TOTAL_BYTES = 80 * _GIB
_MEMORY_RESERVED_BYTES = _GIB // 2
_WEIGHTS_BYTES = 16 * _GIB
_KV_CACHE_BYTES = 56 * _GIB

_POWER_MEAN_SECONDS = 1.0  # as the driver's reading on such a board
_GPM_SECONDS = 5.0  # as the agent reads GPM of a real board
_HEATING_SECONDS = 20.0
_AMBIENT_CELSIUS = 27.0
_CELSIUS_PER_WATT = 0.06
_MEMORY_ABOVE_CORE_CELSIUS = 7.0

_CLOCK_IDLE_HERTZ = 345e6
_CLOCK_FULL_HERTZ = 1980e6
_CLOCK_MEMORY_HERTZ = 2619e6


class SimulatedDevice:
    """One GPU. *share* of the full power is what it draws at full load: no two boards are alike."""

    def __init__(self, info: GpuInfo, clock: Clock, load: Load, share: float) -> None:
        self._info = info
        self._clock = clock
        self._started_seconds = load.started_monotonic_seconds
        full_watts = IDLE_WATTS + (FULL_WATTS - IDLE_WATTS) * share

        def watts(level: float) -> float:
            # Power rises faster than throughput: half the load takes two thirds of the power.
            return IDLE_WATTS + (full_watts - IDLE_WATTS) * math.pow(level, 0.6)

        self._power = load.curve(watts)
        self._heat = load.lag(watts, _HEATING_SECONDS)
        self._level = load.curve(float)
        self._utilization = load.curve(lambda level: min(1.0, 2.0 * level))

    @property
    def info(self) -> GpuInfo:
        return self._info

    def read(self) -> GpuReading:
        now = self._clock.monotonic()
        seconds = now - self._started_seconds
        busy = self._utilization.mean(seconds, _POWER_MEAN_SECONDS)
        celsius = _AMBIENT_CELSIUS + _CELSIUS_PER_WATT * self._heat.at(seconds)
        clock_hertz = _CLOCK_IDLE_HERTZ + (_CLOCK_FULL_HERTZ - _CLOCK_IDLE_HERTZ) * busy
        return GpuReading(
            monotonic_seconds=now,
            energy_joules=self._power.integral(seconds),
            energy_source="simulated",
            power_watts=self._power.mean(seconds, _POWER_MEAN_SECONDS),
            power_is_mean=True,
            utilization_ratio=busy,
            memory_utilization_ratio=0.6 * busy,
            memory_used_bytes=_WEIGHTS_BYTES + int(_KV_CACHE_BYTES * self._level.at(seconds)),
            memory_reserved_bytes=_MEMORY_RESERVED_BYTES,
            memory_total_bytes=_MEMORY_TOTAL_BYTES,
            temperature_core_celsius=celsius,
            temperature_memory_celsius=celsius + _MEMORY_ABOVE_CORE_CELSIUS,
            clock_graphics_hertz=clock_hertz,
            clock_sm_hertz=clock_hertz,
            clock_memory_hertz=_CLOCK_MEMORY_HERTZ,
            gpm=self._gpm(now, self._utilization.mean(seconds, _GPM_SECONDS)),
        )

    def _gpm(self, now: float, busy: float) -> GpmReading:
        """As of a decoder: bound by memory, so that its tensor cores are mostly idle."""
        return GpmReading(
            now,
            _GPM_SECONDS,
            sm_active_ratio=0.9 * busy,
            sm_occupancy_ratio=0.35 * busy,
            tensor_active_ratio=0.3 * busy,
            fp64_active_ratio=0.0,
            fp32_active_ratio=0.1 * busy,
            fp16_active_ratio=0.05 * busy,
            dram_bandwidth_ratio=0.7 * busy,
        )

    def read_slow(self) -> GpuSlowReading:
        return GpuSlowReading(
            monotonic_seconds=self._clock.monotonic(),
            clock_sm_max_hertz=_CLOCK_FULL_HERTZ,
            clock_memory_max_hertz=_CLOCK_MEMORY_HERTZ,
            performance_state=0,
            throttle_reasons=(),
            power_limit_watts=LIMIT_WATTS,
            power_limit_default_watts=LIMIT_WATTS,
            power_limit_min_watts=LIMIT_MIN_WATTS,
            power_limit_max_watts=LIMIT_WATTS,
            processes=(GpuProcess(pid=0),),
        )


class SimulatedBackend:
    """
    A driver with *gpus* simulated GPUs, UUIDs `SIM-<host>-<n>`, under *load*.

    Without a load it makes its own from *seed*. With the load of a simulated engine, tokens and joules match.
    *host* is by default this machine's name.
    """

    name = "simulated"

    def __init__(
        self,
        clock: Clock,
        *,
        gpus: int = 2,
        seed: int = 0,
        host: str | None = None,
        load: Load | None = None,
    ) -> None:
        load = load or Load(clock, seed)
        host = host or platform.node() or "localhost"
        self._devices = tuple(
            SimulatedDevice(
                _info(host, index), clock, load, Random(f"board {seed} {index}").uniform(0.95, 1.0)
            )
            for index in range(gpus)
        )

    def open(self) -> Generation:
        return Generation(driver_version="simulated", nvml_version="simulated", devices=self._devices)

    def close(self) -> None:
        """Nothing to free: counters continue when it is opened again, as a driver's do."""


def _info(host: str, index: int) -> GpuInfo:
    return GpuInfo(
        uuid=f"SIM-{host}-{index}", index=index, name="Simulated H100 80GB", architecture="simulated"
    )
