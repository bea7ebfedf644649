"""What the aggregator costs for 50, 200 and 1,000 simulated nodes, how fast it answers, and how right."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
import uvloop
from msgspec import Struct
from support.agent.process import free_port, get

from benchmarks.parts.fleet import answers
from benchmarks.peers.exporters import Exporter, process
from benchmarks.tools.harness import MIB, Plan, measured, quantile, rss_bytes, wait_until
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import Scraper

NODES = (50, 200, 1000)
INTERVAL_SECONDS = 15.0
# A window of a minute is full, and every node was read once more.
SETTLE_SECONDS = 90.0
REQUESTS_PER_SECOND = 5.0
BY_MODEL, BY_NODE = TOPICS = ("/v1/efficiency?by=model", "/v1/efficiency?by=node")


class Cost(Struct, frozen=True):
    """
    One fleet: CPU as a share of a core, memory, seconds of each answer by topic, and errors.

    `error_ratio` is the largest error of a model's tokens per joule, against the simulator's truth.
    """

    nodes: int
    share: float
    rss: int
    took: Mapping[str, Sequence[float]]
    failures: int
    error_ratio: float


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Fleets of several sizes, each with an aggregator and a simulator of its own."""
    costs = [_cost(nodes, plan) for nodes in NODES]
    return _section(costs)


def _cost(nodes: int, plan: Plan) -> Cost:
    """The simulator is a process of its own, and its CPU is not counted."""
    port, fleet_port = free_port(), free_port()
    simulator = [sys.executable, "-m", "perwatt.main", "simulate", "--nodes", str(nodes), "--faults", "none"]
    simulator += ["--web.listen-address", f"127.0.0.1:{fleet_port}"]
    with tempfile.TemporaryDirectory() as folder:
        aggregator = [sys.executable, "-m", "perwatt.main", "aggregator", "--data-dir", folder]
        aggregator += ["--web.listen-address", f"127.0.0.1:{port}"]
        aggregator += ["--scrape-interval", f"{INTERVAL_SECONDS:.0f}s"]
        for node in range(nodes):
            aggregator += ["--agent", f"http://127.0.0.1:{fleet_port}/node/{node}/metrics"]
        with process(simulator, os.environ):
            wait_until(lambda: answers(fleet_port))
            with process(aggregator, os.environ) as running:
                # A window that is requested once per interval is computed with each reading.
                _request_each_interval(port, SETTLE_SECONDS)
                with measured(running.pid) as (resting,):
                    _request_each_interval(port, 2.0 * plan.fleet_seconds)
                took = {topic: uvloop.run(_take(port, topic, plan.cell_seconds)) for topic in TOPICS}
                rss = rss_bytes(running.pid)
                return Cost(
                    nodes, resting.share, rss, took, _failures(port, nodes), _error_ratio(port, fleet_port)
                )


def _request_each_interval(port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0.0:
        with suppress(OSError):  # while the first pages are read, an answer may take too long
            get(f"http://127.0.0.1:{port}{BY_MODEL}")
        time.sleep(min(left, INTERVAL_SECONDS))


async def _take(port: int, topic: str, cell_seconds: float) -> list[float]:
    """Seconds that each answer took, at a steady pace over several collections of garbage."""
    scraper, took = Scraper(port), list[float]()
    request = f"GET {topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    for _ in range(int(6.0 * cell_seconds * REQUESTS_PER_SECOND)):
        begun = time.monotonic()
        await scraper.get(request)
        took.append(time.monotonic() - begun)
        await asyncio.sleep(1.0 / REQUESTS_PER_SECOND)
    scraper.close()
    return took


def _failures(port: int, nodes: int) -> int:
    """How many scrapes failed. Raises RuntimeError if a node is missing."""
    items = msgspec.json.decode(get(f"http://127.0.0.1:{port}/v1/nodes"))["items"]
    if len(items) != nodes:
        raise RuntimeError(f"{len(items)} of {nodes} nodes are answered")
    return sum(not item["up"] for item in items) + sum(
        int(float(line.rpartition(" ")[2]))
        for line in get(f"http://127.0.0.1:{port}/metrics").splitlines()
        if line.startswith("perwatt_aggregator_target_failures_total{")
    )


def _error_ratio(port: int, fleet_port: int) -> float:
    """The largest error of tokens per joule, over the valid figures of all models at the boards."""
    items = msgspec.json.decode(get(f"http://127.0.0.1:{port}{BY_MODEL}"))["items"]
    shown = [
        one for one in items if one["boundary"] == "gpu_board" and one["valid"] and one["tokens_per_joule"]
    ]
    if not shown:
        raise RuntimeError(f"no valid figure: {items[:1]}")
    return max(abs(item["tokens_per_joule"] / _true_ratio(fleet_port, item) - 1.0) for item in shown)


def _true_ratio(fleet_port: int, item: Mapping[str, Mapping[str, str]]) -> float:
    begin, end = (
        datetime.fromisoformat(item["window"][one].replace("Z", "+00:00")) for one in ("start", "end")
    )
    span = f"from={begin.timestamp()}&to={end.timestamp()}&by=model"
    truths = msgspec.json.decode(get(f"http://127.0.0.1:{fleet_port}/truth?{span}"))["items"]
    own = next(one for one in truths if one["group"]["model"] == item["group"]["model"])
    return float(own["output_tokens"] / own["gpu_board_joules"])


def _section(costs: Sequence[Cost]) -> Section:
    rows = []
    for cost in costs:
        times = [
            " / ".join(f"{1e3 * quantile(cost.took[topic], one):.1f}" for one in (0.5, 0.99))
            for topic in TOPICS
        ]
        rows.append(
            (
                cost.nodes,
                f"{100 * cost.share:.1f}",
                f"{cost.rss / MIB:.0f}",
                *times,
                cost.failures,
                f"{100 * cost.error_ratio:.3f}",
            )
        )
    head = (
        *("Nodes", "% of a core", "MiB", "by=model, p50 / p99 ms", "by=node, p50 / p99 ms"),
        *("failed scrapes", "largest error, %"),
    )
    text = (
        f"Simulated nodes of 8 GPUs, `gpu.detail: core`, scraped every {INTERVAL_SECONDS:.0f} s; the "
        "simulator is another process, whose CPU is not counted. CPU is that of scraping and of windows "
        f"that are requested once per interval. Then {REQUESTS_PER_SECOND:.0f} requests a second while "
        "scraping. The error is that of a model's tokens per joule, against the simulator's truth.\n\n"
    )
    largest = costs[-1]
    p99 = 1e3 * quantile(largest.took[BY_MODEL], 0.99)
    targets = (
        Target("aggregator, 1,000 nodes every 15 s, CPU", 15, 100 * largest.share, "% of a core"),
        Target("aggregator, 1,000 nodes every 15 s, RSS", 400, largest.rss / MIB, "MiB"),
        Target("`/v1/efficiency?by=model` of 1,000 nodes, p99", 20, p99, "ms"),
    )
    return Section("What the aggregator costs for a large fleet", text + table(head, rows), targets)
