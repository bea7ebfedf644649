"""Sums over parts: their energy at a boundary, their work, the time they cover."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone

from msgspec import Struct

from perwatt_aggregator.answers import Requests, Slo, Tokens, Wasted, Window
from perwatt_aggregator.bill import Bill, bill_of
from perwatt_aggregator.boundary import Boundary
from perwatt_aggregator.fleet import Fleet, Group, NodeView
from perwatt_aggregator.parts import Part
from perwatt_aggregator.slo import slo_of
from perwatt_aggregator.uncertainty import of_sum
from perwatt_aggregator.waste import wasted_of
from perwatt_aggregator.window import Counts

# A part with too few readings spoils a sum only from this share of it on.
SPOILING_RATIO = 0.05


class Energy(Struct, frozen=True):
    """Joules at one boundary; those while work was served are None where that is not known."""

    joules: float
    active_joules: float | None
    known_joules: float
    power_watts: float

    @property
    def idle_joules(self) -> float | None:
        return None if self.active_joules is None else max(0.0, self.joules - self.active_joules)


class Place(Struct, frozen=True):
    """What holds for a group at one boundary; `uncertainty_ratio` is None where nobody knows."""

    energy: Energy | None
    coverage_ratio: float
    uncertainty_ratio: float | None
    provenance: frozenset[str]
    reasons: frozenset[str]


class Sums(Struct, frozen=True):
    """One group, summed once for all boundaries; of its nodes' gaps and ages the worst."""

    group: Group
    work: "Work"
    window: Window | None
    places: dict[Boundary, Place]
    bill: Bill
    largest_gap_seconds: float | None
    age_seconds: float | None
    reasons: frozenset[str]


def sums_of(group: Group, fleet: Fleet) -> Sums:
    """Sum the parts of *group*."""
    views = [fleet.views[node] for node in {part.node for part in group.parts}]
    reached = [view.parts for view in views if view.parts is not None]
    board_sources = frozenset(source for part in group.parts for source in part.provenance)
    if _is_estimated(group.parts, fleet):
        board_sources |= {"estimated"}
    node_sources = board_sources.union(*(parts.factor.provenance for parts in reached))
    node_reasons = frozenset[str]().union(*(parts.factor.reasons for parts in reached))
    facility_reasons = node_reasons.union(*(view.facility.reasons for view in views))
    return Sums(
        group=group,
        work=work_of(group.parts),
        window=mean_window((part.start_unix, part.end_unix, part.weight) for part in group.parts),
        places={
            "gpu_board": _place(group.parts, fleet, "gpu_board", board_sources, frozenset()),
            "node": _place(group.parts, fleet, "node", node_sources, node_reasons),
            "facility": _place(group.parts, fleet, "facility", node_sources, facility_reasons),
        },
        bill=bill_of(group.parts, fleet),
        largest_gap_seconds=max((parts.largest_gap_seconds for parts in reached), default=None),
        age_seconds=max((view.age_seconds for view in views if view.age_seconds is not None), default=None),
        reasons=frozenset(_reasons(group, views)),
    )


def _is_estimated(parts: Sequence[Part], fleet: Fleet) -> bool:
    """Whether *parts* have some, but not all, of a GPU whose division is an estimate."""
    estimated = {(part.node, gpu) for part in parts for gpu in part.estimated_gpus}
    nodes = [fleet.views[node].parts for node in {node for node, _ in estimated}]
    others = (part for node in nodes if node is not None for part in node.whole)
    return _owners(estimated, parts) != _owners(estimated, others)


def _owners(gpus: Collection[tuple[str, str]], parts: Iterable[Part]) -> set[tuple[str, str, str, str]]:
    return {
        (part.node, gpu, part.workload, part.model)
        for part in parts
        for gpu in part.gpus
        if (part.node, gpu) in gpus
    }


