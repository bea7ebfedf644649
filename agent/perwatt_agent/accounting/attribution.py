"""
Attribution of GPU energy: each joule of a board belongs to one workload, or to none.

At every instant, for every GPU: workloads + unallocated + unknown + waiting = the board's accepted joules.
`split` divides a GPU among several workloads, `mig_split` one that is divided into MIG instances.
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

# Joules of a workload wait this long for its next page; then they become unknown or unallocated.
WAIT_SECONDS = 300.0
# A workload that has ended is published for this long.
ENDED_SECONDS = 300.0
# A workload from the previous run of the agent, of which no sample comes, is remembered for this long.
REMEMBER_SECONDS = 3600.0


class AttributionState(Struct):
    """Attribution that survives a restart of the agent."""

    gpus: dict[str, GpuAccountState]
    workloads: dict[str, WorkloadState]


class Attribution:
    """Owners of the boards' joules. Each cycle calls `add_reading` per GPU, `receive`, then `attribute`."""

    def __init__(self, state: AttributionState | None = None) -> None:
        state = state or AttributionState({}, {})
        remembered = {uuid: GpuAccount(account) for uuid, account in state.gpus.items()}
        self._accounts = defaultdict(GpuAccount, remembered)
        self._remembered = {
            name: workload for name, workload in state.workloads.items() if not workload.ended
        }
        self._workloads: dict[str, WorkloadAccount] = {}
        self._layouts: dict[str, Layout | None] = {}
        self._started: float | None = None
        for workload in state.workloads.values():
            if workload.ended:
                self._retire(workload)

    def add_reading(
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

        *slow* is its newest slow reading that is still valid, *idle_watts* its idle power if known.
        """
        account = self._accounts[gpu]
        processes = slow.processes if slow else None
        is_used = any(one.is_work for one in processes or ()) or any(
            map(activity, (slow.mig if slow else None) or ())
        )
        account.read(
            reading.monotonic_seconds,
            accepted_joules,
            covered_seconds,
            busy=bool(reading.utilization_ratio or is_used),
            split=self._by_slices(gpu, account, slow) or self._split(account, processes),
            idle_watts=idle_watts or 0.0,
        )
        utilization = reading.utilization_ratio
        account.is_working = is_used if utilization is None else utilization > 0.0

    def set_sensor(self, gpu: str, *, has_no_sensor: bool) -> None:
        """Set whether a GPU answers with neither energy nor power; a holder waits for no joules of it."""
        self._accounts[gpu].has_no_sensor = has_no_sensor

    def is_held(self, gpu: str) -> bool:
        return bool(self._accounts[gpu].cursors)

    def receive(self, samples: Iterable[EngineSample]) -> None:
        """Take engine pages, failed fetches and claims on GPUs."""
        for sample in samples:
            name = sample.info.workload
            if name not in self._workloads:
                if sample.ended and name not in self._remembered:
                    continue
                self._workloads[name] = WorkloadAccount(sample.info, self._remembered.pop(name, None))
            self._claim(name, () if sample.ended else sample.gpus, sample.monotonic_seconds)
            self._workloads[name].receive(sample)

    def attribute(self, now: float) -> None:
        """Attribute all joules whose owner is known at monotonic time *now*."""
        self._started = now if self._started is None else self._started
        for name, workload in tuple(self._workloads.items()):
            workload.attribute(self._held(name), now)
            if workload.ended_at is not None and now - workload.ended_at > ENDED_SECONDS:
                self._retire(self._workloads.pop(name).state)
        if now - self._started > REMEMBER_SECONDS:
            for name in tuple(self._remembered):
                self._retire(self._remembered.pop(name))
        for account in self._accounts.values():
            for name in tuple(account.cursors):
                self._release(account, name, now, self._started)
            account.forget()

    def workloads(self) -> tuple[WorkloadSnapshot, ...]:
        return tuple(workload.snapshot(self._held(name)) for name, workload in self._workloads.items())

    def unattributed(self, gpu: str) -> tuple[float, float]:
        """Return the GPU's joules so far that are (unallocated, unknown)."""
        account = self._accounts[gpu]
        return account.unallocated_joules, account.unknown_joules

    def waiting_joules(self, gpu: str) -> float:
        """Return the GPU's joules that wait for a workload's next page."""
        return self._accounts[gpu].waiting_joules()

    def state(self) -> AttributionState:
        accounts = {uuid: state for uuid, account in self._accounts.items() if (state := account.state())}
        workloads = {name: workload.state for name, workload in self._workloads.items()}
        return AttributionState(accounts, self._remembered | workloads)

    def _held(self, name: str) -> Mapping[str, GpuAccount]:
        return {uuid: account for uuid, account in self._accounts.items() if name in account.cursors}

    def _by_slices(self, gpu: str, account: GpuAccount, slow: GpuSlowReading | None) -> Split | None:
        """Return how to divide a GPU with MIG; None unless the instances of every holder are known."""
        if slow is not None:
            self._layouts[gpu] = layout(slow)
        current = self._layouts.get(gpu)
        if current is None or not account.cursors:
            return None
        holders: dict[str, list[Holder]] = {}
        for name in account.cursors:
            workload = self._workloads.get(name)
            instances = (
                workload.instances(gpu, current) if workload else self._remembered_instances(name, gpu)
            )
            if instances is None:
                return None
            for uuid in instances:
                holder = Holder(name, busy=workload.busy if workload else None)
                holders.setdefault(uuid, []).append(holder)
        parts = (current if slow is not None else current.aged()).parts(holders)
        return by_slices(parts, current.slices, account.cursors)

    def _remembered_instances(self, name: str, gpu: str) -> tuple[str, ...] | None:
        """Return the instances of a GPU that a workload had in the previous run of the agent."""
        remembered = self._remembered.get(name)
        return remembered.migs.get(gpu) if remembered else None

    def _split(self, account: GpuAccount, processes: tuple[GpuProcess, ...] | None) -> Split | None:
        """Return how to divide the joules since the last reading; None with fewer than two holders."""
        if len(account.cursors) < 2:
            return None
        sm_ratios = _sm_ratios(processes)
        owned: set[int] = set()
        holders = []
        for name in account.cursors:
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

    def _retire(self, workload: WorkloadState) -> None:
        """Drop an ended workload; each GPU keeps the sum of its joules."""
        for gpu, joules in workload.joules():
            self._accounts[gpu].ended_joules += joules

    def _claim(self, name: str, gpus: tuple[str, ...], now: float) -> None:
        for uuid in gpus:
            self._accounts[uuid].join(name)
        # A GPU that was not yet read in this run cannot have a new claim.
        left = [
            account
            for uuid, account in self._held(name).items()
            if uuid not in gpus and account.first_read_at is not None
        ]
        if left:
            self._workloads[name].attribute(self._held(name), now)
        for account in left:
            account.leave(name)

    def _release(self, account: GpuAccount, name: str, now: float, started: float) -> None:
        workload = self._workloads.get(name)
        if workload is None:  # from the previous run; it has not claimed its GPU again
            if account.first_read_at is not None and now - account.first_read_at > WAIT_SECONDS:
                account.leave(name)
        # Joules from before this run wait for the first page, no matter how old they are.
        elif now - max(started, workload.last_page_at) > WAIT_SECONDS:
            account.write_off(name, now - WAIT_SECONDS)


def _sm_ratios(processes: tuple[GpuProcess, ...] | None) -> dict[int, float] | None:
    """Return the SM utilisation of each process by its id; None unless it is known for all of them."""
    ratios = {one.pid: one.sm_ratio for one in processes or () if one.sm_ratio is not None}
    return ratios if processes is not None and len(ratios) == len(processes) else None
