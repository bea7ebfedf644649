"""
Node parts: the energy and the work of one node within a window, divided into parts with one owner each.

Every answer sums parts, so any grouping of the same parts has the same joules and the same tokens.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from perwatt_agent.meters.kinds import rapl
from perwatt_aggregator.attribution.board_leaves import board_leaves
from perwatt_aggregator.attribution.node_factor import NodeFactor, board_watts, node_factor
from perwatt_aggregator.attribution.part import GpuSet, Owner, Part, PartEnergy, Span, missing
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.validity.thresholds import MAX_DIVERGENCE_RATIO, MIN_COVERAGE_RATIO, MIN_READINGS
from perwatt_aggregator.validity.uncertainty import COUNTER_REFRESH_SECONDS, SWEEP_SECONDS, UncertaintyConfig
from perwatt_aggregator.window.activity import GpuActivity
from perwatt_aggregator.window.window import (
    Counts,
    GpuWindow,
    HostWindow,
    NodeWindow,
    StateJoules,
    WorkloadWindow,
)

# A counter that counts nothing at all still has a ratio to divide by.
_LEAST_RATIO = 1e-6


class NodeParts(Struct, frozen=True):
    """
    All parts of one node.

    A workload has one part in `by_workload`, and one part for each of its GPUs in `by_gpu`. Tokens of a
    workload on several GPUs cannot be split, so that its parts in `by_gpu` have no counts. `missing` has a
    part if the node has GPUs that were never read.

    `start_unix` and `end_unix` are the readings between which its boards were measured; the span of a part
    is that of its tokens. `board_watts` is the mean power of all boards, `throttled_seconds` is by GPU and
    reason, `activity` by GPU. `has_all_boards` is false if much of the boards' energy was not read, and
    `has_refused_boards` is true if readings of it do not count.
    """

    by_workload: tuple[Part, ...]
    by_gpu: tuple[Part, ...]
    missing: tuple[Part, ...]
    has_all_boards: bool
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
    has_refused_boards: bool = False

    @property
    def by_gpu_model(self) -> tuple[Part, ...]:
        """One part for each workload; of those on GPUs of several models, one for each GPU."""
        mixed = {
            (part.owner.workload, part.owner.model)
            for part in self.by_workload
            if len(part.gpus.uuids) > 1 and not part.owner.gpu_model
        }
        if not mixed:
            return self.by_workload
        whole = (one for one in self.by_workload if (one.owner.workload, one.owner.model) not in mixed)
        split = (one for one in self.by_gpu if (one.owner.workload, one.owner.model) in mixed)
        return (*whole, *split)

    @property
    def unmeasured_holders(self) -> tuple[Part, ...]:
        """The parts of workloads on GPUs that cannot be measured."""
        return tuple(part for part in self.by_workload if part.owner.workload and part.gpus.unmeasured)


def node_parts(
    node: str,
    window: NodeWindow,
    facility: FacilityConfig,
    uncertainty: UncertaintyConfig = UncertaintyConfig(),  # noqa: B008 - frozen
    gpus: int = 0,
) -> NodeParts:
    """
    Divide *window* of *node* into parts, and compute the factor from board joules to node joules.

    *gpus* is how many GPUs the node has; those that *window* does not have are missing.
    """
    divider = _Divider(node, window, uncertainty)
    unattributed = tuple(divider.unattributed())
    by_workload = tuple(divider.by_workload()) + unattributed
    missing_gpus = max(0, gpus - len(window.gpus))
    has_wide_work = any(len(work.joules) > 1 for work in window.workloads)
    return NodeParts(
        by_workload=by_workload,
        by_gpu=tuple(divider.by_gpu()) + unattributed if has_wide_work else by_workload,
        missing=(missing(node, missing_gpus, window),) if missing_gpus else (),
        has_all_boards=_covered_boards_ratio(window, missing_gpus) >= MIN_COVERAGE_RATIO
        and not any(part.gpus.missing and not part.is_unproven for part in by_workload),
        factor=node_factor(window, facility, uncertainty),
        host=window.host,
        host_uncertainty_ratio=uncertainty.of((rapl.ROW.name,)),
        board_watts=board_watts(window),
        throttled_seconds={gpu.gpu: gpu.throttled_seconds for gpu in window.gpus},
        activity={gpu.gpu: gpu.activity for gpu in window.gpus},
        largest_gap_seconds=window.largest_gap_seconds,
        filled=window.filled,
        start_unix=window.start_unix,
        end_unix=window.end_unix,
        has_refused_boards=any(gpu.refused for gpu in window.gpus),
    )


def _covered_boards_ratio(window: NodeWindow, missing_gpus: int) -> float:
    """The share of the time between the readings in which boards were measured: the mean over the GPUs."""
    covered = [
        min(1.0, (gpu.covered_seconds + _slack_seconds(gpu)) / window.seconds)
        for gpu in window.gpus
        if gpu.is_measurable
    ]
    gpus = len(covered) + missing_gpus
    return sum(covered) / gpus if gpus else 1.0


def _slack_seconds(gpu: GpuWindow) -> float:
    """The time between two readings of a power that is integrated."""
    return SWEEP_SECONDS if "integrated" in gpu.sources else 0.0


class _Divider:
    def __init__(self, node: str, window: NodeWindow, uncertainty: UncertaintyConfig) -> None:
        self._node = node
        self._window = window
        self._uncertainty = uncertainty
        self._leaves = board_leaves(window)
        self._has_few_readings = window.readings < MIN_READINGS
        self._unmeasured = frozenset(gpu.gpu for gpu in window.gpus if not gpu.is_measurable)
        self._gpu_models = {gpu.gpu: gpu.activity.name for gpu in window.gpus}
        self._sources = {gpu.gpu: gpu.sources for gpu in window.gpus}
        self._gpu_seconds = {gpu.gpu: gpu.covered_seconds + _slack_seconds(gpu) for gpu in window.gpus}
        self._divergences = {gpu.gpu: gpu.divergence_ratio or 0.0 for gpu in window.gpus}
        self._holders = Tally(gpu for work in window.workloads for gpu in work.joules)
        self._label = {"simulated": ("simulated",), "replay": ("replay",)}.get(window.backend, ())
        # A node that shows a meter and no boards: its workloads have equal shares of the meter's joules.
        self._has_meter_only = window.meter is not None and not window.gpus

    def by_workload(self) -> Iterator[Part]:
        """One part for each workload and model."""
        for work in self._window.workloads:
            yield self._work(work, tuple(work.joules), work.counts, work.reasons)

    def by_gpu(self) -> Iterator[Part]:
        """One part for each workload, model and GPU."""
        for work in self._window.workloads:
            gpus = tuple(work.joules)
            if len(gpus) < 2:
                yield self._work(work, gpus, work.counts, work.reasons)
                continue
            for gpu in gpus:
                yield self._work(work, (gpu,), None, (*work.reasons, "tokens_span_gpus"))

    def unattributed(self) -> Iterator[Part]:
        """One part for each GPU with joules of no workload."""
        for gpu in self._window.gpus:
            # A GPU whose joules all belong to workloads has no such part.
            rest = gpu.unattributed_joules or gpu.waiting_joules
            if gpu.gpu not in self._holders or rest or gpu.reset or gpu.refused:
                yield self._unattributed(gpu)
        if self._has_meter_only and not self._window.workloads:
            yield Part(
                owner=Owner(self._node),
                gpus=GpuSet(),
                energy=PartEnergy(meter_joules=self._meter_share(1), provenance=self._label),
                span=self._window_span(1.0),
                reasons=("no_energy",),
            )

    def _work(
        self, work: WorkloadWindow, gpus: tuple[str, ...], counts: Counts | None, reasons: tuple[str, ...]
    ) -> Part:
        late_seconds = max(0.0, self._window.start_unix - work.start_unix)
        return Part(
            owner=Owner(
                node=self._node,
                gpu=gpus[0] if len(gpus) == 1 else "",
                workload=work.workload,
                model=work.model,
                engine=work.engine,
                group=work.group,
                gpu_model=self._gpu_model(gpus),
                namespace=work.namespace,
                pod=work.pod,
                slurm_job=work.slurm_job,
                systemd_unit=work.systemd_unit,
            ),
            gpus=GpuSet(
                uuids=gpus,
                # A workload without GPUs has no joules that readings could cover.
                weight=float(len(self._measured(gpus)) or len(gpus) or self._has_meter_only),
                seconds=sum(self._window.seconds / self._holders[gpu] for gpu in gpus),
                missing=work.missing_gpus,
                estimated=work.estimated_gpus.intersection(gpus),
                unmeasured=self._unmeasured.intersection(gpus),
            ),
            energy=self._work_energy(work, gpus, has_baseline="no_baseline" not in reasons),
            span=Span(
                start_unix=work.start_unix,
                end_unix=work.end_unix,
                seconds=work.covered_seconds,
                coverage_ratio=self._coverage_ratio(
                    self._covered_seconds(work, gpus, late_seconds), late_seconds
                ),
                has_few_readings=self._has_few_readings or work.attributions < MIN_READINGS - 1,
                late_seconds=max(late_seconds, work.late_seconds),
                lost_seconds=work.lost_seconds,
            ),
            counts=counts,
            is_known=work.counts.is_known,
            reasons=reasons,
        )

    def _work_energy(self, work: WorkloadWindow, gpus: tuple[str, ...], *, has_baseline: bool) -> PartEnergy:
        joules = [work.joules.get(gpu, StateJoules()) for gpu in gpus]
        by_gpu = {gpu: one.total for gpu, one in zip(gpus, joules, strict=True)}
        key = (work.workload, work.model)
        is_measured = bool(self._measured(gpus))
        return PartEnergy(
            joules=sum(one.total for one in joules) if is_measured else None,
            active_joules=sum(one.active for one in joules) if is_measured and has_baseline else None,
            meter_joules=self._meter_share(len(self._window.workloads)) if self._has_meter_only else None,
            leaves=_summed(self._leaves.by_workload[key, gpu] for gpu in gpus),
            provenance=self._provenance(gpus),
            uncertainty_ratio=self._uncertainty_ratio(by_gpu),
            refresh_seconds=self._refresh_seconds(gpus),
            drawn_joules=self._drawn(by_gpu),
            disputed_joules=self._disputed(by_gpu),
        )

    def _unattributed(self, gpu: GpuWindow) -> Part:
        is_measured, is_held = gpu.energy_joules is not None, gpu.gpu in self._holders
        joules = gpu.unattributed_joules + gpu.waiting_joules
        gpus = (gpu.gpu,)
        return Part(
            owner=Owner(self._node, gpu=gpu.gpu, gpu_model=self._gpu_models[gpu.gpu]),
            gpus=GpuSet(
                uuids=gpus,
                weight=0.0 if is_held or not gpu.is_measurable else 1.0,
                seconds=0.0 if is_held else self._window.seconds,
                unmeasured=self._unmeasured.intersection(gpus),
            ),
            energy=PartEnergy(
                joules=joules if is_measured else None,
                active_joules=0.0 if is_measured else None,
                leaves=self._leaves.unattributed[gpu.gpu],
                provenance=self._provenance(gpus),
                uncertainty_ratio=self._uncertainty_ratio({gpu.gpu: joules}),
                refresh_seconds=self._refresh_seconds(gpus),
                drawn_joules=self._drawn({gpu.gpu: joules}),
                disputed_joules=self._disputed({gpu.gpu: joules}),
            ),
            span=self._window_span(self._coverage_ratio(gpu.covered_seconds + _slack_seconds(gpu))),
            reasons=(*gpu.refused, *(("counter_reset",) if gpu.reset else ())),
        )

    def _covered_seconds(self, work: WorkloadWindow, gpus: tuple[str, ...], late_seconds: float) -> float:
        """
        The time that tokens and joules cover, in the window and in the *late_seconds* before it.

        The slack of a workload is the phase between two clocks, not a time in which joules of a GPU are
        missing: how much of the window a GPU covers is known to the second.
        """
        boards = (self._gpu_seconds[gpu] for gpu in self._measured(gpus) if gpu in self._gpu_seconds)
        return min((work.covered_seconds + work.slack_seconds, *(one + late_seconds for one in boards)))

    def _gpu_model(self, gpus: tuple[str, ...]) -> str:
        """The model of all *gpus*; empty if they are of several."""
        names = {self._gpu_models.get(gpu, "") for gpu in gpus}
        return names.pop() if len(names) == 1 else ""

    def _measured(self, gpus: tuple[str, ...]) -> list[str]:
        return [gpu for gpu in gpus if gpu not in self._unmeasured]

    def _window_span(self, coverage_ratio: float) -> Span:
        window = self._window
        return Span(
            window.start_unix, window.end_unix, window.seconds, coverage_ratio, self._has_few_readings
        )

    def _coverage_ratio(self, covered_seconds: float, late_seconds: float = 0.0) -> float:
        return min(1.0, covered_seconds / (self._window.nominal_seconds + late_seconds))

    def _provenance(self, gpus: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(self._sources_of(gpus).union(self._label)))

    def _uncertainty_ratio(self, joules: Mapping[str, float]) -> float | None:
        """Of the boards' meters, and at least what counters differ from power, as a mean over the joules."""
        of_sources = self._uncertainty.of((*self._sources_of(tuple(joules)), *self._label))
        drawn = self._drawn(joules)
        if of_sources is None or not drawn:
            return of_sources
        off = (abs(self._divergences.get(gpu, 0.0)) * self._drawn({gpu: one}) for gpu, one in joules.items())
        return max(of_sources, sum(off) / drawn)

    def _drawn(self, joules: Mapping[str, float]) -> float:
        """Joules by integrated power, of counted *joules* by GPU."""
        return sum(
            one / max(_LEAST_RATIO, 1.0 + self._divergences.get(gpu, 0.0)) for gpu, one in joules.items()
        )

    def _disputed(self, joules: Mapping[str, float]) -> float:
        """Those of the GPUs whose counter and integrated power disagree."""
        return self._drawn(
            {
                gpu: one
                for gpu, one in joules.items()
                if abs(self._divergences.get(gpu, 0.0)) > MAX_DIVERGENCE_RATIO
            }
        )

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
