"""
Whose joules are they? Workloads, what nobody explains, and what waits, GPU by GPU.

At every instant, for every GPU: workloads + unallocated + unknown + waiting = the board's accepted
joules. A GPU claimed by several workloads is shared equally among them.
"""

from collections.abc import Iterable

from msgspec import Struct

from perwatt_agent.accounting.ledger import GpuLedger, LedgerState
from perwatt_agent.accounting.workload import WorkloadAccount, WorkloadState
from perwatt_agent.readings import EngineSample
from perwatt_agent.snapshot import GpuReading, GpuSlowReading, WorkloadSnapshot

# Joules of a workload whose page stays away wait this long before they are given up.
WAIT_SECONDS = 300.0


class AttributionState(Struct):
    """What outlives a restart of the agent."""

    gpus: dict[str, LedgerState]
    workloads: dict[str, WorkloadState]


class Attribution:
    """Divide the boards' joules. Call `board` for every GPU reading, then `hear`, then `settle`."""

    def __init__(self, state: AttributionState | None = None) -> None:
        state = state or AttributionState({}, {})
        self._ledgers = {uuid: GpuLedger(ledger) for uuid, ledger in state.gpus.items()}
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
        busy = bool(reading.utilization_ratio) or bool(slow and slow.processes)
        self._ledger(gpu).read(reading.monotonic_seconds, accepted_joules, covered_seconds, busy=busy)

    def hear(self, samples: Iterable[EngineSample]) -> None:
        """Take note of engine pages, failed fetches and claims."""
        for sample in samples:
            name = sample.info.workload
            if name not in self._workloads:
                self._workloads[name] = WorkloadAccount(sample.info, self._remembered.pop(name, None))
            self._claim(name, sample.gpus)
            self._workloads[name].hear(sample)

    def settle(self, now: float) -> None:
        """Hand out all joules that can be, at monotonic time *now*."""
        self._started = now if self._started is None else self._started
        for name, workload in self._workloads.items():
            held = {uuid: ledger for uuid, ledger in self._ledgers.items() if name in ledger.cursors}
            workload.settle(held, now)
        for ledger in self._ledgers.values():
            for name in tuple(ledger.cursors):
                self._release(ledger, name, now, self._started)
            ledger.forget()

    def workloads(self) -> tuple[WorkloadSnapshot, ...]:
        return tuple(workload.snapshot() for workload in self._workloads.values())

    def unattributed(self, gpu: str) -> tuple[float, float]:
        """The GPU's joules so far that are (unallocated, unknown)."""
        ledger = self._ledger(gpu)
        return ledger.unallocated_joules, ledger.unknown_joules

    def waiting_joules(self, gpu: str) -> float:
        """The GPU's joules that wait for a workload's next page."""
        return self._ledger(gpu).waiting_joules()

    def state(self) -> AttributionState:
        ledgers = {uuid: state for uuid, ledger in self._ledgers.items() if (state := ledger.state())}
        workloads = {name: workload.state for name, workload in self._workloads.items()}
        return AttributionState(ledgers, self._remembered | workloads)

    def _ledger(self, uuid: str) -> GpuLedger:
        if uuid not in self._ledgers:
            self._ledgers[uuid] = GpuLedger()
        return self._ledgers[uuid]

    def _claim(self, name: str, gpus: tuple[str, ...]) -> None:
        for uuid in gpus:
            self._ledger(uuid).join(name)
        for uuid, ledger in self._ledgers.items():
            # A GPU that was not read in this run yet cannot have been claimed anew.
            if uuid not in gpus and ledger.seen_at is not None and name in ledger.cursors:
                ledger.leave(name)

    def _release(self, ledger: GpuLedger, name: str, now: float, started: float) -> None:
        workload = self._workloads.get(name)
        if workload is None:  # of the run before, and did not claim its GPU again yet
            if ledger.seen_at is not None and now - ledger.seen_at > WAIT_SECONDS:
                ledger.leave(name)
        # Joules of the time before this run wait for the first page, however long ago they were used.
        elif now - max(started, workload.heard_at) > WAIT_SECONDS:
            ledger.give_up(name, now - WAIT_SECONDS)
