"""Simulated fleet: the pages of all nodes at any instant, without a clock and without a network."""

from perwatt.simulate.agent_events import event_ring
from perwatt.simulate.catalog import MODELS, SITES
from perwatt.simulate.events import FleetEvent
from perwatt.simulate.history import NodeHistory
from perwatt.simulate.load import DAY_LEVELS, DayLoad
from perwatt.simulate.node import Node, make_identity, make_slots
from perwatt.simulate.plan import FleetPlan
from perwatt.simulate.schedule import Schedule, SlotOf
from perwatt.simulate.snapshot import snapshot_of
from perwatt.simulate.template import Template, Templates
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.event import Event
from perwatt_agent.facts.snapshot import Snapshot


class Fleet:
    """
    The nodes of a plan. Everything is a function of time; time before the plan's start does not exist.

    An instant may be asked for in any order; answers are the same.
    """

    def __init__(self, plan: FleetPlan) -> None:
        self.plan = plan
        self._shapes = Templates()
        self._templates: dict[int, Template] = {}
        self._slots: dict[str, list[SlotOf]] = {model.name: [] for model in MODELS}
        self._schedule = Schedule(plan, lambda model: self._slots[model])
        loads = {
            (model.name, site.facility): DayLoad(DAY_LEVELS, plan.day_seconds, site.day_offset)
            for model in MODELS
            for site in SITES
        }
        self.nodes = [self._node(number, loads) for number in range(plan.nodes)]

    def _node(self, number: int, loads: dict[tuple[str, str], DayLoad]) -> Node:
        identity = make_identity(self.plan, number)
        slots = make_slots(self.plan, identity, loads)
        for place, slot in enumerate(slots):
            if slot.model is not None:
                self._slots[slot.model.name].append((number, place))
        held = [slot.gpus for slot in slots]
        history = NodeHistory(
            identity.name,
            self.plan.start_unix_seconds,
            slots,
            self.plan.loading_seconds,
            lambda day: self._schedule.of_day(number, day, held),
            self._schedule.begin_of,
        )
        return Node(identity, history)

    def at(self, number: int, unix_seconds: float) -> Node:
        """A node of which everything has happened up to an instant."""
        node = self.nodes[number]
        node.history.advance(unix_seconds)
        return node

    def page(self, number: int, unix_seconds: float) -> bytes | None:
        """The page of a node's agent; None while the node or the agent is down."""
        node = self.at(number, unix_seconds)
        if node.history.stretch(unix_seconds).down:
            return None
        layout, numbers = node.page(unix_seconds)
        template = self._templates.get(number)
        if template is None or template.layout != layout:
            template = self._shapes.template(node.identity, layout, len(numbers))
            self._templates[number] = template
        return template.fill(numbers)

    def snapshot(self, number: int, unix_seconds: float) -> Snapshot | None:
        """What the page of a node shows, as the agent would publish it."""
        node = self.at(number, unix_seconds)
        if node.history.stretch(unix_seconds).down:
            return None
        return snapshot_of(node.identity, *node.page(unix_seconds))

    def event_ring(self, number: int, unix_seconds: float) -> EventRing[Event] | None:
        """The events that a node's agent reports; None while the node or the agent is down."""
        node = self.at(number, unix_seconds)
        stretch = node.history.stretch(unix_seconds)
        if stretch.down:
            return None
        run = f"{stretch.agent_start:.0f}"
        happened = node.agent_events(unix_seconds)
        return event_ring(run, happened, node.identity.clock_offset_seconds)

    def events(self, begin: float, end: float) -> list[FleetEvent]:
        """What happened after *begin* and up to *end*, in the order of time."""
        happened: list[FleetEvent] = []
        for node in self.nodes:
            node.history.advance(end)
            happened += node.history.events_between(begin, end)
        return sorted(happened, key=lambda event: event.unix_seconds)
