"""Part: the energy and the work of one owner on one node within a window, in structs by subject."""

from collections.abc import Mapping

from msgspec import Struct

from perwatt_agent.work.job import ENGINE as SELF_REPORTED
from perwatt_aggregator.validity.uncertainty import COUNTER_REFRESH_SECONDS
from perwatt_aggregator.window.window import Counts, NodeWindow

EngineKey = tuple[str, ...]
"""What the members of one engine have in common: its group, or else node, workload and model."""


class Owner(Struct, frozen=True):
    """
    Labels of a part: they place it in a group of any dimension. What does not apply is empty.

    `gpu` is set only if the part is on a single GPU, and `gpu_model` only if all its GPUs are of one model.
    """

    node: str
    gpu: str = ""
    workload: str = ""
    model: str = ""
    engine: str = ""
    group: str = ""
    gpu_model: str = ""
    namespace: str = ""
    pod: str = ""
    slurm_job: str = ""
    systemd_unit: str = ""

    @property
    def engine_key(self) -> EngineKey:
        return (self.group,) if self.group else (self.node, self.workload, self.model)


class GpuSet(Struct, frozen=True):
    """
    GPUs of a part.

    `weight` is how many GPUs the part counts for in a mean over parts. `seconds` is its share of the
    GPUs' time: workloads that share a GPU have equal shares of it. `missing` is how many GPUs the launch
    requested and did not get. The division of `estimated` GPUs among workloads is an estimate (MIG).
    `unmeasured` GPUs give neither energy nor power; they have no weight, unless the part has no others.
    """

    uuids: tuple[str, ...] = ()
    weight: float = 1.0
    seconds: float = 0.0
    missing: int = 0
    estimated: frozenset[str] = frozenset()
    unmeasured: frozenset[str] = frozenset()


class PartEnergy(Struct, frozen=True):
    """
    Energy of a part; None if it was not measured.

    `joules` are board joules. `active_joules` are those of them in which a workload served; None if the
    idle power of a shared GPU is unknown. `meter_joules` are joules at the node meter, only of a node
    that shows no GPU boards. `leaves` are board joules by leaf of the ledger; they include joules that are
    not attributed yet, so that the leaves of all parts add up to what the boards used.

    `uncertainty_ratio` is the relative uncertainty of the boards' meters, None if they are simulated,
    and `refresh_seconds` the time between two of their readings.

    `drawn_joules` are the joules by integrated power, as far as a counter can be compared with it, and
    `disputed_joules` are those of them that the counter contradicts.
    """

    joules: float | None = None
    active_joules: float | None = None
    meter_joules: float | None = None
    leaves: Mapping[str, float] = {}
    provenance: tuple[str, ...] = ()
    uncertainty_ratio: float | None = None
    refresh_seconds: float = COUNTER_REFRESH_SECONDS
    drawn_joules: float = 0.0
    disputed_joules: float = 0.0

    @property
    def is_measured(self) -> bool:
        return self.joules is not None or self.meter_joules is not None


class Span(Struct, frozen=True):
    """
    Time of a part.

    `seconds` is the time that its tokens and joules cover, by which rates are divided.
    `late_seconds` are those before the window: work whose page came late counts from its last attribution on.
    `coverage_ratio` is the share of the window, and of the late seconds, that is covered. `lost_seconds` are
    those whose tokens may be lost, because the engine was restarted.
    """

    start_unix: float
    end_unix: float
    seconds: float
    coverage_ratio: float
    has_few_readings: bool = False
    late_seconds: float = 0.0
    lost_seconds: float = 0.0


class Part(Struct, frozen=True):
    """
    Energy of one owner, and the work that was done with it.

    `counts` is None if the part is no workload's, or if the work cannot be split by GPU; `is_known` is
    true if any work of its owner is counted.
    """

    owner: Owner
    gpus: GpuSet
    energy: PartEnergy
    span: Span
    counts: Counts | None = None
    is_known: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def is_unproven(self) -> bool:
        """Whether a job reports this work itself, and proves none of the GPUs that it claims."""
        return self.owner.engine == SELF_REPORTED and not self.gpus.uuids and self.gpus.missing > 0


def unreachable(node: str, gpus: int | None) -> Part:
    """
    The part of a node without readings. It has no energy.

    *gpus* is how many GPUs it last had; None if that was never read, so that its weight is not known.
    """
    return Part(
        owner=Owner(node),
        gpus=GpuSet(weight=float(max(1, gpus or 0))),
        energy=PartEnergy(),
        span=Span(start_unix=0.0, end_unix=0.0, seconds=0.0, coverage_ratio=0.0),
        reasons=("node_unreachable",) if gpus is not None else ("node_unreachable", "node_never_seen"),
    )


def missing(node: str, gpus: int, window: NodeWindow) -> Part:
    """The part of *gpus* GPUs that the node has, and that were never read in *window*."""
    return Part(
        owner=Owner(node),
        gpus=GpuSet(weight=float(gpus), missing=gpus),
        energy=PartEnergy(),
        span=Span(window.start_unix, window.end_unix, window.seconds, coverage_ratio=0.0),
        reasons=("gpus_missing",),
    )