def _place(
    parts: Sequence[Part],
    fleet: Fleet,
    boundary: Boundary,
    provenance: frozenset[str],
    reasons: frozenset[str],
) -> Place:
    coverage_ratio = _coverage_ratio(parts, fleet.views, at_node=boundary != "gpu_board")
    energy = _energy(parts, fleet, boundary)
    off_by = None if energy is None else of_sum(_terms(parts, fleet, boundary))
    return Place(energy, coverage_ratio, off_by, provenance, reasons)


def _terms(parts: Sequence[Part], fleet: Fleet, boundary: Boundary) -> Iterator[tuple[float, float | None]]:
    """Each part's joules at *boundary*, and by how much they may be off."""
    for part in parts:
        view = fleet.views[part.node]
        yield view.joules_at(boundary, part) or 0.0, view.uncertainty_at(boundary, part)


def _reasons(group: Group, views: Sequence[NodeView]) -> Iterator[str]:
    """What must be said of a group at any boundary."""
    for part in group.parts:
        yield from part.reasons
    if any(part.counts and part.counts.known for part in _left_out(group.parts)):
        yield "tokens_uncovered"
    if any(view.stale for view in views):
        yield "stale"
    if not all(view.parts.filled for view in views if view.parts is not None):
        yield "window_not_filled"
    if _few_readings(group.parts):
        yield "too_few_readings"
    if not group.has_whole_groups:
        yield "shared_group"


def _energy(parts: Sequence[Part], fleet: Fleet, boundary: Boundary) -> Energy | None:
    """
    Sum the parts' joules at *boundary*.

    None when nothing was measured, and when any of them cannot be had there: a sum that silently
    lacks one is another quantity.
    """
    joules = known = power = 0.0
    active: float | None = 0.0
    found = False
    for part in parts:
        view = fleet.views[part.node]
        own = view.joules_at(boundary, part)
        if own is None:
            if boundary != "gpu_board" and (part.joules is not None or part.meter_joules is not None):
                return None
            continue
        found = True
        joules += own
        known += own if fleet.is_known(part) else 0.0
        power += own / part.seconds if part.seconds > 0.0 else 0.0
        ratio = view.ratio_at(boundary)
        if part.joules is None or part.active_joules is None or ratio is None:
            active = None
        elif active is not None:
            active += part.active_joules * ratio
    return Energy(joules, active, known, power) if found else None


def _coverage_ratio(parts: Iterable[Part], views: Mapping[str, NodeView], *, at_node: bool) -> float:
    """The share of the window that readings cover: the mean over the GPUs behind the parts."""
    covered = total = 0.0
    for part in parts:
        view = views[part.node]
        ratio = part.coverage_ratio
        if at_node and view.parts is not None:
            ratio = min(ratio, view.parts.factor.coverage_ratio)
        covered += part.weight * ratio * view.fresh_ratio
        total += part.weight
    return covered / total if total else 0.0


def _few_readings(parts: Iterable[Part]) -> bool:
    """Whether parts with too few readings are more than a small share."""
    few = total = 0.0
    for part in parts:
        total += part.weight
        few += part.weight if part.few_readings else 0.0
    return few > SPOILING_RATIO * total


class Work(Struct, frozen=True):
    """
    What was done in several parts together; None is what not all of those that tell anything tell.

    `spans_gpus` when tokens were made on more GPUs than these parts stand for.
    """

    output: float | None
    prompt_computed: float | None
    prompt_cached: float | None
    effective_output: float | None
    requests_ok: float | None
    requests_aborted: float | None
    requests_error: float | None
    units: dict[str, float]
    wasted: Wasted
    slo: Slo | None
    output_per_second: float | None
    spans_gpus: bool

    def tokens(self) -> Tokens:
        return Tokens(
            _whole(self.output),
            _whole(self.prompt_computed),
            _whole(self.prompt_cached),
            _whole(self.effective_output),
            self.wasted,
        )

    def requests(self) -> Requests:
        return Requests(_whole(self.requests_ok), _whole(self.requests_aborted), _whole(self.requests_error))

    def reasons(self) -> set[str]:
        """Why ratios over this work are null."""
        found = set()
        if self.output is None:
            found.add(self._without_output())
        elif self.output == 0.0:
            found.add("no_output_tokens")
        if self.output is not None and self.effective_output is None:
            found.add("no_effective_tokens")
        if not self.requests_ok:
            found.add("no_requests")
        return found

    def _without_output(self) -> str:
        """Why there is no output to divide."""
        if self.units:
            return "other_units"
        return "no_token_source" if self.prompt is None else "prompt_tokens_only"

    @property
    def prompt(self) -> float | None:
        """Prompt tokens, those from a cache where the engine tells of them."""
        return None if self.prompt_computed is None else self.prompt_computed + (self.prompt_cached or 0.0)


