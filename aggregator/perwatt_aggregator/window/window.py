"""
What happened on one node within one window: differences between real readings, and what they cover.

Joules here are board joules, calibrated GPU by GPU. Nothing is divided yet.
"""

from msgspec import Struct

from perwatt_aggregator.readings.objectives import SloConfig
from perwatt_aggregator.window.activity import GpuActivity


class StateJoules(Struct, frozen=True):
    """Joules of one workload on one GPU by what the workload was doing."""

    active: float = 0.0
    idle: float = 0.0
    loading: float = 0.0

    @property
    def total(self) -> float:
        return self.active + self.idle + self.loading


class Edges(Struct, frozen=True):
    """An objective in seconds, and the bounds of the buckets next to it; None is where there is none."""

    objective: float
    lower: float | None
    upper: float | None


class Met(Struct, frozen=True):
    """Of so many requests, at least and at most how many met what was asked; `edges` were looked at."""

    requests: float
    at_least: float
    at_most: float
    edges: tuple[Edges, ...] = ()


class SloWindow(Struct, frozen=True):
    """
    The requests of one workload against what is *asked* of its model: by each objective, and by all.

    None is what is not asked, or what the engine cannot tell; `met` is always asked.
    """

    asked: SloConfig
    first_token: Met | None
    output_token: Met | None
    met: Met | None


class Counts(Struct, frozen=True):
    """
    Work that was done; what the engine cannot tell is None.

    `requests` are by outcome, `wasted` tokens by cause, `work` by unit. `flops_per_gpu`
    are the engine's own reckoning. `slo` is None where nothing is asked.
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
    def known(self) -> bool:
        """Whether anything of the work is known."""
        return self.output is not None or self.prompt_computed is not None or bool(self.work)


class GpuWindow(Struct, frozen=True):
    """
    One GPU: all its joules, those that no workload was given, and the seconds that they cover.

    `waiting_joules` wait for an engine that is out of reach for longer than a gap. Joules are None
    where nothing was measured. `throttled_seconds` are by reason, and reasons overlap.
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

    @property
    def unattributed_joules(self) -> float:
        return self.unallocated_joules + self.unknown_joules


class WorkWindow(Struct, frozen=True):
    """
    One workload and one of its models: counts and joules between the same two settlements.

    `covered_seconds` is the time that both cover, and `slack_seconds` the part of a gap that is but
    the phase between two clocks. `has_served` tells whether it ever was active, since it is known.
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
    settlements: int
    counts: Counts
    joules: dict[str, StateJoules]
    reasons: tuple[str, ...]
    missing_gpus: int = 0
    estimated_gpus: frozenset[str] = frozenset()


class MeterWindow(Struct, frozen=True):
    """
    A meter at the wall; the boards' joules are those between its own readings.

    `energy_joules` are those of all `seconds`, at the mean power of the `covered_seconds` among them.
    `period_seconds` is how far apart the meter's own readings are, None where it does not say.
    """

    sources: tuple[str, ...]
    energy_joules: float
    seconds: float
    board_joules: float
    covered_seconds: float
    slack_seconds: float
    too_few_refreshes: bool
    period_seconds: float | None = None
    source_changed: bool = False


class HostWindow(Struct, frozen=True):
    """What the node's processors and their memory took; None where nobody measures it."""

    cpu_joules: float | None
    dram_joules: float | None


class NodeWindow(Struct, frozen=True):
    """
    One node between two of its readings.

    `nominal_seconds` is what coverage is measured against: the length of the window, or what was
    asked for while the readings do not reach back that far.
    """

    backend: str
    start_unix: float
    end_unix: float
    nominal_seconds: float
    filled: bool
    readings: int
    largest_gap_seconds: float
    gpus: tuple[GpuWindow, ...]
    works: tuple[WorkWindow, ...]
    meter: MeterWindow | None
    host: HostWindow

    @property
    def seconds(self) -> float:
        return self.end_unix - self.start_unix
