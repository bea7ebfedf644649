"""What one sweep brought in, before any accounting: the unit of recording and replay."""

from msgspec import Struct

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.snapshot import BackendStatus, CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo


class GpuSample(Struct, frozen=True, omit_defaults=True):
    """One GPU in one sweep: a reading when `state` is "ok", else none. `slow` comes when it is due."""

    uuid: str
    state: GpuState
    reading: GpuReading | None = None
    slow: GpuSlowReading | None = None


class EngineSample(Struct, frozen=True, omit_defaults=True):
    """
    One fetch of one workload's engine page: its counts at `monotonic_seconds`, or None if it failed.

    `gpus` are the UUIDs that the workload holds, and `migs` the MIG instances that it holds instead of the
    whole of one, by the UUID of their GPU. `pids` are all of its processes, and `pid_starts` when each of
    them started, in seconds since boot; empty where that is not known, and then what was known stays.
    `missing_gpus` is how many GPUs it asked for and does not hold here, None where that is not known.
    `has_page` is False for what has no page: its joules are settled with every sweep. `ended` says
    that it is over: it holds nothing more.
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
    One reading of one meter: its power, its cumulative energy, or both; None is what it does not tell.
    One with neither says that it failed while others of its kind did not.

    `scope` says what it measures and `zone` which of several (a processor's number, a sensor's name);
    with `source` they name one thing on the node.
    `power_is_mean` tells a mean since the reading before (True) from an instantaneous value.
    `energy_joules` counts up to `energy_range_joules` and starts at 0 again, where it has such a range.
    `period_seconds` is how far apart its readings are; 0 is the sweep's own interval.
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
    A GPU told of an error by itself, under NVIDIA's number for it (`code`; 999 is one without a name).

    The driver gives no time: both are of when it was heard. `number` counts all that the agent heard.
    """

    number: int
    uuid: str
    code: int
    monotonic_seconds: float
    unix_seconds: float


class Readings(Struct, frozen=True, omit_defaults=True):
    """
    All that one sweep brought: what recordings hold and what the account is made from.

    `known` are the GPUs ever seen, in the driver's order; every one has a sample in `gpus`.
    `generation` counts the driver's lives: counters of different generations need not continue.
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
