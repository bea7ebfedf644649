"""Compute answer: the chain from peak to useful compute, step by step, for each group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from perwatt_aggregator.answers.compute.config import ComputeConfig, Precision
from perwatt_aggregator.answers.compute.holdings import Held, Holdings
from perwatt_aggregator.answers.compute.peaks import Peaks
from perwatt_aggregator.answers.compute.pool import Pool, Share, Use
from perwatt_aggregator.answers.compute.sizes import Sizes
from perwatt_aggregator.answers.compute.useful import useful
from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.groups import EVERYTHING, Fleet, Group, Where
from perwatt_aggregator.fleet.sums import sums_of
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import maximum, product, quotient
from perwatt_aggregator.schema.common import Dimension
from perwatt_aggregator.schema.compute import (
    COMPUTE_SOURCES,
    ComputeItem,
    ComputeSource,
    LinkName,
    LinkUse,
    Step,
    StepName,
)
from perwatt_aggregator.validity.all import is_valid, ordered
from perwatt_aggregator.validity.thresholds import MIN_COVERAGE_RATIO, MIN_EXPLAINED_RATIO

# Reasons of joules and of ratios over them. Missing GPUs are shown by the chain itself.
_OF_ENERGY = frozenset(("gpus_missing", "no_baseline", "source_changed", "tokens_span_gpus"))
# Reasons of readings, which apply to GPUs and to engines.
_OF_READINGS = frozenset(
    (
        *("stale", "node_unreachable", "node_never_seen", "targets_unknown"),
        *("window_not_filled", "too_few_readings"),
    )
)
# Rounding error of a sum of shares.
_ROUNDING_ERROR = 1e-9


def compute(
    views: Iterable[NodeView],
    by: Sequence[Dimension],
    config: ComputeConfig,
    where: Where = EVERYTHING,
    *,
    is_whole: bool = True,
) -> tuple[ComputeItem, ...]:
    """One chain for each group of the fleet by *by* that holds a GPU."""
    fleet = Fleet(views, by, where, is_whole=is_whole)
    holdings = Holdings(fleet.views.values(), Peaks(config.peaks))
    sizes = Sizes(config.models)
    chains = [_Chain(group, fleet, holdings, sizes, config.precision) for group in fleet.groups()]
    return tuple(chain.item() for chain in chains if chain.has_gpus)


class _Chain:
    """Builder of the item of one group."""

    def __init__(
        self, group: Group, fleet: Fleet, holdings: Holdings, sizes: Sizes, precision: Precision
    ) -> None:
        self._sums = sums_of(group, fleet)
        self._sizes = sizes
        self._pool = Pool(list(_held(group.parts, holdings, sizes, precision)))
        sources = {source for part in group.parts for source in part.energy.provenance}
        self._labels = frozenset[ComputeSource](
            label for label in COMPUTE_SOURCES if label in ("simulated", "replay") and label in sources
        )
        self._of_readings = self._sums.reasons & _OF_READINGS
        self._read_ratio = _read_ratio(group.parts)

    @property
    def has_gpus(self) -> bool:
        """Whether the group has GPUs, or a node that may have some and is unreachable."""
        return bool(self._pool.held) or "node_unreachable" in self._of_readings

    def item(self) -> ComputeItem:
        sums, pool = self._sums, self._pool
        alive = pool.alive()
        steps = tuple(
            self._steps(
                {
                    "peak": pool.peak(),
                    "alive": alive,
                    "sm_active": pool.working(lambda held: held.activity.sm_active),
                    "tensor_active": pool.working(lambda held: held.activity.tensor_active),
                    "model": self._model(),
                }
            )
        )
        model = steps[-1]
        return ComputeItem(
            group=sums.group.labels,
            window=sums.window,
            gpus_assigned=pool.gpus,
            gpus_alive=None if alive.ratio is None else pool.alive_gpus(),
            precisions=tuple(sorted({held.precision for held in pool.held})),
            model_flops_utilization_ratio=model.share_of_peak_ratio,
            steps=steps,
            links=tuple(self._links()),
            coverage_ratio=model.coverage_ratio,
            largest_gap_seconds=sums.largest_gap_seconds,
            age_seconds=sums.age_seconds,
            provenance=model.provenance,
            valid=model.valid,
            reasons=model.reasons,
        )

    def _model(self) -> Share:
        """The models' own FLOPs as a share of the peak."""
        sums, peak = self._sums, self._pool.peak()
        flops = useful(sums.group.parts, self._sizes)
        peak_flops_per_second = self._pool.peak_flops_per_second
        found = (sums.reasons - _OF_ENERGY) | flops.reasons | peak.reasons
        if _unknown_ratio(sums.group.parts) > 1.0 - MIN_EXPLAINED_RATIO:
            found |= {"unexplained"}
        return Share(
            quotient(flops.flops_per_second, peak_flops_per_second),
            sums.by_boundary["gpu_board"].coverage_ratio,
            flops.provenance | peak.provenance,
            found,
        )

    def _steps(self, shares: Mapping[StepName, Share]) -> Iterator[Step]:
        before: float | None = None
        for name, share in shares.items():
            found = set(share.reasons)
            if share.ratio is not None and before is not None and share.ratio > before + _ROUNDING_ERROR:
                found.add("above_step_before")
            yield self._step(name, share, before, found)
            before = share.ratio

    def _step(self, name: StepName, share: Share, before: float | None, found: set[str]) -> Step:
        coverage_ratio = share.coverage_ratio
        if name != "model":  # its coverage has all nodes already
            coverage_ratio *= self._read_ratio
        found |= self._qualified(share.ratio, coverage_ratio) if name != "peak" else self._of_nodes()
        peak = self._pool.peak_flops_per_second
        return Step(
            name=name,
            flops_per_second=product(share.ratio, peak),
            share_of_peak_ratio=share.ratio,
            ratio_to_step_before=quotient(share.ratio, before),
            coverage_ratio=coverage_ratio,
            provenance=self._provenance(share.provenance),
            valid=is_valid(found),
            reasons=ordered(found),
        )

    def _links(self) -> Iterator[LinkUse]:
        pool = self._pool
        yield self._link(
            "pcie",
            pool.use(lambda held: held.activity.pcie, lambda held: held.activity.pcie_bytes_per_second),
        )
        yield self._link(
            "nvlink", pool.use(lambda held: held.activity.nvlink, lambda held: held.nvlink_bytes_per_second)
        )

    def _link(self, name: LinkName, use: Use) -> LinkUse:
        busier = maximum(use.transmitted_bytes_per_second, use.received_bytes_per_second)
        rate = use.rate_bytes_per_second
        share = quotient(busier, rate)
        coverage_ratio = use.coverage_ratio * self._read_ratio
        found = self._qualified(share, coverage_ratio) | use.reasons
        return LinkUse(
            name=name,
            transmitted_bytes_per_second=use.transmitted_bytes_per_second,
            received_bytes_per_second=use.received_bytes_per_second,
            rate_bytes_per_second=rate,
            share_of_rate_ratio=share,
            coverage_ratio=coverage_ratio,
            provenance=self._provenance(use.provenance),
            valid=is_valid(found),
            reasons=ordered(found),
        )

    def _of_nodes(self) -> frozenset[str]:
        """The reasons of the GPUs themselves: nodes that were not read."""
        found = self._of_readings & {"node_unreachable", "node_never_seen"}
        return found | {"coverage_low"} if self._read_ratio < MIN_COVERAGE_RATIO else found

    def _qualified(self, share: float | None, coverage_ratio: float) -> frozenset[str]:
        """The reasons of a share that was read."""
        found = set(self._of_readings)
        if share is not None and coverage_ratio < MIN_COVERAGE_RATIO:
            found.add("coverage_low")
        if share is not None and share > 1.0 + _ROUNDING_ERROR:
            found.add("above_peak")
        return frozenset(found)

    def _provenance(self, sources: frozenset[ComputeSource]) -> tuple[ComputeSource, ...]:
        return tuple(source for source in COMPUTE_SOURCES if source in sources | self._labels)


def _read_ratio(parts: Iterable[Part]) -> float:
    """The share of GPUs whose nodes were read."""
    read = total = 0.0
    for part in parts:
        total += part.gpus.weight
        read += 0.0 if "node_unreachable" in part.reasons else part.gpus.weight
    return read / total if total else 1.0


def _held(parts: Sequence[Part], holdings: Holdings, sizes: Sizes, precision: Precision) -> Iterator[Held]:
    # Members of an engine without a page have the model of the member with the page.
    owners = [part.owner for part in parts]
    models = {owner.group: owner.model for owner in owners if owner.group and owner.model}
    for part, owner in zip(parts, owners, strict=True):
        model = owner.model or models.get(owner.group, "")
        size = sizes.of(model, owner.workload) if owner.workload else None
        yield from holdings.of(part, precision if size is None or size.precision is None else size.precision)


def _unknown_ratio(parts: Iterable[Part]) -> float:
    """The share of joules of unknown work, whose FLOPs are not known either."""
    joules = [part.energy.leaves for part in parts]
    total = sum(sum(one.values()) for one in joules)
    return sum(one.get(leaves.UNKNOWN, 0.0) for one in joules) / total if total > 0.0 else 0.0
