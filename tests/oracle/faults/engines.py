"""Faults of engines: restarted, of several pages, in roles, behind one address, with neighbours that lie."""

import re
from contextlib import suppress
from itertools import cycle
from random import Random

from oracle.engine import TrueEngine
from oracle.faults.fault import Fault, Heal
from oracle.fleet import TrueFleet
from oracle.machine import TrueNode
from oracle.truth import Steps
from perwatt_agent.work.job import Reporting
from perwatt_agent.work.report import WorkRejected, WorkReport

ABSURD = ("NaN", "+Inf", "-1", "0", "1e308", "1e15")
_TOKENS = re.compile(r"(_tokens\w*\{.*\}) .*")
HOSTILE = Reporting("http", owner="user 1000", user=1000)


def _restarted_engine(fleet: TrueFleet, random: Random) -> None:
    random.choice(random.choice(fleet.nodes).engines).restart()


def _unreachable_engine(fleet: TrueFleet, random: Random) -> Heal | None:
    """A page that does not answer; it is not one of two processes, as only pages show that they are two."""
    engine = random.choice(random.choice(fleet.nodes).engines)
    if len(engine.processes) > 1:
        return None
    engine.is_reachable = False

    def heal() -> None:
        engine.is_reachable = True

    return heal


def _divided(fleet: TrueFleet, random: Random) -> tuple[TrueNode, TrueEngine, TrueEngine] | None:
    """Divide an engine on several GPUs into two ranks, of which each has a page; None if there is none."""
    wide = [(node, one) for node in fleet.nodes for one in node.engines if len(one.gpus) > 1]
    if not wide:
        return None
    node, first = random.choice(wide)
    part = random.uniform(0.2, 0.8)
    second = TrueEngine(
        f"{first.name}-rank-1", first.model, first.gpus[1:], first.rate.times(part), first.clock
    )
    second.processes[0].born += 0.25
    first.gpus, first.rate = first.gpus[:1], first.rate.times(1.0 - part)
    node.claims[first.name] = tuple(gpu.uuid for gpu in first.gpus)
    return node, first, second


def _several_pages(fleet: TrueFleet, random: Random) -> None:
    if divided := _divided(fleet, random):
        node, _, second = divided
        node.add_engine(second, tuple(gpu.uuid for gpu in second.gpus))


def _page_left_out(fleet: TrueFleet, random: Random) -> None:
    if divided := _divided(fleet, random):
        node, _, second = divided
        node.add_engine(second)


def _prefill(fleet: TrueFleet, random: Random) -> TrueNode | None:
    """Let one worker prefill for the other; None if no engine has several GPUs."""
    divided = _divided(fleet, random)
    if divided is None:
        return None
    node, decode, prefill = divided
    decode.rate = decode.rate.times(random.uniform(0.5, 1.5))
    decode.role, decode.decodes = "decode", True
    prefill.role, prefill.requests, prefill.rate = "prefill", decode.rate, Steps(0.0, 0.0)
    node.add_engine(prefill, tuple(gpu.uuid for gpu in prefill.gpus))
    return node


def _roles(fleet: TrueFleet, random: Random) -> None:
    _prefill(fleet, random)


def _hidden_roles(fleet: TrueFleet, random: Random) -> None:
    """Workers whose launch exchanges KV caches, and does not say who prefills."""
    if node := _prefill(fleet, random):
        node.hides_roles = True


def _two_in_turn(fleet: TrueFleet, random: Random) -> Heal | None:
    """
    Two processes behind the address of one page, each of which serves one to three pages at a time.

    The page can be read: until it has shown both, nothing tells one of two from an engine at half its rate.
    """
    engine = random.choice(random.choice(fleet.nodes).engines)
    if not engine.is_reachable:
        return None
    engine.divide()
    turns = cycle((0, 1))
    order = (process for process in turns for _ in range(random.randint(1, 3)))
    engine.turn = lambda: next(order)

    def heal() -> None:
        engine.turn = lambda: 0
        engine.restart()

    return heal


def _one_page_twice(fleet: TrueFleet, random: Random) -> None:
    """One page under two addresses, each for a part of the engine's GPUs."""
    node = random.choice(fleet.nodes)
    engine = random.choice(node.engines)
    uuids = tuple(gpu.uuid for gpu in engine.gpus)
    again = f"{engine.name}-again"
    node.pages[again] = engine
    node.claims[engine.name], node.claims[again] = uuids[:1], uuids[1:] or uuids


def _absurd_tokens(fleet: TrueFleet, random: Random) -> Heal:
    """A page on which some token counts are absurd at times."""
    engine = random.choice(random.choice(fleet.nodes).engines)

    def spoil(page: str) -> str:
        if random.random() < 0.5:
            return page
        return _TOKENS.sub(rf"\1 {random.choice(ABSURD)}", page)

    engine.spoil = spoil

    def heal() -> None:
        engine.spoil = None

    return heal


def _cut_page(fleet: TrueFleet, random: Random) -> Heal:
    """A page that ends somewhere at times."""
    engine = random.choice(random.choice(fleet.nodes).engines)
    engine.spoil = lambda page: page[: random.randrange(len(page))] if random.random() < 0.5 else page

    def heal() -> None:
        engine.spoil = None

    return heal


def _hostile_reports(fleet: TrueFleet, random: Random) -> Heal:
    """A neighbour that claims all GPUs, and reports work that nobody did."""
    node = random.choice(fleet.nodes)
    made = 0.0

    def report() -> None:
        nonlocal made
        made += random.choice((1.0, 1e3, 1e9))
        if node.registry is not None:
            with suppress(WorkRejected):
                node.registry.add(WorkReport("hostile", "samples", made, gpus="all", pid=4_242), HOSTILE)

    node.neighbours.append(report)

    def heal() -> None:
        node.neighbours.remove(report)

    return heal


ROWS = (
    Fault("an engine is restarted", _restarted_engine),
    Fault("an engine cannot be reached", _unreachable_engine),
    Fault("an engine has several pages", _several_pages, from_start=True),
    Fault("an engine has several pages, and one is not configured", _page_left_out, from_start=True),
    Fault("workers prefill and decode", _roles, from_start=True),
    Fault("workers prefill and decode, and nobody says which", _hidden_roles, from_start=True),
    Fault("two engines serve one page in turn", _two_in_turn),
    Fault("one page is configured twice", _one_page_twice, from_start=True),
    Fault("token counts are absurd at times", _absurd_tokens),
    Fault("an engine's page is cut at times", _cut_page),
    Fault("a neighbour reports work that nobody did", _hostile_reports),
)
