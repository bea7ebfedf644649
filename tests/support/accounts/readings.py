"""Readings as a sweep would bring them, in one line each."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.readings import EngineSample, GpuSample, MeterSample, Readings
from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_agent.facts.workload import WorkloadInfo

BOOT_UNIX_SECONDS = 1_800_000_000.0
"""Monotonic 0 in Unix time."""

UP = BackendStatus("nvml", up=True)


class Lines:
    """A function of time that is linear between its corners, and flat outside of them."""

    def __init__(self, *corners: tuple[float, float]) -> None:
        self._corners = corners

    def __call__(self, t: float) -> float:
        corners = self._corners
        if t <= corners[0][0]:
            return corners[0][1]
        for (t0, y0), (t1, y1) in pairwise(corners):
            if t <= t1:
                return y0 + (y1 - y0) * (t - t0) / (t1 - t0)
        return corners[-1][1]


class At(Struct, frozen=True):
    """What is read of one GPU in one sweep; `processes` and `migs` in one in which they are listed."""

    joules: float | None = None
    watts: float | None = None
    utilization: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    migs: tuple[MigReading, ...] | None = None

    def slow(self, t: float) -> GpuSlowReading | None:
        if self.processes is None and self.migs is None:
            return None
        slices = None if self.migs is None else 7
        return GpuSlowReading(t, processes=self.processes, mig=self.migs, mig_slices=slices)


def info(index: int) -> GpuInfo:
    return GpuInfo(f"GPU-{index}", index, "Test GPU")


def mig(name: str, slices: int, activity: float | None = None, *, instance: int | None = None) -> MigReading:
    """An instance `MIG-<name>` of so many slices, in a GPU instance of its own or in that of a number."""
    gpm = None if activity is None else GpmReading(0.0, 10.0, sm_active_ratio=activity)
    number = sum(name.encode()) if instance is None else instance
    return MigReading(f"MIG-{name}", number, 0, gpu_slices=slices, compute_slices=slices, gpm=gpm)


def reading(
    t: float,
    joules: float | None = None,
    watts: float | None = None,
    *,
    is_mean: bool = True,
    utilization: float | None = None,
) -> GpuReading:
    return GpuReading(
        t, energy_joules=joules, power_watts=watts, power_is_mean=is_mean, utilization_ratio=utilization
    )


def limit(t: float, watts: float, max_watts: float | None = None) -> GpuSlowReading:
    return GpuSlowReading(t, power_limit_watts=watts, power_limit_max_watts=max_watts)


def counts(
    output: float | None = None,
    *,
    model: str = "llama",
    running: float | None = None,
    born: float | None = None,
) -> EngineCounts:
    """Counts of an engine that was born at monotonic time *born*."""
    start = None if born is None else BOOT_UNIX_SECONDS + born
    return EngineCounts(
        model, output_tokens=output, requests_running=running, process_start_unix_seconds=start
    )


def page(
    workload: str,
    t: float,
    counts: EngineCounts | None = None,
    *,
    gpus: Sequence[str] = ("GPU-0",),
    failure: str = "",
) -> EngineSample:
    """A fetch of an engine's page: what it said, why it did not, or with neither a mere claim on GPUs."""
    return EngineSample(WorkloadInfo(workload), tuple(gpus), t, BOOT_UNIX_SECONDS + t, counts, failure)


def sweep(
    t: float,
    gpus: Mapping[int, At | None],
    *engines: EngineSample,
    generation: int = 1,
    meters: Sequence[MeterSample] = (),
    backend: BackendStatus = UP,
    read_at: float | None = None,
) -> Readings:
    """A sweep that ends at *t* and reads the GPUs at *read_at*, by default then too; None is a lost one."""
    instant = t if read_at is None else read_at
    return Readings(
        monotonic_seconds=t,
        unix_seconds=BOOT_UNIX_SECONDS + t,
        backend=backend,
        generation=generation,
        known=tuple(info(index) for index in gpus),
        gpus=tuple(
            GpuSample(info(index).uuid, "lost")
            if at is None
            else GpuSample(
                info(index).uuid,
                "ok",
                reading(instant, at.joules, at.watts, utilization=at.utilization),
                at.slow(instant),
            )
            for index, at in gpus.items()
        ),
        engines=engines,
        meters=tuple(meters),
    )


def workload_joules(snapshot: Snapshot, workload: str) -> float:
    """All joules that a snapshot shows for a workload."""
    return sum(
        gpu.active_joules + gpu.idle_joules + gpu.loading_joules
        for shown in snapshot.workloads
        if shown.info.workload == workload
        for gpu in shown.energy
    )
