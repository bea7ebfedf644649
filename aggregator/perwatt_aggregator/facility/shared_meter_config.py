"""Configuration of a meter that covers several nodes."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import TEXT
from perwatt_agent.meters.checks import check_meter
from perwatt_agent.meters.config import MeterConfig


class SharedMeterConfig(MeterConfig, frozen=True, kw_only=True):
    """One meter, and the nodes that it covers: all of its energy belongs to them."""

    covers: Annotated[
        tuple[str, ...],
        Key("nodes behind the meter: patterns of `HOST:PORT` or `HOST`, such as `gpu-1*`", TEXT),
    ]

    def covers_node(self, node: str) -> bool:
        """Whether the meter covers *node*, `HOST:PORT`."""
        names = (node, node.rpartition(":")[0])
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.covers)


def check_shared_meters(
    meters: Sequence[SharedMeterConfig],
    nodes: Sequence[str],
    is_valid: IsValid,
    path: str = "meters",
    *,
    others: bool = False,
) -> Iterator[tuple[str, str]]:
    """
    Errors: a meter without a node, a node under two meters, two meters of one name.

    With *others*, there may be more nodes than *nodes*.
    """
    covered: dict[str, int] = {}
    labels: set[str] = set()
    for index, meter in enumerate(meters):
        where = f"{path}[{index}]"
        yield from check_meter(meter, where, is_valid)
        if meter.scope != "node":
            yield f"{where}.scope", "expected node; a meter that covers several nodes measures whole nodes"
        if meter.label in labels:
            yield f"{where}.name", f"expected an unused name; {meter.label!r} is taken"
        labels.add(meter.label)
        under = [node for node in nodes if meter.covers_node(node)]
        if not under and not others and is_valid("sources.agents") and is_valid(f"{where}.covers"):
            yield f"{where}.covers", "expected the name of at least one of `sources.agents`"
        for node in under:
            if covered.setdefault(node, index) != index:
                yield f"{where}.covers", f"expected each node under one meter, {node} is under two"
