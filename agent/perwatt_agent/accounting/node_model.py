"""Modelled power of a node without a wall meter: its measured parts plus stated assumptions."""

from collections.abc import Sequence

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.accounting.meter_account import MeterAccount
from perwatt_agent.facts.host_meter import NodeModel


def modelled_watts(
    model: NodeModel, boards: BoardPower, parts: Sequence[MeterAccount], monotonic_seconds: float
) -> float | None:
    """
    Return (boards + processors + memory + rest) / efficiency of the supplies; None unless all are known.

    *parts* are all modules, processors and memories that were ever measured. If there are modules, they
    stand for boards, processors and memory, because they contain them. Memory without a meter of its own is
    part of the stated rest.
    """
    modules = [part for part in parts if part.scope == "module"]
    has_processors = any(part.scope in ("module", "package") for part in parts)
    counted = modules or parts
    if not has_processors or not all(part.is_fresh(monotonic_seconds) for part in counted):
        return None
    boards_watts = 0.0 if modules else boards.mean_watts
    if boards_watts is None:
        return None
    parts_watts = sum(part.watts or 0.0 for part in counted)
    return (boards_watts + parts_watts + model.rest_watts) / model.psu_efficiency
