"""Slot: the GPUs that one workload after another holds on a node, with exact sums over any time."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from perwatt.simulate.catalog import Board, ServedModel
from perwatt.simulate.load import POWER_EXPONENT, DayLoad, Levels

SlotState = Literal["unallocated", "loading", "serving", "paused", "down"]
"""An engine that is paused has no request."""


class Totals(NamedTuple):
    """
    Sums of a slot since the fleet's start, never reset.

    Joules are of one GPU with a power factor of 1. `tokens` are output tokens of the engine.
    """

    unallocated: float = 0.0
    loading: float = 0.0
    idle: float = 0.0
    active: float = 0.0
    tokens: float = 0.0
    busy_seconds: float = 0.0

    @property
    def board(self) -> float:
        return self.unallocated + self.loading + self.idle + self.active


class Life(Struct, frozen=True, eq=False):
    """One workload from its birth on, with the sums of its slot at its birth. Compared by identity."""

    name: str
    model: ServedModel
    begin: float
    at_begin: Totals
    namespace: str
    pod: str


class Shown(NamedTuple):
    """When the agent made the reading that it shows, and the slot's tokens before the engine began."""

    instant: float
    tokens_before: float


class Segment(Struct, frozen=True, eq=False):
    """
    A stretch of time in which a slot does not change. `at_begin` are the sums up to its begin.

    `shown` is what the agent shows until it reads the engine in this segment; None if it never read it.
    `engine_begin` is when the engine's process began to count, after `tokens_before` of the slot.
    """

    begin: float
    state: SlotState
    at_begin: Totals
    life: Life | None = None
    engine_begin: float = 0.0
    tokens_before: float = 0.0
    rate_factor: float = 1.0
    shown: Shown | None = None
    load_at_begin: Levels = Levels(0.0, 0.0, 0.0)


class EndedLife(Struct, frozen=True, eq=False):
    """A workload that ended, with what the agent read last."""

    life: Life
    end: float
    shown: Shown | None


class Slot:
    """
    The history of one slot. Changes are appended in the order of time; any earlier time can be asked for.

    *scale* is the share of the fleet's load that comes here. *read_phase* is when the agent reads the engine,
    every *read_seconds*. A slot without a model is never used.
    """

    def __init__(
        self,
        gpus: tuple[int, ...],
        model: ServedModel | None,
        board: Board,
        load: DayLoad,
        scale: float,
        read_phase: float,
        read_seconds: float,
    ) -> None:
        self.gpus = gpus
        self.model = model
        self.board = board
        self.load = load
        if model is not None:
            self.tokens_per_second = model.tokens_per_second * scale
            self.watts_above_held = (model.busy_watts - model.held_watts) * scale**POWER_EXPONENT
        self._read_phase = read_phase
        self._read_seconds = read_seconds
        self.segments: list[Segment] = []
        self.ended: list[EndedLife] = []
        self._begins: list[float] = []
        self._ends: list[float] = []

    @property
    def last(self) -> Segment:
        return self.segments[-1]

    def append(
        self,
        begin: float,
        state: SlotState,
        life: Life | None = None,
        *,
        is_new_engine: bool = False,
        rate_factor: float = 1.0,
        shown: Shown | None = None,
    ) -> None:
        """From *begin* on, the slot is in another state; a new engine counts from 0."""
        at_begin = self.totals_in(self.last, begin) if self.segments else Totals()
        engine = (begin, at_begin.tokens)
        if not is_new_engine and self.segments:
            engine = (self.last.engine_begin, self.last.tokens_before)
        load = self.load.integral(begin)
        self.segments.append(Segment(begin, state, at_begin, life, *engine, rate_factor, shown, load))
        self._begins.append(begin)

    def end_life(self, end: float) -> None:
        """The workload ends, and its GPUs are unallocated from then on."""
        life = self.last.life
        if life is not None:
            self.ended.append(EndedLife(life, end, self.shown(self.last, end)))
            self._ends.append(end)
        self.append(end, "unallocated")

    def segment(self, unix_seconds: float) -> Segment:
        return self.segments[max(0, bisect_right(self._begins, unix_seconds) - 1)]

    def segments_between(self, begin: float, end: float) -> Iterator[tuple[Segment, float, float]]:
        """The segments from *begin* to *end*, each with its part of that time."""
        place = max(0, bisect_right(self._begins, begin) - 1)
        while place < len(self.segments) and self._begins[place] < end:
            after = self._begins[place + 1] if place + 1 < len(self.segments) else end
            yield self.segments[place], max(begin, self._begins[place]), min(after, end)
            place += 1

    def totals(self, unix_seconds: float) -> Totals:
        """The sums from the fleet's start to an instant."""
        return self.totals_in(self.segment(unix_seconds), unix_seconds)

    def totals_in(self, segment: Segment, unix_seconds: float) -> Totals:
        """The same, if the segment of the instant is known."""
        seconds, before, model = unix_seconds - segment.begin, segment.at_begin, self.model
        if segment.state == "serving" and model is not None:
            now, then = self.load.integral(unix_seconds), segment.load_at_begin
            busy = now.busy - then.busy
            idle = model.held_watts * (seconds - busy)
            above = self.watts_above_held * (now.power - then.power)
            tokens = self.tokens_per_second * segment.rate_factor * (now.throughput - then.throughput)
            return Totals(
                before.unallocated,
                before.loading,
                before.idle + idle,
                before.active + model.held_watts * busy + above,
                before.tokens + tokens,
                before.busy_seconds + busy,
            )
        if segment.state == "paused" and model is not None:
            return before._replace(idle=before.idle + model.held_watts * seconds)
        if segment.state == "unallocated" or model is None:
            return before._replace(unallocated=before.unallocated + self.board.idle_watts * seconds)
        return before._replace(loading=before.loading + model.loading_watts * seconds)

    def watts(self, unix_seconds: float) -> tuple[float, float]:
        """Power of one GPU with a power factor of 1, and its utilization, at an instant."""
        state, model = self.segment(unix_seconds).state, self.model
        if state == "unallocated" or model is None:
            return self.board.idle_watts, 0.0
        if state == "paused":
            return model.held_watts, 0.0
        if state != "serving":
            return model.loading_watts, 0.0
        level = self.load.at(unix_seconds)
        return model.held_watts + self.watts_above_held * level.power, level.busy

    def level(self, unix_seconds: float) -> float:
        """Throughput at an instant, as a share of full load."""
        is_serving = self.segment(unix_seconds).state == "serving"
        return self.load.at(unix_seconds).throughput if is_serving else 0.0

    def reading(self, unix_seconds: float) -> float:
        """When the agent read the engine last."""
        phase, every = self._read_phase, self._read_seconds
        return math.floor((unix_seconds - phase) / every) * every + phase

    def shown(self, segment: Segment, unix_seconds: float) -> Shown | None:
        """The latest reading of the engine of a segment; None before the first one."""
        if segment.state in ("serving", "paused"):
            instant = self.reading(unix_seconds)
            if instant >= segment.engine_begin:
                return Shown(instant, segment.tokens_before)
        return segment.shown

    def ended_since(self, unix_seconds: float, now: float) -> list[EndedLife]:
        """The workloads that ended after *unix_seconds* and not after *now*."""
        return self.ended[bisect_right(self._ends, unix_seconds) : bisect_right(self._ends, now)]
