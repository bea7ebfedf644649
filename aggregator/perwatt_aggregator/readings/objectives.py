"""Latency objectives by model, and the histogram buckets that they need."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from msgspec import Struct

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import TEXT, duration

_SECONDS = duration(0.0001, 3600.0)


class SloConfig(Struct, frozen=True):
    """Objectives of the requests of one model, or of all models without an entry. There is at least one."""

    model: Annotated[
        str | None, Key("name of the model; default: all models without an entry of their own", TEXT)
    ] = None
    time_to_first_token: Annotated[
        float | None, Key("longest time to first token of a request", _SECONDS)
    ] = None
    time_per_output_token: Annotated[
        float | None, Key("longest mean time per output token of a request", _SECONDS)
    ] = None


class Objectives:
    """The objectives of every model, in seconds."""

    def __init__(self, configs: Iterable[SloConfig] = ()) -> None:
        self._by_model = {config.model: config for config in configs}

    def __bool__(self) -> bool:
        return bool(self._by_model)

    def of(self, model: str) -> SloConfig | None:
        """The objectives of *model*; None where it has none."""
        return self._by_model.get(model, self._by_model.get(None))


NO_OBJECTIVES = Objectives()


def bounds_around(bounds: Sequence[float], objective: float) -> tuple[float | None, float | None]:
    """
    The bounds next to an objective: the largest one up to it, and the smallest one from it on.

    *bounds* ascend. Both are the objective itself if it is a bound. None if there is no such bound.
    """
    place = bisect_left(bounds, objective)
    upper = bounds[place] if place < len(bounds) else None
    if upper == objective:
        return objective, objective
    return (bounds[place - 1] if place else None), upper


def check_objectives(configs: Sequence[SloConfig], is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between the keys of `slo`."""
    models = [config.model for config in configs]
    for index, config in enumerate(configs):
        where = f"slo[{index}]"
        if config.model in models[:index]:
            yield where, "expected one entry for a model, and one for all others"
        has_objective = config.time_to_first_token is not None or config.time_per_output_token is not None
        if not has_objective and is_valid(where):
            yield where, "expected time_to_first_token, time_per_output_token or both"
