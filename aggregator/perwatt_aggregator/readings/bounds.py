"""
Bounds of what an agent's page may show: the largest value of each counter, and the fastest rise.

Power times time bounds joules, time itself bounds seconds, and a plausible rate bounds tokens. All are above
what any machine does, so that only errors exceed them: a wrong unit, a lost digit, two counters in turn.
"""

import math
from collections.abc import Mapping

from msgspec import Struct

from perwatt_agent.accounting.plausibility import MAX_WATTS
from perwatt_aggregator.readings.sample import (
    BUCKETS,
    EFFECTIVE_TOKENS,
    GPU_COVERED,
    GPU_ENERGY,
    HOST_CPU_ENERGY,
    HOST_DRAM_ENERGY,
    NODE_COVERED,
    NODE_ENERGY,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    UNATTRIBUTED,
    WASTED_TOKENS,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
)

MAX_GPU_WATTS = 5_000.0
"""Of a GPU whose power limit is not known. Above any board, and any module of GPUs and a processor."""
LIMIT_RATIO = 2.0
"""A board's mean power stays below this multiple of its power limit."""
MAX_COUNT = 2.0**53
"""Above it, a float cannot count by ones."""
MAX_JOULES = 1e15
"""A machine of 100 kW counts so much in three centuries."""
MAX_SECONDS = 1e10
MAX_PERIOD_SECONDS = 86_400.0
RESET_DELAY_SECONDS = 2.0
"""A page may be so much older than the readings on it."""

_CLOCK_RATIO = 1.05
"""Two clocks of one machine differ by less."""
_HOLD_SECONDS = 65.0
"""An agent holds back the joules of a GPU that it doubts for a minute."""
_WAIT_SECONDS = 365.0
"""Joules wait five minutes, and a GPU one, for the page of their engine."""
_STEP_SECONDS = 3600.0
"""A meter may count whole kilowatt-hours."""


class Bound(Struct, frozen=True):
    """
    Bounds of one counter: its value, and its rise per second.

    A rise may belong to the time since the counter last moved, and to `delay_seconds` before; until it has
    moved, to `first_delay_seconds` before its first reading. With `is_of_gpu` the power limit of the GPU
    bounds it too, and `per_second` of a workload is for each of its GPUs.
    """

    maximum: float
    per_second: float = math.inf
    delay_seconds: float = 0.0
    first_delay_seconds: float = 0.0
    is_of_gpu: bool = False


def _tokens(per_second: float) -> Bound:
    return Bound(MAX_COUNT, per_second, _HOLD_SECONDS, _WAIT_SECONDS)


BOUNDS: Mapping[str, Bound] = {
    GPU_ENERGY: Bound(MAX_JOULES, MAX_GPU_WATTS, 2.0, _HOLD_SECONDS, is_of_gpu=True),
    GPU_COVERED: Bound(MAX_SECONDS, _CLOCK_RATIO, _HOLD_SECONDS, _HOLD_SECONDS),
    UNATTRIBUTED: Bound(MAX_JOULES, MAX_GPU_WATTS, _WAIT_SECONDS, _WAIT_SECONDS, is_of_gpu=True),
    WORKLOAD_ENERGY: Bound(MAX_JOULES, MAX_GPU_WATTS, _HOLD_SECONDS, _WAIT_SECONDS, is_of_gpu=True),
    WORKLOAD_COVERED: Bound(MAX_SECONDS, _CLOCK_RATIO, _HOLD_SECONDS, _WAIT_SECONDS),
    NODE_ENERGY: Bound(MAX_JOULES, MAX_WATTS["node"], _HOLD_SECONDS, _STEP_SECONDS),
    NODE_COVERED: Bound(MAX_SECONDS, _CLOCK_RATIO, _HOLD_SECONDS, _STEP_SECONDS),
    HOST_CPU_ENERGY: Bound(MAX_JOULES, MAX_WATTS["package"], _HOLD_SECONDS, _STEP_SECONDS),
    HOST_DRAM_ENERGY: Bound(MAX_JOULES, MAX_WATTS["dram"], _HOLD_SECONDS, _STEP_SECONDS),
    # The fastest known are a tenth of these: small models on the newest boards.
    OUTPUT_TOKENS: _tokens(1e5),
    EFFECTIVE_TOKENS: _tokens(1e5),
    WASTED_TOKENS: _tokens(1e6),
    PROMPT_TOKENS: _tokens(1e7),
    REQUESTS: _tokens(1e5),
    WORK: Bound(MAX_COUNT),
    **dict.fromkeys(BUCKETS, _tokens(1e5)),
}
OTHER = Bound(1e30)
"""Of cycles, bytes and operations, of which no figure called tokens per joule is made."""


def bound_of(name: str) -> Bound:
    return BOUNDS.get(name, OTHER)


def is_possible(name: str, value: float) -> bool:
    """Whether a counter of this name can have this value; NaN is none."""
    return 0.0 <= value <= bound_of(name).maximum
