"""What the history costs: CPU of a tick of a fleet, bytes of a kept value, and how fast a day is answered."""

import asyncio
import math
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import MIB, Plan, quantile
from benchmarks.tools.report import Section, Target, table
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import START_UNIX_SECONDS, FleetPlan
from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.answers.history.series import history_answer
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.reader import HistoryQuery, HistoryReader
from perwatt_aggregator.history.roll_up import rolled_up
from perwatt_aggregator.history.store import HistoryStore
from perwatt_aggregator.history.values import Kept, Tick
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.targets.config import agents_at

NODES = 1000
INTERVAL_SECONDS = 15.0
FILLING_TICKS = 10
TICKS = 8
DAY_SECONDS = 86_400
ANSWERS = 40
BY_NODE_ANSWERS = 4
SPREAD = 0.1


class Cost(Struct, frozen=True):
    """CPU seconds of one tick of the fleet to make and to keep, as means; its owners, and a newest tick."""

    make_seconds: float
    keep_seconds: float
    tick: Tick


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """A thousand nodes of 8 GPUs, read and recorded every 15 s; then a day of such ticks."""
    with tempfile.TemporaryDirectory() as folder:
        cost = asyncio.run(_recorded(Path(folder) / "ticks.db"))
        value_bytes, tick_bytes = _value_bytes(Path(folder) / "bytes.db", cost.tick)
        day = _day(Path(folder) / "model.db", rolled_up(cost.tick), 60)
        minutes, model = (_asked(day, step, ("model",), ANSWERS) for step in (60, 900))
        node = _asked(_day(Path(folder) / "node.db", cost.tick, 900), 900, ("node",), BY_NODE_ANSWERS)
    cpu = 100.0 * (cost.make_seconds + cost.keep_seconds) / INTERVAL_SECONDS
    asked = {
        "a day by model, steps of 15 min": model,
        "a day by model, steps of 1 min": minutes,
        "a day by node, steps of 15 min": node,
    }
    rows = [
        (question, *(f"{1e3 * quantile(took, share):.0f}" for share in (0.5, 0.99)))
        for question, took in asked.items()
    ]
    text = (
        f"{NODES} simulated nodes of 8 GPUs: a tick has {len(cost.tick.owners)} owners, and takes "
        f"{1e3 * cost.make_seconds:.0f} ms to make and {1e3 * cost.keep_seconds:.0f} ms to keep, minutes and "
        f"quarters of an hour included. It has {tick_bytes / MIB:.2f} MiB, {value_bytes:.2f} bytes for each "
        f"value that is not 0.\n\n{table(('Question', 'p50, ms', 'p99, ms'), rows)}"
    )
    targets = (
        Target("history, 1,000 nodes x 8 GPUs every 15 s, CPU", 2.0, cpu, "% of a core"),
        Target("history, bytes of a kept value", 5.0, value_bytes, "bytes"),
        Target(
            "`/v1/history` of a day by model, steps of 15 min, p99", 100.0, 1e3 * quantile(model, 0.99), "ms"
        ),
    )
    return Section("What the history costs", text, targets)


async def _recorded(path: Path) -> Cost:
    """A fleet on a clock by hand; only ticks are measured, not the pages."""
    fleet, clock = Fleet(FleetPlan(nodes=NODES)), ManualClock(unix_seconds=START_UNIX_SECONDS)
    urls = [f"http://{node.identity.name}:9836/metrics" for node in fleet.nodes]
    aggregator = Aggregator(AggregatorConfig(agents_at(*urls), INTERVAL_SECONDS), clock)
    readers = [PageReader() for _ in urls]
    store = HistoryStore(HistoryConfig(path=path), path)
    make = keep = 0.0
    for index in range(FILLING_TICKS + TICKS):
        clock.advance(INTERVAL_SECONDS)
        for number, node in enumerate(aggregator.nodes):
            page = fleet.page(number, clock.unix())
            if page is None:
                node.fail("unreachable")
            else:
                node.add(readers[number].read(page, clock.monotonic()), clock.unix())
        begun = time.process_time()
        tick = await aggregator.tick(int(clock.unix()) - 15, 15)
        made = time.process_time()
        store.add(tick)
        kept = time.process_time()
        if index >= FILLING_TICKS:
            make, keep = make + made - begun, keep + kept - made
    store.close()
    return Cost(make / TICKS, keep / TICKS, tick)


def _value_bytes(path: Path, tick: Tick) -> tuple[float, int]:
    """Bytes of the file for each value that is not 0, and of a tick; over ticks with a load that varies."""
    store = HistoryStore(HistoryConfig(path=path), path)
    ticks = [_varied(tick, int(START_UNIX_SECONDS) + 15 * index, 15, index) for index in range(4 * 16)]
    store.add(ticks[0])
    before = store.bytes
    values = 0
    for one in ticks[1:]:
        store.add(one)
        # Of the owners alone: sums by model, minutes and quarters of an hour come on top of the bytes.
        values += sum(
            1 for kept in one.owners.values() for value in kept.values if value and not math.isnan(value)
        )
    after = store.bytes
    store.close()
    coarser = (1 + 1 / 4 + 1 / 60) * values
    return (after - before) / coarser, (after - before) // (len(ticks) - 1)


def _varied(tick: Tick, start: int, seconds: int, seed: int) -> Tick:
    """The same owners with other amounts, as of another time."""
    noise = random.Random(seed)
    owners = {
        owner: Kept(
            [
                value * noise.uniform(1.0 - SPREAD, 1.0 + SPREAD) if place > 3 else value
                for place, value in enumerate(kept.values)
            ],
            kept.flags,
        )
        for owner, kept in tick.owners.items()
    }
    return Tick(start, seconds, owners)


def _day(path: Path, tick: Tick, seconds: int) -> Path:
    """A day of ticks of so many seconds."""
    store = HistoryStore(HistoryConfig(path=path), path)
    for start in range(int(START_UNIX_SECONDS), int(START_UNIX_SECONDS) + DAY_SECONDS, seconds):
        store.add(_varied(tick, start, seconds, start))
    store.close()
    return path


def _asked(path: Path, step: int, by: tuple[str, ...], times: int) -> list[float]:
    """The seconds that each answer took, to JSON."""
    reader, took = HistoryReader(path), list[float]()
    start = int(START_UNIX_SECONDS)
    query = HistoryQuery(start, start + DAY_SECONDS, step, by)
    for _ in range(times):
        begun = time.perf_counter()
        msgspec.json.encode(history_answer(reader.sums(query), query, ("node",), ()))
        took.append(time.perf_counter() - begun)
    return took
