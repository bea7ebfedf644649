"""
Whose joules are they? Workloads, what nobody explains, and what waits, GPU by GPU.

At every instant, for every GPU: workloads + unallocated + unknown + waiting = the board's accepted
joules. How a GPU is divided among several workloads is decided in `split`, one in parts (MIG) in `mig_split`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from perwatt_agent.accounting.gpu_account import GpuAccount, GpuAccountState
from perwatt_agent.accounting.mig_split import Layout, activity, by_slices, layout
from perwatt_agent.accounting.split import Holder, Split, split
from perwatt_agent.accounting.workload_account import WorkloadAccount, WorkloadState
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadSnapshot

# Joules of a workload whose page stays away wait this long before they are given up.
WAIT_SECONDS = 300.0
# A workload that is over is shown for this long.
ENDED_SECONDS = 300.0
# A workload of the run before that nobody tells of is remembered for this long.
REMEMBER_SECONDS = 3600.0


class AttributionState(Struct):
    """What outlives a restart of the agent."""

    gpus: dict[str, GpuAccountState]
    workloads: dict[str, WorkloadState]


class Attribution:
    """Divide the boards' joules. Call `board` for every GPU reading, then `hear`, then `settle`."""

    def __init__(self, state: AttributionState | None = None) -> None:
        state = state or AttributionState({}, {})
        remembered = {uuid: GpuAccount(ledger) for uuid, ledger in state.gpus.items()}
        self._ledgers = defaultdict(GpuAccount, remembered)
        self._remembered = {name: known for name, known in state.workloads.items() if not known.ended}
        self._workloads: dict[str, WorkloadAccount] = {}
        self._layouts: dict[str, Layout | None] = {}
        self._started: float | None = None
        for known in state.workloads.values():
            if known.ended:
                self._bury(known)

    def board(
        self,
        gpu: str,
        accepted_joules: float,
        covered_seconds: float,
        reading: GpuReading,
        slow: GpuSlowReading | None,
        idle_watts: float | None = None,
    ) -> None:
        """
        Add a GPU's accounted energy at the instant of its reading.

        *slow* is its newest slow reading that may still be used, *idle_watts* its idle power if known.
        """
        ledger = self._ledgers[gpu]
        processes = slow.processes if slow else None
        is_used = bool(processes or any(map(activity, (slow.mig if slow else None) or ())))
        ledger.read(
            reading.monotonic_seconds,
            accepted_joules,
            covered_seconds,
            busy=bool(reading.utilization_ratio or is_used),
            split=self._by_slices(gpu, ledger, slow) or self._split(ledger, processes),
            idle_watts=idle_watts or 0.0,
        )
        utilization = reading.utilization_ratio
        ledger.works = is_used if utilization is None else utilization > 0.0

    def is_held(self, gpu: str) -> bool:
        return bool(self._ledgers[gpu].cursors)

    def hear(self, samples: Iterable[EngineSample]) -> None:
        """Take note of engine pages, failed fetches and claims."""
        for sample in samples:
            name = sample.info.workload
            if name not in self._workloads:
                if sample.ended and name not in self._remembered:
                    continue
                self._workloads[name] = WorkloadAccount(sample.info, self._remembered.pop(name, None))
            self._claim(name, () if sample.ended else sample.gpus, sample.monotonic_seconds)
            self._workloads[name].hear(sample)

    def settle(self, now: float) -> None:
        """Hand out all joules that can be, at monotonic time *now*."""
        self._started = now if self._started is None else self._started
        for name, workload in tuple(self._workloads.items()):
            workload.settle(self._held(name), now)
            if workload.ended_at is not None and now - workload.ended_at > ENDED_SECONDS:
                self._bury(self._workloads.pop(name).state)
        if now - self._started > REMEMBER_SECONDS:
            for name in tuple(self._remembered):
                self._bury(self._remembered.pop(name))
        for ledger in self._ledgers.values():
            for name in tuple(ledger.cursors):
                self._release(ledger, name, now, self._started)
            ledger.forget()

    def workloads(self) -> tuple[WorkloadSnapshot, ...]:
        return tuple(workload.snapshot(self._held(name)) for name, workload in self._workloads.items())

    def unattributed(self, gpu: str) -> tuple[float, float]:
        """The GPU's joules so far that are (unallocated, unknown)."""
        ledger = self._ledgers[gpu]
        return ledger.unallocated_joules, ledger.unknown_joules

    def waiting_joules(self, gpu: str) -> float:
        """The GPU's joules that wait for a workload's next page."""
        return self._ledgers[gpu].waiting_joules()

    def state(self) -> AttributionState:
        ledgers = {uuid: state for uuid, ledger in self._ledgers.items() if (state := ledger.state())}
        workloads = {name: workload.state for name, workload in self._workloads.items()}
        return AttributionState(ledgers, self._remembered | workloads)

    def _held(self, name: str) -> Mapping[str, GpuAccount]:
        return {uuid: ledger for uuid, ledger in self._ledgers.items() if name in ledger.cursors}

    def _by_slices(self, gpu: str, ledger: GpuAccount, slow: GpuSlowReading | None) -> Split | None:
        """How the joules of a divided GPU are, where it is known of every holder which part of it it has."""
        if slow is not None:
            self._layouts[gpu] = layout(slow)
        known = self._layouts.get(gpu)
        if known is None or not ledger.cursors:
            return None
        holders: dict[str, list[Holder]] = {}
        for name in ledger.cursors:
            workload = self._workloads.get(name)
            instances = workload.instances(gpu, known) if workload else self._left_with(name, gpu)
            if instances is None:
                return None
            for uuid in instances:
                holder = Holder(name, busy=workload.busy if workload else None)
                holders.setdefault(uuid, []).append(holder)
        parts = (known if slow is not None else known.aged()).parts(holders)
        return by_slices(parts, known.slices, ledger.cursors)

    def _left_with(self, name: str, gpu: str) -> tuple[str, ...] | None:
        """The instances of a GPU that a workload of the run before had."""
        known = self._remembered.get(name)
        return known.migs.get(gpu) if known else None

    def _split(self, ledger: GpuAccount, processes: tuple[GpuProcess, ...] | None) -> Split | None:
        """How the joules since the last reading are divided; None where there is nothing to choose."""
        if len(ledger.cursors) < 2:
            return None
        sm_ratios = _sm_ratios(processes)
        owned: set[int] = set()
        holders = []
        for name in ledger.cursors:
            workload = self._workloads.get(name)
            pids = workload.pids if workload else frozenset()
            owned |= pids
            holders.append(
                Holder(
                    name,
                    sum(sm_ratios.get(pid, 0.0) for pid in pids) if pids and sm_ratios is not None else None,
                    workload.busy if workload else None,
                )
            )
        others = {} if sm_ratios is None else {pid: sm_ratios[pid] for pid in sm_ratios.keys() - owned}
        return split(holders, sum(others.values()))

    def _bury(self, workload: WorkloadState) -> None:
        """Keep of a workload that is over nothing but the sum of its joules, GPU by GPU."""
        for gpu, joules in workload.joules():
            self._ledgers[gpu].ended_joules += joules

    def _claim(self, name: str, gpus: tuple[str, ...], now: float) -> None:
        for uuid in gpus:
            self._ledgers[uuid].join(name)
        # A GPU that was not read in this run yet cannot have been claimed anew.
        left = [
            ledger
            for uuid, ledger in self._held(name).items()
            if uuid not in gpus and ledger.seen_at is not None
        ]
        if left:
            self._workloads[name].settle(self._held(name), now)
        for ledger in left:
            ledger.leave(name)

    def _release(self, ledger: GpuAccount, name: str, now: float, started: float) -> None:
        workload = self._workloads.get(name)
        if workload is None:  # of the run before, and did not claim its GPU again yet
            if ledger.seen_at is not None and now - ledger.seen_at > WAIT_SECONDS:
                ledger.leave(name)
        # Joules of the time before this run wait for the first page, however long ago they were used.
        elif now - max(started, workload.heard_at) > WAIT_SECONDS:
            ledger.give_up(name, now - WAIT_SECONDS)


def _sm_ratios(processes: tuple[GpuProcess, ...] | None) -> dict[int, float] | None:
    """The SM utilisation of each process by its id; None where it is not known of all."""
    known = {one.pid: one.sm_ratio for one in processes or () if one.sm_ratio is not None}
    return known if processes is not None and len(known) == len(processes) else None
