"""Faults of the oracle, one row each: what spoils a fleet at a random moment, and what heals it."""

from collections.abc import Callable
from random import Random
from typing import Literal

from msgspec import Struct

from oracle.fleet import TrueFleet
from oracle.machine import TrueGpu, TrueNode
from oracle.truth import Steps
from perwatt_agent.gpu.backend import GpuFailure

Heal = Callable[[], None]


class Fault(Struct, frozen=True):
    """
    `begin` spoils a fleet and returns what heals it, or None where nothing does.

    With `from_start` it begins before the first agent does.
    """

    name: str
    begin: Callable[[TrueFleet, Random], Heal | None]
    from_start: bool = False


def _gpu(fleet: TrueFleet, random: Random) -> tuple[TrueNode, TrueGpu]:
    node = random.choice(fleet.nodes)
    return node, random.choice(node.gpus)


def _unlisted(fleet: TrueFleet, random: Random) -> None:
    """A GPU that the driver never lists, though configuration names it."""
    _, gpu = _gpu(fleet, random)
    gpu.is_listed = False


def _claimed_by_index(fleet: TrueFleet, random: Random) -> None:
    """Claims by index, of which one is not there."""
    node, gpu = _gpu(fleet, random)
    for engine in node.engines:
        node.claims[engine.name] = tuple(one.index for one in engine.gpus)
    gpu.is_listed = False


def _claimed_as_all(fleet: TrueFleet, random: Random) -> None:
    """An engine for all GPUs of a machine, of which one is lost from the start."""
    node, gpu = _gpu(fleet, random)
    engine = node.engines[0]
    del node.engines[1:]
    engine.gpus = tuple(node.gpus)
    node.claims[engine.name] = "all"
    gpu.failure = lambda: GpuFailure("lost", "lost", "it fell off the bus")


def _nameless(fleet: TrueFleet, random: Random) -> None:
    """A GPU that the driver counts, and that never gives its UUID."""
    _, gpu = _gpu(fleet, random)
    gpu.has_identity = False


def _display_card(fleet: TrueFleet, random: Random) -> None:
    """A card without a sensor that nobody uses, beside an engine for all GPUs of the machine."""
    node, gpu = _gpu(fleet, random)
    engine = node.engines[0]
    del node.engines[1:]
    card = TrueGpu(f"{gpu.uuid}-card", len(node.gpus), Steps(fleet.clock.monotonic() - 10.0, 30.0))
    card.has_sensor = False
    node.gpus.append(card)
    engine.gpus = tuple(node.gpus)
    node.claims[engine.name] = "all"


def _without_sensors(fleet: TrueFleet, random: Random) -> None:
    """A machine none of whose GPUs has a power sensor."""
    for gpu in random.choice(fleet.nodes).gpus:
        gpu.has_sensor = False


def _failing(state: Literal["lost", "error"]) -> Callable[[TrueFleet, Random], Heal]:
    def begin(fleet: TrueFleet, random: Random) -> Heal:
        _, gpu = _gpu(fleet, random)
        gpu.failure = lambda: GpuFailure(state, state, "it does not answer")

        def heal() -> None:
            gpu.failure = None

        return heal

    return begin


def _reload(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).backend.reload()


def _dead_agent(fleet: TrueFleet, random: Random) -> Heal:
    node = random.choice(fleet.nodes)
    node.stop_agent()
    return node.restart_agent


def _never_seen(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).answers = False


def _unreachable(fleet: TrueFleet, random: Random) -> Heal:
    node = random.choice(fleet.nodes)
    node.answers = False

    def heal() -> None:
        node.answers = True

    return heal


def _restarted_agent(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).restart_agent()


def _restarted_without_a_gpu(fleet: TrueFleet, random: Random) -> None:
    """A reboot after which a GPU is gone, and those behind it have moved up by one."""
    node, gpu = _gpu(fleet, random)
    gpu.is_listed = False
    for engine in node.engines:
        node.claims[engine.name] = tuple(one.index for one in engine.gpus)
    listed = [one for one in node.gpus if one.is_listed]
    for index, one in enumerate(listed):
        one.index = index
    node.backend.reload()
    node.restart_agent()


def _restarted_aggregator(fleet: TrueFleet, random: Random) -> None:
    fleet.start_aggregator()


def _restarted_aggregator_without_a_node(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).answers = False
    fleet.start_aggregator()


def _scaled_counter(fleet: TrueFleet, random: Random) -> None:
    _, gpu = _gpu(fleet, random)
    gpu.counter_scale = random.choice((0.001, 0.5, 1.3, 1.75))


def _stopped_counter(fleet: TrueFleet, random: Random) -> Heal:
    _, gpu = _gpu(fleet, random)
    gpu.counter_stops_at = fleet.clock.monotonic()

    def heal() -> None:
        gpu.counter_stops_at = None

    return heal


def _no_counter(fleet: TrueFleet, random: Random) -> None:
    for gpu in random.choice(fleet.nodes).gpus:
        gpu.has_counter = False


def _no_sensor(fleet: TrueFleet, random: Random) -> None:
    _, gpu = _gpu(fleet, random)
    gpu.has_sensor = False


def _one_uuid(fleet: TrueFleet, random: Random) -> None:
    node, gpu = _gpu(fleet, random)
    random.choice(node.gpus).uuid = gpu.uuid


def _restarted_engine(fleet: TrueFleet, random: Random) -> None:
    random.choice(random.choice(fleet.nodes).engines).restart()


def _unreachable_engine(fleet: TrueFleet, random: Random) -> Heal:
    engine = random.choice(random.choice(fleet.nodes).engines)
    engine.is_reachable = False

    def heal() -> None:
        engine.is_reachable = True

    return heal


FAULTS: tuple[Fault, ...] = (
    Fault("a claimed GPU is not listed", _unlisted, from_start=True),
    Fault("a GPU claimed by index is not listed", _claimed_by_index, from_start=True),
    Fault("a GPU of all is lost from the start", _claimed_as_all, from_start=True),
    Fault("a GPU has no identity", _nameless, from_start=True),
    Fault("a GPU is lost", _failing("lost")),
    Fault("a GPU fails", _failing("error")),
    Fault("the driver is reloaded", _reload),
    Fault("an agent is dead", _dead_agent),
    Fault("a node was never seen", _never_seen, from_start=True),
    Fault("a node cannot be reached", _unreachable),
    Fault("an agent is restarted", _restarted_agent),
    Fault("a machine is restarted without a GPU", _restarted_without_a_gpu),
    Fault("the aggregator is restarted", _restarted_aggregator),
    Fault("the aggregator is restarted, and a node is gone", _restarted_aggregator_without_a_node),
    Fault("an energy counter has another scale", _scaled_counter, from_start=True),
    Fault("an energy counter stands still", _stopped_counter),
    Fault("a node has no energy counters", _no_counter, from_start=True),
    Fault("a GPU has no power sensor", _no_sensor, from_start=True),
    Fault("a display card has no power sensor", _display_card, from_start=True),
    Fault("no GPU of a node has a power sensor", _without_sensors, from_start=True),
    Fault("two GPUs have one UUID", _one_uuid, from_start=True),
    Fault("an engine is restarted", _restarted_engine),
    Fault("an engine cannot be reached", _unreachable_engine),
)
