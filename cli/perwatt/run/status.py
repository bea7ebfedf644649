"""Status line of `perwatt up`: the tokens per joule of now."""

import asyncio
import sys

from perwatt.tables import significant
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.answers.headline import OUTPUT_TOKENS
from perwatt_aggregator.schema.efficiency import EfficiencyItem

PERIOD_SECONDS = 1.0


async def show(aggregator: Aggregator) -> None:
    """Print one line a second until cancelled; on a terminal it replaces the line before."""
    on_terminal = sys.stdout.isatty()
    try:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            (item,) = aggregator.efficiency(boundaries=("gpu_board",)).items
            line = status_line(item)
            print(f"\r\x1b[K{line}" if on_terminal else line, end="" if on_terminal else "\n", flush=True)
    finally:
        if on_terminal:
            print()


def status_line(item: EfficiencyItem) -> str:
    """The fleet's figure with its boundary, window and validity."""
    parts = ["SIMULATED"] if "simulated" in item.provenance else []
    parts += [
        f"{_amount(item.power_watts)} W",
        f"{_amount(item.output_tokens_per_second)} tokens/s",
        f"{_amount(item.headline.per_joule)} {_unit(item)}/J at the GPU boards",
        f"over {item.window.seconds:.0f} s" if item.window else "no window yet",
        _verdict(item),
    ]
    return "  ".join(parts)


def _verdict(item: EfficiencyItem) -> str:
    if item.first_figure_seconds is not None:
        return f"first valid figure in about {item.first_figure_seconds:.0f} s"
    return "valid" if item.valid else f"not valid: {', '.join(item.reasons)}"


def _unit(item: EfficiencyItem) -> str:
    unit = item.headline.unit or OUTPUT_TOKENS
    return "tokens" if unit == OUTPUT_TOKENS else unit.replace("_", " ")


def _amount(value: float | None) -> str:
    return "-" if value is None else significant(value)
