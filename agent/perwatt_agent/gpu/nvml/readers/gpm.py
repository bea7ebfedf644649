"""
GPU performance monitoring (GPM; Hopper and newer): metrics from two samples, some seconds apart.

One request is reused, through the binding's own function pointer: its struct has space for hundreds of
metrics.
"""

import ctypes
import math
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pynvml
from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.gpu.nvml.driver.calls import Facts, GpuCalls
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, Meaning, describe

# Samples closer than 100 ms give nothing, and the first window should come soon. A window of five seconds
# covers five times as much between two scrapes as one of a second, and costs a fifth.
FIRST_WINDOW_SECONDS = 0.9
WINDOW_SECONDS = 4.9
MAX_WINDOW_SECONDS = 600.0  # an older sample says nothing about now

_MIB = 1024 * 1024
_OVERSHOOT = 1.01


def _ratio(percent: float) -> float | None:
    ratio = percent / 100
    return min(ratio, 1.0) if 0.0 <= ratio <= _OVERSHOOT else None


def _rate(mebibytes: float) -> float | None:
    return mebibytes * _MIB if 0.0 <= mebibytes < math.inf else None


def _cycles(number: float) -> float | None:
    return number if 0.0 <= number < math.inf else None


class Metric(Struct, frozen=True):
    """One GPM metric: the fact that it gives, and its conversion to base units; NaN becomes None."""

    fact: str
    convert: Callable[[float], float | None]


# nvmlGpmMetricId_t never renumbered.
_RATES: dict[int, Metric] = {
    2: Metric("sm_active_ratio", _ratio),
    3: Metric("sm_occupancy_ratio", _ratio),
    5: Metric("tensor_active_ratio", _ratio),
    10: Metric("dram_bandwidth_ratio", _ratio),
    11: Metric("fp64_active_ratio", _ratio),
    12: Metric("fp32_active_ratio", _ratio),
    13: Metric("fp16_active_ratio", _ratio),
    20: Metric("pcie_transmitted_bytes_per_second", _rate),
    21: Metric("pcie_received_bytes_per_second", _rate),
    60: Metric("nvlink_received_bytes_per_second", _rate),
    61: Metric("nvlink_transmitted_bytes_per_second", _rate),
}
_CYCLES: dict[int, Metric] = {
    248: Metric("elapsed", _cycles),
    249: Metric("active", _cycles),
    250: Metric("tensor", _cycles),
    258: Metric("fp64", _cycles),
    259: Metric("fp32", _cycles),
    260: Metric("fp16", _cycles),
}
_CYCLES_SINCE_DRIVER = (595,)

# nvmlGpmMetric_t: id, return code, value, three names.
_ENTRY = struct.Struct("=IidQQQ")


def metrics(driver: tuple[int, ...]) -> dict[int, Metric]:
    """The metrics that a driver supports."""
    return _RATES | _CYCLES if driver >= _CYCLES_SINCE_DRIVER else dict(_RATES)


class GpmRequest:
    """One call for the metrics between two samples."""

    def __init__(self, metrics: Mapping[int, Metric]) -> None:
        self._metrics = metrics
        self._request = pynvml.c_nvmlGpmMetricsGet_t()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._offset = pynvml.c_nvmlGpmMetricsGet_t.metrics.offset
        self._listed: list[int] = []

    def between(self, first: Any, last: Any, refused: set[int]) -> tuple[Facts, dict[str, float]]:
        """
        Rates between the samples, and cycles up to the last one, without the metrics *refused* before.

        Those that are refused now are added. Raises NVMLError.
        """
        self._list([id_ for id_ in self._metrics if id_ not in refused])
        self._request.sample1, self._request.sample2 = first, last
        call = pynvml._nvmlGetFunctionPointer("nvmlGpmMetricsGet")
        pynvml._nvmlCheckReturn(call(ctypes.byref(self._request)))
        rates: Facts = {}
        cycles: dict[str, float] = {}
        for place in range(len(self._listed)):
            id_, code, value, *_ = _ENTRY.unpack_from(self._request, self._offset + place * _ENTRY.size)
            if code != SUCCESS:
                refused |= {id_} if describe(code).meaning is Meaning.ABSENT else set()
            elif (amount := self._metrics[id_].convert(value)) is not None:
                (cycles if id_ in _CYCLES else rates)[self._metrics[id_].fact] = amount
        return rates, cycles

    def _list(self, ids: list[int]) -> None:
        if ids == self._listed:
            return
        self._listed = ids
        self._request.numMetrics = len(ids)
        for entry, id_ in zip(self._request.metrics, ids, strict=False):
            entry.metricId = id_


