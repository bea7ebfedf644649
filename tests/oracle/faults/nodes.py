"""Faults of nodes, agents and the aggregator: dead, restarted, confused."""

from random import Random

from oracle.faults.fault import Fault, Heal
from oracle.fleet import TrueFleet

HOUR_SECONDS = 3_600.0


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


def _restarted_aggregator(fleet: TrueFleet, random: Random) -> None:
    fleet.start_aggregator()


def _restarted_aggregator_without_a_node(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).answers = False
    fleet.start_aggregator()


def _without_state(fleet: TrueFleet, random: Random) -> None:
    """An agent that is killed, and whose folder in memory is gone."""
    node = random.choice(fleet.nodes)
    node.stop_agent()
    node.lose_state()
    node.restart_agent()


def _old_state(fleet: TrueFleet, random: Random) -> Heal:
    """An agent that is killed, and finds the state of long ago: a backup was put back."""
    node = random.choice(fleet.nodes)
    put_back = node.copy_state()

    def heal() -> None:
        node.stop_agent()
        put_back()
        node.restart_agent()

    return heal


def _wrong_clock(fleet: TrueFleet, random: Random) -> None:
    clock = random.choice(fleet.nodes).clock
    clock.offset_seconds = random.choice((-1.0, 1.0)) * random.choice((90.0, HOUR_SECONDS))


def _two_in_turn(fleet: TrueFleet, random: Random) -> Heal:
    """Two agents behind one address, as behind a load balancer."""
    source, other = random.choice(fleet.sources), random.choice(fleet.nodes)
    serves = source.serves
    source.serves = lambda: random.choice((source.node, other))

    def heal() -> None:
        source.serves = serves

    return heal


def _two_addresses(fleet: TrueFleet, random: Random) -> None:
    """One agent that is configured by its name, and by an address of its own."""
    number = random.randrange(len(fleet.nodes))
    fleet.add_source(f"10.0.{len(fleet.sources)}.{number}", fleet.nodes[number])
    fleet.start_aggregator()


ROWS = (
    Fault("an agent is dead", _dead_agent),
    Fault("a node was never seen", _never_seen, from_start=True),
    Fault("a node cannot be reached", _unreachable),
    Fault("an agent is restarted", _restarted_agent),
    Fault("an agent is killed, and its state is lost", _without_state),
    Fault("an agent is killed, and its state is old", _old_state),
    Fault("a node's clock is wrong", _wrong_clock, from_start=True),
    Fault("a node's clock is set", _wrong_clock),
    Fault("two agents serve one address in turn", _two_in_turn),
    Fault("one agent has two addresses", _two_addresses, from_start=True),
    Fault("the aggregator is restarted", _restarted_aggregator),
    Fault("the aggregator is restarted, and a node is gone", _restarted_aggregator_without_a_node),
)
