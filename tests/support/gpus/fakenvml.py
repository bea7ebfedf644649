"""
A fake NVIDIA driver under the unmodified nvidia-ml-py, controlled from Python.

    driver = FakeDriver.create(tmp_path, gpus=8, architecture="hopper").install()
    driver.set_waveform(0, Square(90, 650, period_seconds=0.1, duty=0.33))
    driver.advance(60.0)
    driver.exact_energy_joules(0, 0.0, 60.0)

Time is in seconds of driver time, which starts at 0. The control file is shared: a subprocess that runs with
`driver.environment()` sees every change at once, and its calls are counted here.
"""

import ctypes
import mmap
import os
import tempfile
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import pynvml
from fakenvml.boards import AT_FIRST, put_boards, write_segment
from fakenvml.build import library
from fakenvml.layout import (
    ANY_GPU,
    MAGIC,
    MAX_EVENTS,
    MAX_FAULTS,
    MAX_GPUS,
    MAX_SEGMENTS,
    Control,
    Fault,
    Mig,
    assign,
)
from fakenvml.waveforms import Constant, Ramp, Sine, Square, Track, Waveform

from support.gpus import futex

__all__ = ["Constant", "FakeDriver", "Injection", "Ramp", "Sine", "Square", "Waveform"]

FOREVER = -1
SUCCESS = 0
GPU_IS_LOST = 15


class Injection:
    """Something injected into the driver; `release` takes it out again and lets hanging calls return."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def release(self) -> None:
        self._fault.active = 0

    @property
    def hanging(self) -> int:
        """How many threads hang in it at this moment."""
        return int(self._fault.hanging)

    def wait_until_hanging(self, timeout_seconds: float = 30.0) -> None:
        """Block until a thread hangs in it; raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while not self.hanging:
            if time.monotonic() > deadline:
                raise TimeoutError("no thread entered the hanging call")
            time.sleep(0.001)