def work_of(parts: Iterable[Part]) -> Work:
    """Sum the work of *parts*."""
    parts = tuple(parts)
    spans = any("tokens_span_gpus" in part.reasons for part in parts)
    covered = () if spans else _with_joules(parts)
    telling = [(part, part.counts) for part in covered if part.counts and part.known]
    counts = [count for _, count in telling]
    outputs = [(part, count.output) for part, count in telling if count.output is not None]
    return Work(
        output=sum(output for _, output in outputs) if outputs else None,
        prompt_computed=_all([count.prompt_computed for count in counts]),
        prompt_cached=_all([count.prompt_cached for count in counts]),
        effective_output=_all([count.effective_output for count in counts if count.output is not None]),
        requests_ok=_all([count.requests.get("ok") for count in counts]),
        requests_aborted=_all([count.requests.get("aborted") for count in counts]),
        requests_error=_all([count.requests.get("error") for count in counts]),
        units=_units(counts),
        wasted=wasted_of(counts),
        slo=slo_of([count.slo for count in counts if count.slo is not None]),
        output_per_second=sum(_rate(part, output) for part, output in outputs) if outputs else None,
        spans_gpus=spans,
    )


def _with_joules(parts: Sequence[Part]) -> Sequence[Part]:
    """
    Leave out parts without joules, by themselves or by their group: nothing divides their tokens.

    Where nobody has any, nothing is divided, and what was done is told nevertheless.
    """
    measured = [part for part in parts if _has_joules(part)]
    groups = {part.group for part in measured if part.group}
    kept = [part for part in parts if _has_joules(part) or part.group in groups]
    return kept if measured else parts


def _left_out(parts: Sequence[Part]) -> Sequence[Part]:
    kept = {id(part) for part in _with_joules(parts)}
    return [part for part in parts if id(part) not in kept]


def _has_joules(part: Part) -> bool:
    return part.joules is not None or part.meter_joules is not None


def mean_window(spans: Iterable[tuple[float, float, float]]) -> Window | None:
    """The mean of several windows, each from its start to its end, with its weight."""
    read = [span for span in spans if span[1] > 0.0]
    if not read:
        return None
    weights = [weight for *_, weight in read]
    if not sum(weights):
        weights = [1.0] * len(read)
    total = sum(weights)
    start = sum(weight * start for weight, (start, _, _) in zip(weights, read, strict=True)) / total
    end = sum(weight * end for weight, (_, end, _) in zip(weights, read, strict=True)) / total
    return window(start, end)


def window(start_unix: float, end_unix: float) -> Window:
    return Window(instant(start_unix), instant(end_unix), end_unix - start_unix)


def instant(unix_seconds: float) -> str:
    """Write an instant as RFC 3339 has it, in UTC to the millisecond."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rate(part: Part, amount: float) -> float:
    return amount / part.seconds if part.seconds > 0.0 else 0.0


def _all(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def _units(counts: Iterable[Counts]) -> dict[str, float]:
    units: dict[str, float] = {}
    for count in counts:
        for unit, amount in count.work.items():
            units[unit] = units.get(unit, 0.0) + amount
    return units


def _whole(amount: float | None) -> int | None:
    return None if amount is None else round(amount)
