"""Readings of one collection cycle, before any accounting: the unit of recording and replay."""

from msgspec import Struct

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.snapshot import BackendStatus, CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo


class GpuSample(Struct, frozen=True, omit_defaults=True):
    """One GPU in one cycle: a reading if `state` is "ok", else None. `slow` is present when it was due."""

    uuid: str
    state: GpuState
    reading: GpuReading | None = None
    slow: GpuSlowReading | None = None


class EngineSample(Struct, frozen=True, omit_defaults=True):
    """
    One fetch of one workload's engine page: its counts at `monotonic_seconds`, or None if it failed.

    `gpus` are the UUIDs that the workload holds, and `migs` the MIG instances that it holds instead of a
    whole GPU, by the UUID of their GPU. `pids` are all of its processes, and `pid_starts` their starts in
    seconds since boot; if they are empty, earlier values stay valid. `missing_gpus` is how many GPUs it
    requested and does not hold here, None if unknown. `has_page` is False for a workload without a page: its
    joules are attributed in every cycle. `ended` means that it holds nothing any more.
    """

    info: WorkloadInfo
    gpus: tuple[str, ...]
    monotonic_seconds: float
    unix_seconds: float
    counts: EngineCounts | None = None
    failure: str = ""
    pids: tuple[int, ...] = ()
    pid_starts: tuple[float, ...] = ()
    missing_gpus: int | None = None
    has_page: bool = True
    ended: bool = False
    migs: dict[str, tuple[str, ...]] = {}


class MeterSample(Struct, frozen=True, omit_defaults=True):
    """
    One reading of one meter: its power, its cumulative energy, or both. A sample with neither is a failed
    read beside others of the same meter.

    `scope` is what it measures, and `zone` which one of several (a processor's number, a sensor's name); with
    `source` they identify one thing on the node. `power_is_mean` is True for a mean since the previous
    reading, False for an instantaneous value. `energy_joules` wraps to 0 at `energy_range_joules`, if that is
    set. `period_seconds` is the time between readings; 0 is the interval of the collection cycle.
    """

    source: str
    monotonic_seconds: float
    power_watts: float | None = None
    energy_joules: float | None = None
    energy_range_joules: float | None = None
    power_is_mean: bool = False
    scope: MeterScope = "node"
    zone: str = ""
    period_seconds: float = 0.0


class XidEvent(Struct, frozen=True):
    """
    An XID error that a GPU reported, with NVIDIA's number for it (`code`; 999 is an error without a name).

    The driver gives no time, so both times are those of arrival. `number` counts all errors of this agent.
    """

    number: int
    uuid: str
    code: int
    monotonic_seconds: float
    unix_seconds: float


class Readings(Struct, frozen=True, omit_defaults=True):
    """
    Everything read in one collection cycle: the content of recordings, and the input of accounting.

    `known` are all GPUs seen so far, in the driver's order; each has a sample in `gpus`. `generation` counts
    the starts of the driver: counters need not continue from one generation to the next.
    """

    monotonic_seconds: float
    unix_seconds: float
    backend: BackendStatus
    generation: int = 0
    known: tuple[GpuInfo, ...] = ()
    gpus: tuple[GpuSample, ...] = ()
    engines: tuple[EngineSample, ...] = ()
    meters: tuple[MeterSample, ...] = ()
    collectors: tuple[CollectorHealth, ...] = ()
    unidentified_gpus: int = 0
    host: HostReading | None = None
    xids: tuple[XidEvent, ...] = ()
