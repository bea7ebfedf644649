"""Recent history of one GPU, from which its health is evaluated."""

from collections.abc import Iterable

from msgspec import Struct

from perwatt_agent.diagnosis.counter_growth import CounterGrowth
from perwatt_agent.diagnosis.thermal import ThermalTrend
from perwatt_agent.diagnosis.xids import XidClass, XidCounter, meaning_of
from perwatt_agent.facts.gpu import GpuSnapshot, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.health import XidCount
from perwatt_agent.facts.workload import WorkloadSnapshot

HOUR = 3600.0
XID_SECONDS: dict[XidClass, float] = {"fatal": 24 * HOUR, "warning": HOUR, "application": 600.0}
"""How long an XID error counts against a GPU, unless the GPU was lost and came back since."""
NO_XIDS = dict.fromkeys(XID_SECONDS, 0)
POWER_BRAKE_SECONDS = 300.0
NVLINK_SECONDS = 600.0
LOAD_RATIO = 0.1
FULL_RATIO = 0.99


class Symptoms(Struct, frozen=True):
    """
    Inputs of the health rules: the state of a GPU now, and its recent history.

    `seconds_unread` is how long no reading has succeeded although the GPU is present. `xids` counts recent
    XID errors by class. ECC errors are of the last hour, NVLink errors of the last ten minutes.
    `seconds_without_tokens` is how long the GPU was fully busy without a token; 0 if that is unknown.
    """

    state: GpuState
    slow: GpuSlowReading | None
    backend_up: bool
    seconds_unread: float
    seconds_failing: float
    xids: dict[XidClass, int]
    ecc_uncorrectable: float
    ecc_correctable_steps: int
    nvlink_errors: float
    power_brake_seconds: float
    seconds_link_reduced: float
    thermal_shrunk_celsius: float
    seconds_without_tokens: float


class GpuHistory:
    """History of one GPU; times are monotonic seconds."""

    def __init__(self) -> None:
        self._tally = XidCounter()
        self._xids: list[tuple[float, XidClass]] = []
        self._away = False
        self._unread = _Duration()
        self._failing = _Duration()
        self._link_reduced = _Duration()
        self._without_tokens = _Duration()
        self._tokens: dict[str, tuple[float, float]] | None = None
        self._ecc_uncorrectable = CounterGrowth(HOUR)
        self._ecc_correctable = CounterGrowth(HOUR)
        self._nvlink_errors = CounterGrowth(NVLINK_SECONDS)
        self._power_brake = CounterGrowth(POWER_BRAKE_SECONDS)
        self._thermal = ThermalTrend()
        self._has_margin = False
        self._slow_at = -1.0

    def xids(self) -> tuple[XidCount, ...]:
        return self._tally.counts

    def add_xid(self, code: int, now: float, unix_seconds: float) -> None:
        """Add an XID error."""
        self._tally.add(code, unix_seconds)
        self._xids = [*self._xids[-63:], (now, meaning_of(code).kind)]

    def add(
        self, gpu: GpuSnapshot, now: float, workloads: Iterable[WorkloadSnapshot], *, backend_up: bool
    ) -> Symptoms:
        """Add the GPU's snapshot, and return its symptoms."""
        self._add_absence(gpu, backend_up=backend_up)
        seconds_unread = self._unread.add(now, holds=gpu.state == "error")
        if gpu.reading is not None:
            self._add_reading(gpu.reading, gpu.slow, now)
        if gpu.slow is not None and gpu.slow.monotonic_seconds != self._slow_at:
            self._slow_at = gpu.slow.monotonic_seconds
            self._add_slow(gpu.slow, now)
            self._add_margin(gpu, gpu.slow, now)
        seconds_without_tokens = self._without_tokens.add(now, holds=self._is_without_tokens(gpu, workloads))
        return Symptoms(
            state=gpu.state,
            slow=gpu.slow,
            backend_up=backend_up,
            seconds_unread=seconds_unread,
            seconds_failing=self._failing.seconds(now),
            xids=self._recent_xids(now) if self._xids else NO_XIDS,
            ecc_uncorrectable=self._ecc_uncorrectable.gained,
            ecc_correctable_steps=self._ecc_correctable.steps,
            nvlink_errors=self._nvlink_errors.gained,
            power_brake_seconds=self._power_brake.gained,
            seconds_link_reduced=self._link_reduced.seconds(now),
            thermal_shrunk_celsius=self._thermal.shrunk_celsius,
            seconds_without_tokens=seconds_without_tokens,
        )

    def _add_absence(self, gpu: GpuSnapshot, *, backend_up: bool) -> None:
        """A GPU that was lost and answers again was reset: its earlier errors no longer count."""
        if gpu.state == "lost" and backend_up:
            self._away = True
        elif gpu.state == "ok" and self._away:
            self._away = False
            self._xids = []

    def _recent_xids(self, now: float) -> dict[XidClass, int]:
        self._xids = [(at, kind) for at, kind in self._xids if now - at <= XID_SECONDS[kind]]
        kinds = [kind for _, kind in self._xids]
        return {kind: kinds.count(kind) for kind in XID_SECONDS}

    def _add_reading(self, reading: GpuReading, slow: GpuSlowReading | None, now: float) -> None:
        self._power_brake.add(now, reading.throttled_seconds.get("hw_power_brake"))
        # A slow reading is valid for two periods: once it is gone, its reads have failed too.
        self._failing.add(now, holds=bool(reading.failed_calls) or (self._slow_at > 0 and slow is None))
        loaded = (reading.utilization_ratio or 0.0) >= LOAD_RATIO
        self._link_reduced.add(now, holds=loaded and slow is not None and _link_is_reduced(slow))

    def _add_slow(self, slow: GpuSlowReading, now: float) -> None:
        self._ecc_uncorrectable.add(now, _ecc(slow, "uncorrected"))
        self._ecc_correctable.add(now, _ecc(slow, "corrected"))
        self._nvlink_errors.add(now, sum(slow.nvlink_errors.values()) if slow.nvlink_errors else None)

    def _add_margin(self, gpu: GpuSnapshot, slow: GpuSlowReading, now: float) -> None:
        if gpu.reading is None:
            return
        margin = slow.temperature_margin_celsius
        self._has_margin = self._has_margin or margin is not None
        core = gpu.reading.temperature_core_celsius
        if not self._has_margin and core is not None:
            margin = -core
        self._thermal.add(now, gpu.reading.power_watts, margin)

    def _is_without_tokens(self, gpu: GpuSnapshot, workloads: Iterable[WorkloadSnapshot]) -> bool:
        """Whether the GPU is fully busy while the tokens of its holders do not change."""
        if gpu.reading is None or (gpu.reading.utilization_ratio or 0.0) < FULL_RATIO:
            return False
        tokens, self._tokens = self._tokens, _tokens(gpu.info.uuid, workloads)
        return tokens is not None and tokens == self._tokens


