"""History of a simulated node: a state machine over its events, in the order of time."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from perwatt.simulate.catalog import ServedModel
from perwatt.simulate.events import EventKind, FleetEvent, PlannedEvent, PlannedKind
from perwatt.simulate.slot import Life, Slot, Totals

Reach = Literal["ok", "slow", "frozen", "unreachable"]

BIRTH_DELAY_SECONDS = 10.0
"""From the end of a workload, or the boot of its node, to the birth of its successor."""

NAMESPACE = "llm"
REPAIR_SECONDS = 180.0
RETRY_SECONDS = 60.0


class Stretch(Struct, frozen=True, eq=False):
    """
    A stretch of time in which a node as such does not change. Its counters began at `boot_unix_seconds`,
    when the sums of its slots were `at_boot`.

    `down` says that it has no page. `delay_seconds` is that of a slow page. `lost` are indices of GPUs
    with the time of their loss.
    """

    begin: float
    boot_unix_seconds: float
    agent_start: float
    at_boot: tuple[Totals, ...]
    down: bool = False
    reach: Reach = "ok"
    delay_seconds: float = 0.0
    lost: Mapping[int, float] = MappingProxyType({})


class NodeHistory:
    """
    What happens to one node. `advance` carries events out up to an instant; before that, any time can be
    asked for.

    *events* gives the planned events of a day; *days* when it begins.
    """

    def __init__(
        self,
        name: str,
        start: float,
        slots: Sequence[Slot],
        loading_seconds: float,
        events: Callable[[int], Sequence[PlannedEvent]],
        begin_of_day: Callable[[int], float],
    ) -> None:
        self._name = name
        self._loading_seconds = loading_seconds
        self._events_of_day = events
        self._begin_of_day = begin_of_day
        self._day = 0
        self._order = count()
        self._queue: list[tuple[float, int, Callable[[float], None]]] = []
        self._generations = [0] * len(slots)
        self._lives = count(1)
        self.slots = slots
        self.stretches: list[Stretch] = []
        self.events: list[FleetEvent] = []
        self._begins: list[float] = []
        self._change(Stretch(start, start, start, (Totals(),) * len(slots)))
        for slot in slots:
            if slot.model is None:
                slot.append(start, "unallocated")
            else:
                slot.append(start, "serving", self._born(slot.model, start, Totals()), is_new_engine=True)

    def advance(self, unix_seconds: float) -> None:
        """Carry out everything up to an instant."""
        while self._begin_of_day(self._day) <= unix_seconds:
            self._run_queue(self._begin_of_day(self._day))
            for event in self._events_of_day(self._day):
                self._at(event.unix_seconds, partial(self._carry_out, event))
            self._day += 1
        self._run_queue(unix_seconds)

    def _carry_out(self, event: PlannedEvent, now: float) -> None:
        _HANDLERS[event.kind](self, now, event)

    def stretch(self, unix_seconds: float) -> Stretch:
        return self.stretches[max(0, bisect_right(self._begins, unix_seconds) - 1)]

    def events_between(self, begin: float, end: float) -> list[FleetEvent]:
        """What happened after *begin* and up to *end*."""
        first, last = (
            bisect_right(self.events, unix, key=lambda event: event.unix_seconds) for unix in (begin, end)
        )
        return self.events[first:last]

    def _run_queue(self, unix_seconds: float) -> None:
        while self._queue and self._queue[0][0] <= unix_seconds:
            now, _, action = heapq.heappop(self._queue)
            action(now)

    def _at(self, unix_seconds: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._queue, (unix_seconds, next(self._order), action))

    def _for_slot(self, unix_seconds: float, slot: int, action: Callable[[float, int], None]) -> None:
        """Do it only if nothing else happened to the slot by then."""
        generation = self._generations[slot]

        def unless_overtaken(now: float) -> None:
            if self._generations[slot] == generation:
                action(now, slot)

        self._at(unix_seconds, unless_overtaken)

    @property
    def _now(self) -> Stretch:
        return self.stretches[-1]

    def _change(self, stretch: Stretch) -> None:
        self.stretches.append(stretch)
        self._begins.append(stretch.begin)

    def _log(self, now: float, kind: EventKind, slot: int | None = None, gpu: int | None = None) -> None:
        life = None if slot is None else self.slots[slot].last.life
        uuid = "" if gpu is None else f"SIM-{self._name}-{gpu}"
        self.events.append(FleetEvent(now, kind, self._name, life.name if life else "", uuid))

    def _born(self, model: ServedModel, now: float, totals: Totals) -> Life:
        pod = f"{model.short}-{self._name}-{next(self._lives)}"
        return Life(f"{NAMESPACE}/{pod}/{model.engine}", model, now, totals, NAMESPACE, pod)

    # What happens to one workload.

    def _birth(self, now: float, slot: int) -> None:
        one = self.slots[slot]
        blocked = self._now.down or self._now.lost.keys() & set(one.gpus)
        if one.model is None or blocked or one.last.life is not None:
            return
        one.append(now, "loading", self._born(one.model, now, one.totals(now)))
        self._generations[slot] += 1
        self._log(now, "birth", slot)
        self._for_slot(now + self._loading_seconds, slot, self._serve)

    def _serve(self, now: float, slot: int) -> None:
        one = self.slots[slot].last
        self.slots[slot].append(now, "serving", one.life, is_new_engine=True, shown=one.shown)
        self._generations[slot] += 1
        self._log(now, "serving", slot)

    def _end(self, now: float, slot: int) -> None:
        if self.slots[slot].last.life is not None:
            self._log(now, "end", slot)
            self.slots[slot].end_life(now)
            self._generations[slot] += 1

    def _engine_restart(self, now: float, event: PlannedEvent) -> None:
        slot = self.slots[event.slot]
        if slot.last.state == "serving":
            self._log(now, "engine_restart", event.slot)
            slot.append(now, "down", slot.last.life, shown=slot.shown(slot.last, now))
            self._generations[event.slot] += 1
            self._for_slot(now + event.seconds, event.slot, self._serve)

    def _replace(self, now: float, event: PlannedEvent) -> None:
        self._end(now, event.slot)
        self._for_slot(now + BIRTH_DELAY_SECONDS, event.slot, self._birth)

    def _pause(self, now: float, event: PlannedEvent) -> None:
        slot = self.slots[event.slot]
        if slot.last.state == "serving":
            slot.append(now, "paused", slot.last.life, shown=slot.shown(slot.last, now))
            self._generations[event.slot] += 1
            self._log(now, "pause", event.slot)
            self._for_slot(now + event.seconds, event.slot, self._resume)

    def _resume(self, now: float, slot: int) -> None:
        self._set_rate(now, slot, 1.0)
        self._log(now, "pause_end", slot)

    def _straggle(self, now: float, event: PlannedEvent) -> None:
        if self.slots[event.slot].last.state == "serving":
            self._set_rate(now, event.slot, event.factor)
            self._log(now, "straggler", event.slot)
            self._for_slot(now + event.seconds, event.slot, self._recover)

    def _recover(self, now: float, slot: int) -> None:
        self._set_rate(now, slot, 1.0)
        self._log(now, "straggler_end", slot)

    def _set_rate(self, now: float, slot: int, factor: float) -> None:
        one = self.slots[slot]
        last, shown = one.last, one.shown(one.last, now)
        one.append(now, "serving", last.life, rate_factor=factor, shown=shown)
        self._generations[slot] += 1

    # What happens to the node.

    def _reboot(self, now: float, event: PlannedEvent) -> None:
        if self._now.down:
            return
        self._log(now, "reboot")
        for slot in range(len(self.slots)):
            self._end(now, slot)
        self._change(replace(self._now, begin=now, down=True, reach="ok"))
        self._at(now + event.seconds, self._boot)

    def _boot(self, now: float) -> None:
        self._log(now, "boot")
        self._change(Stretch(now, now, now, tuple(slot.totals(now) for slot in self.slots)))
        for number in range(len(self.slots)):
            self._for_slot(now + BIRTH_DELAY_SECONDS, number, self._birth)

    def _agent_restart(self, now: float, event: PlannedEvent) -> None:
        if not self._now.down:
            self._log(now, "agent_restart")
            self._change(replace(self._now, begin=now, down=True, reach="ok"))
            stretch = self._now
            self._at(now + event.seconds, lambda then: self._agent_up(then, stretch))

    def _agent_up(self, now: float, stretch: Stretch) -> None:
        if self._now is stretch:
            self._log(now, "agent_up")
            self._change(replace(stretch, begin=now, agent_start=now, down=False))

    def _gpu_lost(self, now: float, event: PlannedEvent) -> None:
        if self._now.down:
            return
        self._log(now, "gpu_lost", event.slot, event.gpu)
        self._end(now, event.slot)
        self._change(replace(self._now, begin=now, lost={**self._now.lost, event.gpu: now}))
        self._at(now + event.seconds, self._repair)

    def _repair(self, now: float) -> None:
        if self._now.down:
            self._at(now + RETRY_SECONDS, self._repair)
        elif self._now.lost:
            self._reboot(now, PlannedEvent(now, "reboot", 0, seconds=REPAIR_SECONDS))

    def _reach(self, now: float, event: PlannedEvent) -> None:
        if self._now.down:
            return
        reach: dict[str, Reach] = {"slow": "slow", "frozen": "frozen", "unreachable": "unreachable"}
        self._log(now, event.kind)
        delay = event.factor if event.kind == "slow" else 0.0
        self._change(replace(self._now, begin=now, reach=reach[event.kind], delay_seconds=delay))
        self._at(now + event.seconds, self._reachable)

    def _reachable(self, now: float) -> None:
        if not self._now.down and self._now.reach != "ok":
            self._log(now, "reachable")
            self._change(replace(self._now, begin=now, reach="ok", delay_seconds=0.0))


_HANDLERS: dict[PlannedKind, Callable[[NodeHistory, float, PlannedEvent], None]] = {
    "reboot": NodeHistory._reboot,
    "agent_restart": NodeHistory._agent_restart,
    "engine_restart": NodeHistory._engine_restart,
    "replace": NodeHistory._replace,
    "end": lambda history, now, event: history._end(now, event.slot),
    "birth": lambda history, now, event: history._birth(now, event.slot),
    "gpu_lost": NodeHistory._gpu_lost,
    "straggler": NodeHistory._straggle,
    "pause": NodeHistory._pause,
    "slow": NodeHistory._reach,
    "frozen": NodeHistory._reach,
    "unreachable": NodeHistory._reach,
}
