"""
Useful FLOPs: the models' own FLOPs for the work of a group.

They are computed from the configured size of its models; without a size, the engine's own count is used,
which includes FLOPs that were computed again after a preemption.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_aggregator.answers.compute.config import ModelConfig
from perwatt_aggregator.answers.compute.sizes import Sizes, flops_per_token
from perwatt_aggregator.attribution.part import EngineKey, Part
from perwatt_aggregator.schema.compute import ComputeSource

TRAINING_UNIT = "tokens"
"""The unit of work in which a job in training counts tokens."""


class Useful(Struct, frozen=True):
    """FLOP/s of models, None if they are not known; with their provenance and reasons."""

    flops_per_second: float | None
    provenance: frozenset[ComputeSource] = frozenset()
    reasons: frozenset[str] = frozenset()


def useful(parts: Iterable[Part], sizes: Sizes) -> Useful:
    """Add up the FLOPs of the models of *parts*; GPUs that nobody holds have none."""
    engines: dict[EngineKey, list[Part]] = {}
    for part in parts:
        if part.owner.workload and (part.gpus.uuids or part.owner.group):
            engines.setdefault(part.owner.engine_key, []).append(part)
    each = [_of_engine(members, sizes) for members in engines.values()]
    known = [one.flops_per_second for one in each if one.flops_per_second is not None]
    return Useful(
        sum(known) if len(known) == len(each) else None,
        frozenset[ComputeSource]().union(*(one.provenance for one in each)),
        frozenset[str]().union(*(one.reasons for one in each)),
    )


def _of_engine(members: Sequence[Part], sizes: Sizes) -> Useful:
    head = next((part for part in members if part.owner.model), members[0])
    size = sizes.of(head.owner.model, head.owner.workload)
    per_token = None if size is None else flops_per_token(size)
    counted = _counted(members) if per_token is None else None
    if counted is not None:
        return Useful(counted, frozenset(("engine",)))
    tokens = _trained(members) if _trains(members, size) else _inferred(members)
    if isinstance(tokens, str):
        return Useful(None, reasons=frozenset((tokens,)))
    if tokens == 0.0:
        return Useful(0.0, frozenset(("counter",)))
    if size is None or per_token is None:
        return Useful(None, reasons=frozenset(("no_model_size",)))
    notes = frozenset(() if size.context else ("no_attention_term",))
    return Useful(tokens * per_token, frozenset(("counter", "configured")), notes)


def _counted(members: Sequence[Part]) -> float | None:
    """FLOP/s by the engine's own count, which is per GPU, over the GPUs of all its members."""
    rates = [
        _rate(part.counts.flops_per_gpu, part)
        for part in members
        if part.counts is not None and part.counts.flops_per_gpu is not None and part.span.seconds > 0.0
    ]
    gpus = sum(len(part.gpus.uuids) for part in members)
    return sum(rates) / len(rates) * gpus if rates else None


def _trains(members: Sequence[Part], size: ModelConfig | None) -> bool:
    """Whether the model is in training: by its size; without one, by the unit of its work."""
    if size is not None:
        return size.training
    return any(part.counts is not None and TRAINING_UNIT in part.counts.work for part in members)


def _trained(members: Sequence[Part]) -> float | str:
    """Tokens per second of a model in training, or the reason why they are not known."""
    rates = [
        _rate(part.counts.work[TRAINING_UNIT], part)
        for part in members
        if part.counts is not None and TRAINING_UNIT in part.counts.work and part.span.seconds > 0.0
    ]
    return sum(rates) if rates else "no_token_source"


def _inferred(members: Sequence[Part]) -> float | str:
    """Tokens per second that a serving model computed, or the reason why they are not known."""
    counted = [(part, part.counts) for part in members if part.counts is not None and part.span.seconds > 0.0]
    prompt = [
        _rate(counts.prompt_computed, part) for part, counts in counted if counts.prompt_computed is not None
    ]
    output = [_rate(counts.output, part) for part, counts in counted if counts.output is not None]
    if not prompt and not output:
        return "no_token_source"
    return sum(prompt) + sum(output) if prompt else "no_prompt_tokens"


def _rate(amount: float, part: Part) -> float:
    return amount / part.span.seconds
