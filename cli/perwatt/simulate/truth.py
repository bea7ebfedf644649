"""Truth of a simulated fleet: what was made and used in a stretch of time, by any grouping."""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from msgspec import Struct

from perwatt.simulate.events import FleetEvent
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.layout import numbers_of_requests
from perwatt.simulate.node import Node
from perwatt.simulate.slot import Life, Slot, Totals
from perwatt.simulate.snapshot import uuid_of

TruthDimension = Literal["model", "engine", "workload", "node", "gpu", "rack", "cluster", "facility"]
DIMENSIONS: tuple[TruthDimension, ...] = get_args(TruthDimension)


class TruthItem(Struct, frozen=True):
    """
    One group. What no workload used has empty `model`, `engine` and `workload`; a dimension that was not
    asked for is absent from `group`.

    Joules of `gpu_board` are the sum of active, idle, loading and unallocated ones. The rest of a node goes
    to its GPUs by board joules. Tokens of an engine on several GPUs are divided equally among them.
    """

    group: dict[str, str]
    output_tokens: float
    prompt_computed_tokens: float
    prompt_cached_tokens: float
    effective_output_tokens: float
    requests_ok: float
    requests_aborted: float
    gpu_board_joules: float
    active_joules: float
    idle_joules: float
    loading_joules: float
    unallocated_joules: float
    node_joules: float
    facility_joules: float


class Truth(Struct, frozen=True):
    """The answer of `/truth`. Times are Unix seconds of the fleet's own clock."""

    from_unix_seconds: float
    to_unix_seconds: float
    items: tuple[TruthItem, ...]
    events: tuple[FleetEvent, ...]
    simulated: bool = True
    schema_version: int = 1


class _Part(Struct):
    """What one workload, or none, used of some GPUs of one node."""

    labels: dict[str, str]
    tokens: float
    life: Life | None
    joules: tuple[float, float, float, float]
    pue: float


def truth(fleet: Fleet, begin: float, end: float, by: Sequence[TruthDimension] = ()) -> Truth:
    """What happened from *begin* to *end*; neither may lie before the fleet's start."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for number in range(len(fleet.nodes)):
        node = fleet.at(number, end)
        parts = list(_parts(node, begin, end, each_gpu="gpu" in by))
        board = sum(sum(part.joules) for part in parts)
        factor = node.node_joules(board, end - begin) / board if board else 0.0
        for part in parts:
            sums = groups.setdefault(tuple(part.labels[one] for one in by), [0.0] * _AMOUNTS)
            for place, amount in enumerate(_amounts(part, factor)):
                sums[place] += amount
    items = tuple(
        TruthItem(dict(zip(by, values, strict=True)), *sums) for values, sums in sorted(groups.items())
    )
    return Truth(begin, end, items, tuple(fleet.events(begin, end)))


_AMOUNTS = len(TruthItem.__struct_fields__) - 1


def _amounts(part: _Part, node_factor: float) -> tuple[float, ...]:
    tokens = computed = cached = effective = well = aborted = 0.0
    if part.life is not None:
        model, tokens = part.life.model, part.tokens
        well, aborted = numbers_of_requests(model, tokens)
        prompt = (well + aborted) * model.prompt_tokens_per_request
        computed, cached = prompt * (1.0 - model.cached_ratio), prompt * model.cached_ratio
        effective = tokens * (1.0 - model.aborted_ratio)
    board = sum(part.joules)
    node = board * node_factor
    return (
        tokens,
        computed,
        cached,
        effective,
        well,
        aborted,
        board,
        *part.joules,
        node,
        node * part.pue,
    )


def _parts(node: Node, begin: float, end: float, *, each_gpu: bool) -> Iterator[_Part]:
    identity = node.identity
    of_node = {
        "node": identity.name,
        "rack": identity.rack,
        "cluster": identity.cluster,
        "facility": identity.site.facility,
    }
    for slot in node.history.slots:
        for life, used in _uses(slot, begin, end):
            of_life = {
                "model": life.model.name if life else "",
                "engine": life.model.engine if life else "",
                "workload": life.name if life else "",
            }
            for gpus in [(gpu,) for gpu in slot.gpus] if each_gpu else [slot.gpus]:
                factor = sum(identity.power_factors[gpu] for gpu in gpus)
                labels = of_node | of_life | {"gpu": uuid_of(identity, gpus[0])}
                joules = (used.active, used.idle, used.loading, used.unallocated)
                yield _Part(
                    labels,
                    used.tokens * len(gpus) / len(slot.gpus),
                    life,
                    (joules[0] * factor, joules[1] * factor, joules[2] * factor, joules[3] * factor),
                    identity.site.pue,
                )


def _uses(slot: Slot, begin: float, end: float) -> Iterator[tuple[Life | None, Totals]]:
    """What each workload of a slot made and used, and what no workload did."""
    spans: dict[Life | None, list[Totals]] = {}
    for segment, first, last in slot.segments_between(begin, end):
        span = _difference(slot.totals_in(segment, first), slot.totals_in(segment, last))
        spans.setdefault(segment.life, []).append(span)
    for life, several in spans.items():
        yield life, Totals(*(sum(amounts) for amounts in zip(*several, strict=True)))


def _difference(before: Totals, after: Totals) -> Totals:
    return Totals(*(late - early for early, late in zip(before, after, strict=True)))
