"""
Window of one node: differences between real readings, and the time that they cover.

Joules are board joules, calibrated for each GPU. Nothing is attributed to owners yet.
"""

from msgspec import Struct

from perwatt_aggregator.readings.objectives import SloConfig
from perwatt_aggregator.window.activity import GpuActivity


class StateJoules(Struct, frozen=True):
    """Joules of one workload on one GPU by the state of the workload."""

    active: float = 0.0
    idle: float = 0.0
    loading: float = 0.0

    @property
    def total(self) -> float:
        return self.active + self.idle + self.loading


class BucketBounds(Struct, frozen=True):
    """An objective in seconds, and the bucket bounds next to it; None if there is no such bound."""

    objective: float
    lower: float | None
    upper: float | None


class Met(Struct, frozen=True):
    """How many of the `requests` met an objective, as an interval; `bounds` are the buckets next to it."""

    requests: float
    at_least: float
    at_most: float
    bounds: tuple[BucketBounds, ...] = ()


class SloWindow(Struct, frozen=True):
    """
    Requests of one workload that met the objectives of its model: each of them, and (`met`) all of them.

    None if there is no such objective, or if the engine has no histogram for it.
    """

    objectives: SloConfig
    first_token: Met | None
    output_token: Met | None
    met: Met | None


class Counts(Struct, frozen=True):
    """
    Work that was done; None if the engine does not count it.

    `requests` are by outcome, `wasted` tokens by cause, `work` by unit. `flops_per_gpu`
    are counted by the engine itself. `slo` is None if the model has no objective.
    """

    output: float | None = None
    prompt_computed: float | None = None
    prompt_cached: float | None = None
    effective_output: float | None = None
    requests: dict[str, float] = {}
    wasted: dict[str, float] = {}
    work: dict[str, float] = {}
    flops_per_gpu: float | None = None
    slo: SloWindow | None = None

    @property
    def is_known(self) -> bool:
        """Whether any of the work is counted."""
        return self.output is not None or self.prompt_computed is not None or bool(self.work)


class GpuWindow(Struct, frozen=True):
    """
    One GPU: all its joules, those of no workload, and the seconds that they cover.

    `waiting_joules` are not attributed yet, because the page of an engine is overdue by more than a gap.
    `energy_joules` is None if nothing was measured. `throttled_seconds` are by reason, and reasons overlap.
    `divergence_ratio` is by how much the GPU's counter exceeds its integrated power, None if not known.
    A GPU that is not `is_measurable` answers, and has neither energy nor power. `refused` is why readings of
    its counters do not count.
    """

    gpu: str
    sources: tuple[str, ...]
    energy_joules: float | None
    unallocated_joules: float
    unknown_joules: float
    waiting_joules: float
    covered_seconds: float
    reset: bool
    throttled_seconds: dict[str, float] = {}
    activity: GpuActivity = GpuActivity()
    divergence_ratio: float | None = None
    is_measurable: bool = True
    refused: frozenset[str] = frozenset()

    @property
    def unattributed_joules(self) -> float:
        return self.unallocated_joules + self.unknown_joules


class WorkloadWindow(Struct, frozen=True):
    """
    One workload and one of its models: counts and joules between the same two attributions.

    `covered_seconds` is the time that both cover; `late_seconds` of it lie before the window, because they
    waited for the engine's page. `lost_seconds` is the time before resets whose tokens may be lost.
    `slack_seconds` is the part of a gap that may only be the phase between two clocks. `has_served` is true
    if it was ever active in the lifetime of its agent.
    """

    workload: str
    model: str
    engine: str
    group: str
    up: bool
    has_served: bool
    start_unix: float
    end_unix: float
    covered_seconds: float
    slack_seconds: float
    attributions: int
    counts: Counts
    joules: dict[str, StateJoules]
    reasons: tuple[str, ...]
    missing_gpus: int = 0
    estimated_gpus: frozenset[str] = frozenset()
    namespace: str = ""
    pod: str = ""
    slurm_job: str = ""
    systemd_unit: str = ""
    late_seconds: float = 0.0
    lost_seconds: float = 0.0


class MeterWindow(Struct, frozen=True):
    """
    The node meter; `board_joules` are those between its own readings.

    `energy_joules` are those of all `seconds`, at the mean power of the `covered_seconds` among them.
    `period_seconds` is the time between the meter's own readings, None if it is not known. `refused` is why
    readings of its counters do not count.
    """

    sources: tuple[str, ...]
    energy_joules: float
    seconds: float
    board_joules: float
    covered_seconds: float
    slack_seconds: float
    has_too_few_refreshes: bool
    period_seconds: float | None = None
    source_changed: bool = False
    refused: frozenset[str] = frozenset()


class HostWindow(Struct, frozen=True):
    """Energy of the node's processors and of their memory; None if it is not measured."""

    cpu_joules: float | None
    dram_joules: float | None


class NodeWindow(Struct, frozen=True):
    """
    One node between two of its readings.

    Coverage is relative to `nominal_seconds`: the length of the window, or the requested length while the
    readings do not reach back that far.
    """

    backend: str
    start_unix: float
    end_unix: float
    nominal_seconds: float
    filled: bool
    readings: int
    largest_gap_seconds: float
    gpus: tuple[GpuWindow, ...]
    workloads: tuple[WorkloadWindow, ...]
    meter: MeterWindow | None
    host: HostWindow

    @property
    def seconds(self) -> float:
        return self.end_unix - self.start_unix
