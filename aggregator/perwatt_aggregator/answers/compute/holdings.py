"""Holdings: the GPUs of each part, each with the share of it that the part holds."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from perwatt_aggregator.answers.compute.config import Precision
from perwatt_aggregator.answers.compute.peaks import Peak, Peaks
from perwatt_aggregator.attribution.node_parts import NodeParts
from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.window.activity import GpuActivity


class Held(Struct, frozen=True):
    """
    A number of GPUs, less than one if others hold it too, with their peak at one precision.

    GPUs with `is_missing` were requested by a launch and are not held; nothing else is known of them.
    """

    gpus: float
    peak: Peak | None
    precision: Precision
    activity: GpuActivity
    nvlink_bytes_per_second: float | None = None
    is_shared: bool = False
    is_missing: bool = False

    @property
    def peak_flops_per_second(self) -> float | None:
        return None if self.peak is None else self.gpus * self.peak.flops_per_second


class Holdings:
    """The holders of each GPU of each node."""

    def __init__(self, views: Iterable[NodeView], peaks: Peaks) -> None:
        self._peaks = peaks
        self._activity: dict[str, Mapping[str, GpuActivity]] = {}
        self._holders: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for view in views:
            if view.parts is not None:
                self._activity[view.node] = view.parts.activity
                self._holders |= {(view.node, gpu): holders for gpu, holders in _holders(view.parts).items()}

    def of(self, part: Part, precision: Precision) -> Iterator[Held]:
        """The GPUs that *part* holds, and those that it lacks."""
        names: set[str] = set()
        for gpu in part.gpus.uuids:
            activity = self._activity[part.owner.node].get(gpu, GpuActivity())
            if share := self._share(part, gpu):
                names.add(activity.name)
                yield self._held(share, activity, precision, is_shared=share < 1.0)
        if part.gpus.missing and not part.owner.workload:
            yield self._missing(part, precision)
        elif part.gpus.missing and len(names) == 1:
            # The GPUs of a launch on one node are assumed to be of one kind.
            missing = part.gpus.missing / self._models(part)
            yield self._held(missing, GpuActivity(names.pop()), precision, is_missing=True)

    def _missing(self, part: Part, precision: Precision) -> Held:
        """The GPUs of a node that were never read: of the kind of the others, if these are of one kind."""
        names = {activity.name for activity in self._activity[part.owner.node].values()}
        name = names.pop() if len(names) == 1 else ""
        return self._held(float(part.gpus.missing), GpuActivity(name), precision, is_missing=True)

    def _share(self, part: Part, gpu: str) -> float:
        """The share of a GPU that the part holds: equal among its holders; all of it if nobody holds it."""
        holders = self._holders.get((part.owner.node, gpu), set())
        if not part.owner.workload:
            return 0.0 if holders else 1.0
        return 1.0 / len(holders) if (part.owner.workload, part.owner.model) in holders else 0.0

    def _models(self, part: Part) -> int:
        """The number of models of the part's workload, which share the GPUs that it holds and lacks."""
        holders = self._holders[part.owner.node, part.gpus.uuids[0]]
        return len({model for workload, model in holders if workload == part.owner.workload}) or 1

    def _held(
        self,
        gpus: float,
        activity: GpuActivity,
        precision: Precision,
        *,
        is_shared: bool = False,
        is_missing: bool = False,
    ) -> Held:
        return Held(
            gpus=gpus,
            peak=self._peaks.of(activity.name, precision),
            precision=precision,
            activity=activity,
            nvlink_bytes_per_second=self._peaks.nvlink_bytes_per_second(activity.name),
            is_shared=is_shared,
            is_missing=is_missing,
        )


def _holders(parts: NodeParts) -> dict[str, set[tuple[str, str]]]:
    """Workloads and models by GPU: those with joules on it; if there are none, all."""
    holding: dict[str, set[tuple[str, str]]] = {}
    with_joules: dict[str, set[tuple[str, str]]] = {}
    for part in parts.by_gpu:
        owner = part.owner
        if owner.workload and owner.gpu:
            holding.setdefault(owner.gpu, set()).add((owner.workload, owner.model))
            if part.energy.joules:
                with_joules.setdefault(owner.gpu, set()).add((owner.workload, owner.model))
    return holding | with_joules
