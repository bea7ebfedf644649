"""Compute processes of a GPU, with their memory and SM utilization."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pynvml
from msgspec.structs import replace

from perwatt_agent.facts.gpu_process import GpuProcess, ProcessUse
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Facts
from perwatt_agent.gpu.nvml.driver.errors import NOT_FOUND, SUCCESS
from perwatt_agent.gpu.nvml.driver.process_list import COMPUTE, GRAPHICS, processes_of

N = TypeVar("N", int, float)


Place = tuple[int, int]
"""A MIG instance by the numbers of its GPU instance and its compute instance."""


class ComputeProcesses:
    """The processes that compute on GPUs of one *driver*, by its version in numbers."""

    def __init__(self, driver: tuple[int, ...]) -> None:
        self._driver = driver

    def compute_processes(self, handle: Any) -> Facts:
        return {"processes": self.running(handle, {})}

    def running(self, handle: Any, migs: Mapping[Place, str]) -> tuple[GpuProcess, ...]:
        """The compute processes, each with its instance out of *migs*. Raises NVMLError."""
        return tuple(
            GpuProcess(
                one.pid,
                one.memory_bytes,
                mig=migs.get((one.gpu_instance, one.compute_instance), ""),
            )
            for one in processes_of(handle, COMPUTE, self._driver)
        )


class GraphicsProcesses:
    """
    Which of the compute processes on one GPU draw too.

    The list of graphics processes takes the driver milliseconds, so it is read only for a new process.
    """

    def __init__(self, driver: tuple[int, ...]) -> None:
        self._driver = driver
        self._draws: dict[int, bool] = {}

    def is_needed(self, processes: Sequence[GpuProcess]) -> bool:
        """Forget the processes that have gone, and return whether there is a new one."""
        self._draws = {one.pid: self._draws[one.pid] for one in processes if one.pid in self._draws}
        return len(self._draws) < len({one.pid for one in processes})

    def graphics_processes(self, handle: Any) -> Facts:
        """`graphics`: the ids in the list of graphics processes. Raises NVMLError."""
        return {"graphics": frozenset(one.pid for one in processes_of(handle, GRAPHICS, self._driver))}

    def marked(self, processes: Sequence[GpuProcess], found: Facts) -> tuple[GpuProcess, ...]:
        """Mark the processes that draw; *found* has the list if it was read now."""
        if "graphics" in found:
            self._draws = {one.pid: one.pid in found["graphics"] for one in processes}
        return tuple(replace(one, draws=self._draws.get(one.pid, False)) for one in processes)


class ProcessLoad:
    """
    The SM utilization of each process on one GPU since the read before; at first, of the recent past.

    The driver keeps recent samples, stamped with its own time. Only samples newer than the newest known one
    are requested: the request for all of them gives a mean over whatever the driver still holds.
    """

    def __init__(self) -> None:
        self._seen_microseconds = 0

    def process_utilization(self, handle: Any) -> Facts:
        """
        `sm_ratios`: the ratio of each process that computed, by its id; None where it is no valid number.

        Raises NVMLError where the GPU does not support it, as with MIG.
        """
        return {"sm_ratios": self._newest(_samples(handle, self._seen_microseconds))}

    def _newest(self, samples: Sequence[Any]) -> dict[int, float | None]:
        newest: dict[int, Any] = {}
        for sample in samples:
            # A buffer longer than its samples is filled up with old ones and with zeros.
            if sample.timeStamp <= self._seen_microseconds:
                continue
            known = newest.get(sample.pid)
            if known is None or sample.timeStamp > known.timeStamp:
                newest[sample.pid] = sample
        if newest:
            self._seen_microseconds = max(int(sample.timeStamp) for sample in newest.values())
        return {int(pid): values.ratio(int(sample.smUtil)) for pid, sample in newest.items()}


def with_load(processes: Sequence[GpuProcess], sm_ratios: dict[int, float | None]) -> tuple[GpuProcess, ...]:
    """Give each process its SM utilization; a process without a sample computed nothing."""
    return tuple(replace(process, sm_ratio=sm_ratios.get(process.pid, 0.0)) for process in processes)


def heaviest(processes: Sequence[GpuProcess], count: int) -> tuple[ProcessUse, ...]:
    """The *count* processes with the most memory, and all others as one."""
    ranked = sorted(processes, key=lambda process: (-(process.memory_bytes or 0), process.pid))
    uses = [ProcessUse(process.pid, process.memory_bytes, process.sm_ratio) for process in ranked[:count]]
    if others := ranked[count:]:
        memory = _sum([process.memory_bytes for process in others])
        uses.append(ProcessUse(None, memory, _sum([process.sm_ratio for process in others])))
    return tuple(uses)


def _sum(amounts: Sequence[N | None]) -> N | None:
    """The sum; None where an amount is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known[1:], known[0]) if len(known) == len(amounts) else None


def _samples(handle: Any, seen_microseconds: int) -> Sequence[Any]:
    try:
        return list(pynvml.nvmlDeviceGetProcessUtilization(handle, seen_microseconds))
    except pynvml.NVMLError as error:
        # Nothing computed since then. The binding raises SUCCESS too, when there is nothing to fetch.
        if int(error.value) in (NOT_FOUND, SUCCESS):
            return ()
        raise