class _Duration:
    """Duration for which a condition has held without interruption."""

    def __init__(self) -> None:
        self._since: float | None = None

    def add(self, now: float, *, holds: bool) -> float:
        """Add whether the condition holds, and return for how many seconds it has."""
        if not holds:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since

    def seconds(self, now: float) -> float:
        return 0.0 if self._since is None else now - self._since


def _ecc(slow: GpuSlowReading, kind: str) -> float | None:
    """Return the errors since the driver was loaded: the board's own sum, else that of its locations."""
    counts = [one for one in slow.ecc_errors if one.kind == "volatile" and one.type == kind]
    whole = [one.errors for one in counts if one.location == "all"]
    parts = [one.errors for one in counts if one.location != "all"]
    return float(sum(whole or parts)) if counts else None


def _link_is_reduced(slow: GpuSlowReading) -> bool:
    """Whether PCIe is narrower or slower than both ends support."""
    pairs = (
        (slow.pcie_width, slow.pcie_width_max),
        (slow.pcie_generation, slow.pcie_generation_max),
    )
    return any(now is not None and maximum is not None and now < maximum for now, maximum in pairs)


def _tokens(gpu: str, workloads: Iterable[WorkloadSnapshot]) -> dict[str, tuple[float, float]] | None:
    """
    Return output and prompt tokens of each holder of the GPU; None unless all of them report tokens now.
    """
    tokens: dict[str, tuple[float, float]] = {}
    for workload in workloads:
        if not any(one.gpu == gpu and one.method is not None for one in workload.energy):
            continue
        counts = workload.counts
        makes_tokens = workload.info.role in ("mixed", "decode")
        if not (makes_tokens and workload.up and counts is not None and counts.output_tokens is not None):
            return None
        tokens[workload.info.workload] = (counts.output_tokens, counts.prompt_computed_tokens or 0.0)
    return tokens or None
