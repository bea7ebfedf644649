"""
A node's window cut into parts: each has one owner, and all of them together are the node.

Parts are what items are summed from, so that any grouping has the same joules and the same tokens.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from perwatt_aggregator.attribution.boards import board_leaves
from perwatt_aggregator.attribution.node_factor import NodeFactor, board_watts, node_factor
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.validity.uncertainty import COUNTER_REFRESH_SECONDS, SWEEP_SECONDS, UncertaintyConfig
from perwatt_aggregator.window.activity import GpuActivity
from perwatt_aggregator.window.window import (
    Counts,
    GpuWindow,
    HostWindow,
    NodeWindow,
    StateJoules,
    WorkWindow,
)

MIN_READINGS = 4


class Part(Struct, frozen=True):
    """
    Joules, and the work that was done with them, of one owner.

    `joules` is None where nothing was measured, and so is `counts` where the part is nobody's work.
    `active_joules` is the part of `joules` in which a workload served, None where what idling took of a
    shared GPU is not known. `meter_joules` are those at
    the wall of a node that shows no boards at all. `known` says that it is known what was done,
    `seconds` is the time that the rates divide by, `weight` the number of GPUs that stand behind it, and
    `gpu_seconds` its share of their time: a GPU's time goes to its holders in equal parts.

    `leaves` are board joules by leaf of the ledger. Beside `joules` they hold what waits to be handed
    out, so that over all parts they are what the boards took. `meter_uncertainty_ratio` is by how much
    the boards' own meters may be off, None where nothing real was measured, `refresh_seconds` how far
    apart their readings are.
    """

    node: str
    gpu: str
    workload: str
    model: str
    engine: str
    group: str
    joules: float | None
    active_joules: float | None
    meter_joules: float | None
    known: bool
    counts: Counts | None
    start_unix: float
    end_unix: float
    seconds: float
    coverage_ratio: float
    weight: float
    gpu_seconds: float
    few_readings: bool
    provenance: tuple[str, ...]
    reasons: tuple[str, ...]
    gpus: tuple[str, ...] = ()
    leaves: Mapping[str, float] = {}
    meter_uncertainty_ratio: float | None = None
    refresh_seconds: float = COUNTER_REFRESH_SECONDS
    missing_gpus: int = 0
    estimated_gpus: frozenset[str] = frozenset()


class NodeParts(Struct, frozen=True):
    """
    All parts of one node; in `by_gpu` those on several GPUs are split, at the price of their tokens.

    `start_unix` and `end_unix` are the readings between which its boards were measured, a part's are those of
    its tokens.
    `board_watts` is the mean power of all its boards, `throttled_seconds` are by GPU and reason,
    `activity` by GPU.
    """

    whole: tuple[Part, ...]
    by_gpu: tuple[Part, ...]
    factor: NodeFactor
    host: HostWindow
    host_uncertainty_ratio: float | None
    board_watts: float | None
    throttled_seconds: Mapping[str, Mapping[str, float]]
    activity: Mapping[str, GpuActivity]
    largest_gap_seconds: float
    filled: bool
    start_unix: float
    end_unix: float


def node_parts(
    node: str,
    window: NodeWindow,
    facility: FacilityConfig,
    uncertainty: UncertaintyConfig = UncertaintyConfig(),  # noqa: B008 - frozen
) -> NodeParts:
    """Cut *window* of *node* into parts, and work out what its board joules mean at the node."""
    cutter = _Cutter(node, window, uncertainty)
    rest = tuple(cutter.rest())
    whole = tuple(cutter.works()) + rest
    spread = any(len(work.joules) > 1 for work in window.works)
    return NodeParts(
        whole=whole,
        by_gpu=tuple(cutter.works_by_gpu()) + rest if spread else whole,
        factor=node_factor(window, facility, uncertainty),
        host=window.host,
        host_uncertainty_ratio=uncertainty.of(("rapl",)),
        board_watts=board_watts(window),
        throttled_seconds={gpu.gpu: gpu.throttled_seconds for gpu in window.gpus},
        activity={gpu.gpu: gpu.activity for gpu in window.gpus},
        largest_gap_seconds=window.largest_gap_seconds,
        filled=window.filled,
        start_unix=window.start_unix,
        end_unix=window.end_unix,
    )


class _Cutter:
    def __init__(self, node: str, window: NodeWindow, uncertainty: UncertaintyConfig) -> None:
        self._node = node
        self._window = window
        self._uncertainty = uncertainty
        self._leaves = board_leaves(window)
        self._few = window.readings < MIN_READINGS
        self._sources = {gpu.gpu: gpu.sources for gpu in window.gpus}
        self._held = Tally(gpu for work in window.works for gpu in work.joules)
        self._label = {"simulated": ("simulated",), "replay": ("replay",)}.get(window.backend, ())
        # A node that shows a meter and no boards: all that it takes is its workloads', in equal parts.
        self._meter_only = window.meter is not None and not window.gpus

    def works(self) -> Iterator[Part]:
        for work in self._window.works:
            gpus = tuple(work.joules)
            yield self._work(work, gpus[0] if len(gpus) == 1 else "", gpus, work.counts, work.reasons)

    def works_by_gpu(self) -> Iterator[Part]:
        for work in self._window.works:
            gpus = tuple(work.joules)
            if len(gpus) < 2:
                yield self._work(work, gpus[0] if gpus else "", gpus, work.counts, work.reasons)
                continue
            for gpu in gpus:
                yield self._work(work, gpu, (gpu,), None, (*work.reasons, "tokens_span_gpus"))

    def rest(self) -> Iterator[Part]:
        for gpu in self._window.gpus:
            # Of a GPU that is held through and through there is nothing left to say.
            if gpu.gpu not in self._held or gpu.unattributed_joules or gpu.waiting_joules or gpu.reset:
                yield self._rest(gpu)
        if self._meter_only and not self._window.works:
            yield self._part(
                meter_joules=self._meter_share(1), coverage_ratio=1.0, weight=1.0, reasons=("no_energy",)
            )

    def _work(
        self,
        work: WorkWindow,
        gpu: str,
        gpus: tuple[str, ...],
        counts: Counts | None,
        reasons: tuple[str, ...],
    ) -> Part:
        joules = [work.joules.get(one, StateJoules()) for one in gpus]
        covered = work.covered_seconds + work.slack_seconds
        return self._part(
            gpu=gpu,
            workload=work.workload,
            model=work.model,
            engine=work.engine,
            group=work.group,
            joules=sum(one.active + one.idle + one.loading for one in joules) if gpus else None,
            active_joules=sum(one.active for one in joules)
            if gpus and "no_baseline" not in reasons
            else None,
            meter_joules=self._meter_share(len(self._window.works)) if self._meter_only else None,
            known=work.counts.known,
            counts=counts,
            start_unix=work.start_unix,
            end_unix=work.end_unix,
            seconds=work.covered_seconds,
            coverage_ratio=min(1.0, covered / self._window.nominal_seconds),
            # What holds no GPU has no joules that anything could cover.
            weight=float(len(gpus) or self._meter_only),
            gpu_seconds=sum(self._window.seconds / self._held[gpu] for gpu in gpus),
            provenance=self._provenance(gpus),
            few_readings=self._few or work.settlements < MIN_READINGS - 1,
            reasons=reasons,
            gpus=gpus,
            leaves=_summed(self._leaves.works[(work.workload, work.model), one] for one in gpus),
            meter_uncertainty_ratio=self._off_by(gpus),
            refresh_seconds=self._refresh_seconds(gpus),
            missing_gpus=work.missing_gpus,
            estimated_gpus=work.estimated_gpus.intersection(gpus),
        )

    def _rest(self, gpu: GpuWindow) -> Part:
        measured = gpu.energy_joules is not None
        covered = gpu.covered_seconds + (SWEEP_SECONDS if "integrated" in gpu.sources else 0.0)
        return self._part(
            gpu=gpu.gpu,
            joules=gpu.unattributed_joules + gpu.waiting_joules if measured else None,
            active_joules=0.0 if measured else None,
            coverage_ratio=min(1.0, covered / self._window.nominal_seconds),
            weight=0.0 if gpu.gpu in self._held else 1.0,
            gpu_seconds=0.0 if gpu.gpu in self._held else self._window.seconds,
            provenance=self._provenance((gpu.gpu,)),
            reasons=("counter_reset",) if gpu.reset else (),
            gpus=(gpu.gpu,),
            leaves=self._leaves.rest[gpu.gpu],
            meter_uncertainty_ratio=self._off_by((gpu.gpu,)),
            refresh_seconds=self._refresh_seconds((gpu.gpu,)),
        )

    def _part(self, **facts: object) -> Part:
        window = self._window
        blank: dict[str, object] = {
            "node": self._node,
            "gpu": "",
            "workload": "",
            "model": "",
            "engine": "",
            "group": "",
            "joules": None,
            "active_joules": None,
            "meter_joules": None,
            "known": False,
            "counts": None,
            "start_unix": window.start_unix,
            "end_unix": window.end_unix,
            "seconds": window.seconds,
            "gpu_seconds": 0.0,
            "few_readings": self._few,
            "provenance": self._label,
        }
        return Part(**(blank | facts))  # type: ignore[arg-type]  # the keys are Part's own

    def _provenance(self, gpus: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(self._sources_of(gpus).union(self._label)))

    def _off_by(self, gpus: tuple[str, ...]) -> float | None:
        """By how much the boards' meters may be off."""
        return self._uncertainty.of((*self._sources_of(gpus), *self._label))

    def _refresh_seconds(self, gpus: tuple[str, ...]) -> float:
        return SWEEP_SECONDS if "integrated" in self._sources_of(gpus) else COUNTER_REFRESH_SECONDS

    def _sources_of(self, gpus: tuple[str, ...]) -> set[str]:
        return {source for gpu in gpus for source in self._sources.get(gpu, ())}

    def _meter_share(self, owners: int) -> float | None:
        meter = self._window.meter
        return None if meter is None else meter.energy_joules / owners


def _summed(many: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for leaves in many:
        for leaf, joules in leaves.items():
            sums[leaf] = sums.get(leaf, 0.0) + joules
    return sums


def unreachable(node: str, gpus: int) -> Part:
    """What stands for a node that gave no reading: nothing, as wide as the GPUs that it last had."""
    return Part(
        node=node,
        gpu="",
        workload="",
        model="",
        engine="",
        group="",
        joules=None,
        active_joules=None,
        meter_joules=None,
        known=False,
        counts=None,
        start_unix=0.0,
        end_unix=0.0,
        seconds=0.0,
        coverage_ratio=0.0,
        weight=float(max(1, gpus)),
        gpu_seconds=0.0,
        few_readings=False,
        provenance=(),
        reasons=("node_unreachable",),
    )
