"""Schedule of a fleet's events, day by day: random faults of each node, and rolling deployments."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from perwatt.simulate.catalog import MODELS
from perwatt.simulate.events import PlannedEvent
from perwatt.simulate.plan import DAY_SECONDS, FleetPlan, Rates

SlotOf = tuple[int, int]
"""The numbers of a node and of one of its slots."""


class Schedule:
    """
    All events of a plan. Each node's day has a random generator of its own, so that no order of questions
    changes the answer. *slots* gives the slots of a model.
    """

    def __init__(self, plan: FleetPlan, slots: Callable[[str], Sequence[SlotOf]]) -> None:
        self._plan = plan
        self._slots = slots
        self._rollouts: dict[int, dict[int, list[PlannedEvent]]] = {}
        self._given: dict[int, list[PlannedEvent]] = {}
        for event in plan.events:
            self._given.setdefault(event.node, []).append(event)

    def of_day(self, node: int, day: int, slots: Sequence[Sequence[int]]) -> list[PlannedEvent]:
        """The events of a node in a day after the fleet's start; *slots* are the GPUs of its used slots."""
        begin = self.begin_of(day)
        given = [
            event
            for event in self._given.get(node, ())
            if begin <= event.unix_seconds < begin + self._plan.day_seconds
        ]
        rolled = self._rollout(day).get(node, [])
        return sorted(
            [*given, *rolled, *self._random(node, day, slots)], key=lambda event: event.unix_seconds
        )

    def begin_of(self, day: int) -> float:
        return self._plan.start_unix_seconds + day * self._plan.day_seconds

    def _random(self, node: int, day: int, slots: Sequence[Sequence[int]]) -> Iterator[PlannedEvent]:
        plan = self._plan
        if not plan.rates_factor:
            return
        random = Random(f"{plan.seed}/{node}/{day}")
        for rates in plan.rates:
            expected = rates.a_day * plan.rates_factor
            count = int(expected) + (random.random() < expected % 1.0)
            for _ in range(count):
                yield self._event(random, rates, node, self.begin_of(day), slots)

    def _event(
        self, random: Random, rates: Rates, node: int, begin: float, slots: Sequence[Sequence[int]]
    ) -> PlannedEvent:
        slot = random.randrange(len(slots)) if slots else 0
        seconds = random.uniform(*rates.seconds)
        if rates.lasts_with_day:
            seconds *= self._plan.day_seconds / DAY_SECONDS
        return PlannedEvent(
            begin + random.random() * self._plan.day_seconds,
            rates.kind,
            node,
            slot,
            random.choice(slots[slot]) if slots else 0,
            seconds,
            random.uniform(*rates.factor),
        )

    def _rollout(self, day: int) -> dict[int, list[PlannedEvent]]:
        """The replacements of a day, by node."""
        if self._plan.rollout is None:
            return {}
        if day not in self._rollouts:
            self._rollouts[day] = {}
            for event in self._replacements(day):
                self._rollouts[day].setdefault(event.node, []).append(event)
        return self._rollouts[day]

    def _replacements(self, day: int) -> Iterator[PlannedEvent]:
        plan, rollout = self._plan, self._plan.rollout
        if rollout is None:
            return
        model = MODELS[day % len(MODELS)]
        slots = list(self._slots(model.name))
        Random(f"{plan.seed}/rollout/{day}").shuffle(slots)
        chosen = slots[: rollout.workloads]
        spacing = (rollout.end - rollout.begin) * plan.day_seconds / max(1, len(chosen))
        begin = self.begin_of(day) + rollout.begin * plan.day_seconds
        for place, (node, slot) in enumerate(chosen):
            yield PlannedEvent(begin + place * spacing, "replace", node, slot)
