"""
Whose joules are they? Workloads, what nobody explains, and what waits, GPU by GPU.

At every instant, for every GPU: workloads + unallocated + unknown + waiting = the board's accepted
joules. A GPU claimed by several workloads is shared equally among them.
"""

from collections.abc import Iterable

from msgspec import Struct

from perwatt_agent.readings import EngineSample
from perwatt_agent.snapshot import GpuReading, GpuSlowReading, WorkloadSnapshot
from perwatt_agent.track import EnergyTrack, TrackPoint
from perwatt_agent.workload import WorkloadAccount, WorkloadState

# Joules of a workload whose page stays away wait this long before they are given up.
WAIT_SECONDS = 300.0


class GpuShareState(Struct):
    """What outlives a restart for one GPU: up to `settled` every joule has an owner, `last` is the newest."""

    settled: TrackPoint
    last: TrackPoint
    unallocated_joules: float = 0.0
    unknown_joules: float = 0.0


class AttributionState(Struct):
    gpus: dict[str, GpuShareState]
    workloads: dict[str, WorkloadState]


class _Gpu:
    def __init__(self, state: GpuShareState | None) -> None:
        self.track = EnergyTrack((state.settled, state.last) if state else ())
        self.free_until = state.settled.monotonic_seconds if state else 0.0
        self.unallocated_joules = state.unallocated_joules if state else 0.0
        self.unknown_joules = state.unknown_joules if state else 0.0
        self.holders: set[str] = set()

    def give_up(self, since: float, until: float, share: float) -> None:
        """Book a stretch of joules that no workload explains, by whether anything ran on the GPU."""
        used = self.track.at(until).minus(self.track.at(since))
        self.unknown_joules += share * used.busy_joules
        self.unallocated_joules += share * (used.accepted_joules - used.busy_joules)

    def state(self) -> GpuShareState | None:
        last = self.track.last
        if last is None:
            return None
        settled = self.track.at(self.free_until)
        return GpuShareState(settled, last, self.unallocated_joules, self.unknown_joules)


class Attribution:
    """Divide the boards' joules. Call `board` for every GPU reading, then `hear`, then `settle`."""

    def __init__(self, state: AttributionState | None = None) -> None:
        state = state or AttributionState({}, {})
        self._gpus = {uuid: _Gpu(gpu) for uuid, gpu in state.gpus.items()}
        self._remembered = dict(state.workloads)
        self._workloads: dict[str, WorkloadAccount] = {}
        self._started: float | None = None

    def board(
        self,
        gpu: str,
        accepted_joules: float,
        covered_seconds: float,
        reading: GpuReading,
        slow: GpuSlowReading | None,
    ) -> None:
        """Add a GPU's accounted energy at the instant of its reading."""
        busy = bool(reading.utilization_ratio) or bool(slow and slow.compute_processes)
        track = self._gpu(gpu).track
        track.add(reading.monotonic_seconds, accepted_joules, covered_seconds, busy=busy)

    def hear(self, samples: Iterable[EngineSample]) -> None:
        """Take note of engine pages, failed fetches and claims."""
        for sample in samples:
            name = sample.info.workload
            if name not in self._workloads:
                self._workloads[name] = WorkloadAccount(sample.info, self._remembered.pop(name, None))
            workload = self._workloads[name]
            for gpu in sample.gpus:
                if gpu not in workload.shares:
                    self._claim(workload, gpu)
            workload.hear(sample)

    def settle(self, now: float) -> None:
        """Hand out all joules that can be, at monotonic time *now*."""
        self._started = now if self._started is None else self._started
        tracks = {uuid: gpu.track for uuid, gpu in self._gpus.items()}
        for workload in self._workloads.values():
            for unknown in workload.settle(tracks, now):
                self._gpus[unknown.gpu].unknown_joules += unknown.joules
        for uuid, gpu in self._gpus.items():
            if gpu.track.last is not None:
                self._release(uuid, gpu, now)

    def workloads(self) -> tuple[WorkloadSnapshot, ...]:
        return tuple(workload.snapshot() for workload in self._workloads.values())

    def unattributed(self, gpu: str) -> tuple[float, float]:
        """The GPU's joules so far that are (unallocated, unknown)."""
        account = self._gpu(gpu)
        return account.unallocated_joules, account.unknown_joules

    def waiting_joules(self, gpu: str) -> float:
        """The GPU's joules that wait for a workload's next page."""
        account = self._gpu(gpu)
        return sum(
            self._workloads[name].waiting_joules(gpu, account.track) for name in sorted(account.holders)
        )

    def state(self) -> AttributionState:
        gpus = {uuid: state for uuid, gpu in self._gpus.items() if (state := gpu.state()) is not None}
        workloads = {name: workload.state for name, workload in self._workloads.items()}
        return AttributionState(gpus, self._remembered | workloads)

    def _gpu(self, uuid: str) -> _Gpu:
        return self._gpus.setdefault(uuid, _Gpu(None))

    def _claim(self, workload: WorkloadAccount, uuid: str) -> None:
        gpu = self._gpu(uuid)
        gpu.holders.add(workload.info.workload)
        for name in gpu.holders:
            self._workloads[name].claim(uuid, 1.0 / len(gpu.holders), gpu.free_until)

    def _release(self, uuid: str, gpu: _Gpu, now: float) -> None:
        last = gpu.track.at(now).monotonic_seconds
        if not gpu.holders:
            gpu.give_up(gpu.free_until, last, 1.0)
            gpu.free_until = last
            gpu.track.forget(last)
            return
        cursors = [self._release_overdue(uuid, gpu, name, now) for name in sorted(gpu.holders)]
        gpu.free_until = min(cursors)
        gpu.track.forget(gpu.free_until)

    def _release_overdue(self, uuid: str, gpu: _Gpu, name: str, now: float) -> float:
        workload = self._workloads[name]
        cursor = workload.state.cursors[uuid]
        overdue = now - WAIT_SECONDS
        # Joules of the time before this run wait for the first page, however long ago they were used.
        if overdue > max(cursor, self._started or now):
            gpu.give_up(cursor, overdue, workload.shares[uuid])
            workload.release(uuid, overdue)
        return workload.state.cursors[uuid]