class GpmPair:
    """
    The two newest samples of one GPU or one GPU instance, and the `reading` that they give; None before.

    A metric that it refuses is not requested again until *calls* are reset. Free the samples before the
    library is shut down.
    """

    def __init__(self, request: GpmRequest, clock: Clock, calls: GpuCalls) -> None:
        self._request = request
        self._clock = clock
        self._calls = calls
        self._resets = calls.resets
        self._refused: set[int] = set()
        self._last: Any = None
        self._spare: Any = None
        self._taken_at = -math.inf
        self.reading: GpmReading | None = None

    def read(self, take: Callable[[Any], object]) -> GpmReading | None:
        """
        The metrics since the sample before, or the reading of up to WINDOW_SECONDS ago; None for the first
        sample.

        `take` fills a sample. Raises NVMLError.
        """
        now = self._clock.monotonic()
        if not self.is_due(now):
            return self.reading
        window = now - self._taken_at
        self.reading = None
        if self._spare is None:
            self._spare = pynvml.nvmlGpmSampleAlloc()
        take(self._spare)
        first, self._last, self._spare = self._last, self._spare, self._last
        self._taken_at = now
        if first is not None and window <= MAX_WINDOW_SECONDS:
            if self._resets != self._calls.resets:
                self._resets = self._calls.resets
                self._refused.clear()
            rates, cycles = self._request.between(first, self._last, self._refused)
            self.reading = GpmReading(now, window, cycles=cycles, **rates)
        return self.reading

    def is_due(self, now: float) -> bool:
        """Whether another sample is to be taken."""
        seconds = FIRST_WINDOW_SECONDS if self.reading is None else WINDOW_SECONDS
        return now - self._taken_at >= seconds

    def reset(self) -> None:
        """Treat the next sample as a first one."""
        self._taken_at, self.reading = -math.inf, None

    def free(self) -> None:
        for sample in (self._last, self._spare):
            if sample is not None:
                with suppress(pynvml.NVMLError):
                    pynvml.nvmlGpmSampleFree(sample)
        self._last = self._spare = None
        self.reset()


class GpmReader:
    """Reads the metrics of a whole GPU, while GPM may be used."""

    def __init__(self, calls: GpuCalls, context: Context, driver: tuple[int, ...]) -> None:
        self._calls = calls
        self._context = context
        self._supported = False
        self._pair = GpmPair(GpmRequest(metrics(driver)), context.clock, calls)

    def read(self, handle: Any, now: float) -> Facts:
        """The metrics of the newest two samples. Whether GPM may be used is checked when a sample is due."""
        return self._sample(handle) if self._pair.is_due(now) else {"gpm": self._pair.reading}

    def _sample(self, handle: Any) -> Facts:
        if not self._context.may_use_gpm():
            self._pair.reset()
            return {}
        return self._calls.first(handle, self.performance_monitor)

    def performance_monitor(self, handle: Any) -> Facts:
        """One sample; raises NVMLError where the GPU has no GPM, or does not permit it to this process."""
        if not self._supported:
            self._supported = bool(pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)
        if not self._supported:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return {"gpm": self._pair.read(lambda sample: pynvml.nvmlGpmSampleGet(handle, sample))}

    def free(self) -> None:
        self._pair.free()