class FakeDriver:
    """
    One fake driver with `gpus` boards of one architecture (a key of PROFILES); make it with `create`.

    Its clock stands still until `advance`, or runs in real time. `gpu=None` means every GPU. Close it, or use
    it as a context manager: that releases all hangs and gives pynvml its own library back.
    """

    def __init__(self, path: Path, control: Control) -> None:
        self._path = path
        self._control = control
        self._tracks = [Track() for _ in range(MAX_GPUS)]
        self._installed = False

    @classmethod
    def create(
        cls, folder: Path, *, gpus: int = 8, architecture: str = "hopper", real_time: bool = False
    ) -> "FakeDriver":
        """A driver whose control file lies in `folder`; every GPU draws a constant 100 W, GPU 0 .. n-1."""
        with tempfile.NamedTemporaryFile(dir=folder, prefix="fakenvml-", delete=False) as file:
            file.truncate(ctypes.sizeof(Control))
            control = Control.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Control)))
        driver = cls(Path(file.name), control)
        control.generation = 1
        control.manual_time = not real_time
        control.epoch_seconds = time.monotonic()
        control.driver_version = b"580.95.05"
        control.nvml_version = b"13.580.95.05"
        control.cuda_version = 13000
        put_boards(control.gpus, architecture)
        for track in driver._tracks:
            track.append(0.0, AT_FIRST)
        driver.set_gpu_count(gpus)
        control.magic = MAGIC  # last: only now may a process use the file
        return driver

    # Time

    @property
    def now(self) -> float:
        if self._control.manual_time:
            return float(self._control.now_seconds)
        return time.monotonic() - float(self._control.epoch_seconds)

    def advance(self, seconds: float) -> None:
        """Move the driver's clock; only when it is driven by hand."""
        if not self._control.manual_time:
            raise RuntimeError("this driver runs in real time")
        self._control.now_seconds += seconds

    # What the GPUs draw and show

    def set_waveform(self, gpu: int, waveform: Waveform, at_seconds: float | None = None) -> None:
        """From now, or a later instant, on draw `waveform`, whose own time starts then."""
        track = self._tracks[gpu]
        track.append(self.now if at_seconds is None and track.segments else at_seconds or 0.0, waveform)
        count = len(track.segments)
        if count > MAX_SEGMENTS:
            raise ValueError(f"a GPU has at most {MAX_SEGMENTS} waveforms")
        start, waveform = track.segments[-1]
        write_segment(self._control.gpus[gpu], count, start, waveform)

    def set_steps(self, gpu: int, steps: list[tuple[float, float]]) -> None:
        """Draw a list of (seconds from now, watts), each held until the next."""
        now = self.now
        for seconds, watts in steps:
            self.set_waveform(gpu, Constant(watts), at_seconds=now + seconds)

    def exact_energy_joules(self, gpu: int, begin_seconds: float, end_seconds: float) -> float:
        """What the GPU drew between two instants: the exact integral of its waveforms."""
        return self._tracks[gpu].joules(begin_seconds, end_seconds)

    def set(self, gpu: int | None = None, **values: Any) -> None:
        """Set facts by their names in control.h, such as `utilization_percent` or `clock_mhz`."""
        for index in self._each(gpu):
            assign(self._control.gpus[index], **values)

    def get(self, gpu: int, name: str) -> Any:
        value = getattr(self._control.gpus[gpu], name)
        return value.decode() if isinstance(value, bytes) else value

    def mig(self, gpu: int, slot: int) -> Mig:
        """The shared facts of one MIG slot."""
        slots: Sequence[Mig] = self._control.gpus[gpu].mig
        return slots[slot]

    @property
    def gpm_samples(self) -> dict[str, int]:
        """Samples that were made and not freed, freed too late, and mixed up between instances."""
        control = self._control
        return {
            "held": control.gpm_samples,
            "late": control.dead_samples_freed,
            "mixed": control.mixed_samples,
        }

    def set_driver_version(self, version: str) -> None:
        self._control.driver_version = version.encode()

    def set_process_entry_bytes(self, size: int) -> None:
        """Fill entries of 24 or 32 bytes in lists of processes, whatever the driver's version."""
        self._control.process_entry_bytes = size

    def uuid(self, gpu: int) -> str:
        return str(self.get(gpu, "uuid"))

    def set_processes(
        self,
        gpu: int,
        processes: list[tuple[int, int]],
        sm_percent: Sequence[int] = (),
        *,
        drawing: Container[int] = (),
    ) -> None:
        """
        The compute processes of a GPU as (pid, bytes), and the SM utilisation of each, by default none.

        Those in *drawing* draw to a screen too.
        """
        pids, sizes = [pid for pid, _ in processes], [size for _, size in processes]
        load = [*sm_percent, *[0] * (len(processes) - len(sm_percent))]
        self.set(
            gpu,
            process_pid=pids,
            process_bytes=sizes,
            process_sm_percent=load,
            process_slot=[0] * len(processes),
            process_draws=[int(pid in drawing) for pid in pids],
            process_count=len(processes),
        )

    def set_gpu_count(self, gpus: int) -> None:
        if not 0 <= gpus <= MAX_GPUS:
            raise ValueError(f"a fake driver has 0 to {MAX_GPUS} GPUs")
        self._control.gpu_count = gpus

    # What the energy counter does wrong

    def shift_energy(self, gpu: int, joules: float) -> None:
        """Let the counter leap (or, negative, fall) once and stay there."""
        self._control.gpus[gpu].energy_offset_joules += joules

    def glitch_energy(self, gpu: int, joules: float, reads: int = 1) -> None:
        """Let the counter be off for the next reads only."""
        self.set(gpu, energy_glitch_joules=joules, energy_glitch_reads=reads)

    def reset_energy(self, gpu: int | None = None) -> None:
        """Let the counter start again at 0."""
        self.set(gpu, energy_zero_seconds=self.now, energy_offset_joules=0.0, energy_glitch_reads=0)

    # What the driver does wrong

    def fail(self, function: str, gpu: int | None = None, code: int = 999, times: int = FOREVER) -> Injection:
        """
        Let an entry point return `code`, `times` times or for ever.

        The name is the symbol's ("nvmlInitWithFlags", "nvmlDeviceGetMemoryInfo_v2"), "*" for all calls on one
        GPU, "field:83" for one field of every batch, or "gpm:2" for one metric of the performance monitor.
        """
        return self._inject(function, gpu, code=code, remaining=times)

    def hang(self, function: str, gpu: int | None = None) -> Injection:
        """Let an entry point never return until it is released."""
        return self._inject(function, gpu, hang=1, remaining=FOREVER)

    def latency(self, function: str, seconds: float, gpu: int | None = None) -> Injection:
        """Let an entry point take real time."""
        return self._inject(function, gpu, latency_seconds=seconds, remaining=FOREVER)

    def lose(self, gpu: int) -> Injection:
        """Let a GPU fall off the bus."""
        return self.fail("*", gpu, GPU_IS_LOST)

    def release(self) -> None:
        """Take out everything that was injected."""
        for fault in self._control.faults:
            fault.active = 0

    def xid(self, gpu: int, code: int) -> None:
        """Let a GPU tell of an XID error; who is not listening yet does not hear of it."""
        count = self._control.event_count
        event = self._control.events[count % MAX_EVENTS]
        event.xid, event.gpu = code, gpu
        self._control.event_count = count + 1
        self._wake_listeners()

    def _wake_listeners(self) -> None:
        self._control.news += 1
        futex.wake(ctypes.addressof(self._control) + Control.news.offset)

    @property
    def event_sets(self) -> int:
        """How many event sets were made since the driver was loaded, and not freed."""
        return int(self._control.event_sets)

    @property
    def dead_sets_freed(self) -> int:
        """How many event sets were freed after their generation was over: a real driver may crash."""
        return int(self._control.dead_sets_freed)

    def reload_driver(self) -> None:
        """Unload and load the driver: every process must start again, every counter is at 0."""
        self.reset_energy()
        self._control.generation += 1
        self._control.gpm_samples = self._control.event_sets = 0
        self._wake_listeners()

    # How it is used

    def calls(self, function: str | None = None, gpu: int | None = None) -> int:
        """How often an entry point (default: any) was called, or a field read, for one GPU or in all."""
        if function is not None:
            return self._counts(gpu).get(function, 0)
        return sum(self.calls_by_function(gpu).values())

    def calls_by_function(self, gpu: int | None = None) -> dict[str, int]:
        """The entry points that were called; fields are read within calls, so they are none."""
        counts = self._counts(gpu).items()
        return {name: count for name, count in counts if count and ":" not in name}

    def environment(self) -> dict[str, str]:
        """This process's environment, changed so that a subprocess loads the fake driver."""
        return {**os.environ, "LD_LIBRARY_PATH": str(library().parent), "FAKENVML_CONTROL": str(self._path)}

    def install(self) -> "FakeDriver":
        """Put the fake under pynvml in this very process."""
        loaded = ctypes.CDLL(str(library()))
        if loaded.fakenvml_attach(str(self._path).encode()) != 0:
            raise RuntimeError("the fake library cannot use this control file")
        _put_under_pynvml(loaded)
        self._installed = True
        return self

    def close(self) -> None:
        self.release()
        if self._installed:
            _put_under_pynvml(None)
            self._installed = False

    def __enter__(self) -> "FakeDriver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _each(self, gpu: int | None) -> range:
        return range(MAX_GPUS) if gpu is None else range(gpu, gpu + 1)

    def _counts(self, gpu: int | None) -> dict[str, int]:
        functions = self._control.functions[: self._control.function_count]
        return {row.name.decode(): sum(row.calls) if gpu is None else row.calls[gpu] for row in functions}

    def _inject(self, function: str, gpu: int | None, **what: Any) -> Injection:
        index = self._free_fault()
        fault = self._control.faults[index]
        ctypes.memset(ctypes.byref(fault), 0, ctypes.sizeof(fault))
        fault.function = function.encode()
        fault.gpu = ANY_GPU if gpu is None else gpu
        for name, value in what.items():
            setattr(fault, name, value)
        fault.active = 1
        self._control.fault_count = max(self._control.fault_count, index + 1)
        return Injection(fault)

    def _free_fault(self) -> int:
        for index, fault in enumerate(self._control.faults):
            if not fault.active and not fault.hanging:
                return index
        raise RuntimeError(f"more than {MAX_FAULTS} injections at once")


def _put_under_pynvml(loaded: ctypes.CDLL | None) -> None:
    """The binding keeps its library and its functions in module variables; these are the two."""
    pynvml.nvmlLib = loaded
    pynvml._nvmlGetFunctionPointer_cache.clear()
