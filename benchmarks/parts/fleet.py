"""What the aggregator costs: 50 agents every 5 s, and how fast it answers meanwhile."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import msgspec
import uvloop
from support.agent.process import free_port, get

from benchmarks.parts.engine_page import growing, served
from benchmarks.peers.exporters import Exporter, perwatt, process, started
from benchmarks.tools.harness import MIB, Plan, measured, quantile, rss_bytes, wait_until
from benchmarks.tools.pages import engine_page_100k, replayed
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import Scraper
from benchmarks.tools.scraping import page as get_page

AGENTS = 50
INTERVAL_SECONDS = 5
SETTLE_SECONDS = 17.0
ASKS_PER_SECOND = 50.0
ASK_CELLS = 2  # so that the hundredth part is some answers, and not the one that met a collection of garbage
TOPICS = (
    "/v1/efficiency?by=model",
    "/v1/efficiency?by=model,node",
    "/v1/nodes",
    "/v1/gpus",
    "/v1/workloads",
)


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """A real agent's page, replayed 50 times with GPUs of their own and counters that grow."""
    template = agent_page(exporters[0].version)
    pages = [node_page(template, node) for node in range(AGENTS)]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, served(*pages) as served_port:
        command = [sys.executable, "-m", "perwatt.main", "aggregator", "--data-dir", folder]
        command += ["--web.listen-address", f"127.0.0.1:{port}", "--scrape-interval", f"{INTERVAL_SECONDS}s"]
        for node in range(AGENTS):
            command += ["--agent", f"http://127.0.0.1:{served_port}/{node}/metrics"]
        with process(command, os.environ) as aggregator:
            wait_until(lambda: answers(port))
            time.sleep(SETTLE_SECONDS)
            with measured(aggregator.pid) as (resting,):
                time.sleep(plan.fleet_seconds)
            asked = {topic: uvloop.run(_ask(port, topic, ASK_CELLS * plan.cell_seconds)) for topic in TOPICS}
            rss = rss_bytes(aggregator.pid)
            _check(port)
    return _section(template, 100 * resting.share, rss / MIB, asked)


def agent_page(version: str) -> bytes:
    """The page of an agent with 8 GPUs and one engine, after some readings."""
    with served(lambda: growing(engine_page_100k())) as port:
        flag = f"url=http://127.0.0.1:{port}/metrics,engine=vllm,workload=chat"
        agent = perwatt(version, "--engine", flag, "--engines.interval", "1s")
        with started(agent) as running:
            wait_until(lambda: b"perwatt_workload_energy_joules_total{" in get_page(running.port).body)
            return get_page(running.port).body


def node_page(template: bytes, node: int) -> Callable[[], bytes]:
    """The page of one node, now: its own GPUs, and counters that have grown since it was made."""
    template = template.replace(b"GPU-00", b"GPU-%02x" % node)
    begun = time.monotonic()
    return lambda: replayed(template, time.monotonic() - begun, time.time())


def answers(port: int) -> bool:
    try:
        return "healthy" in get(f"http://127.0.0.1:{port}/-/healthy")
    except OSError:
        return False


def _check(port: int) -> None:
    """A figure counts only if the work was done: every node up, and a valid answer."""
    nodes = msgspec.json.decode(get(f"http://127.0.0.1:{port}/v1/nodes"))["items"]
    up = sum(bool(node["up"]) for node in nodes)
    if up != AGENTS:
        raise RuntimeError(f"only {up} of {AGENTS} agents are up: {nodes[:1]}")
    items = msgspec.json.decode(get(f"http://127.0.0.1:{port}{TOPICS[0]}"))["items"]
    if not any(item["boundary"] == "gpu_board" and item["valid"] for item in items):
        raise RuntimeError(f"no valid figure of tokens per joule: {items}")


async def _ask(port: int, topic: str, seconds: float) -> list[float]:
    """Ask at a steady pace; the seconds that each answer took."""
    scraper, took = Scraper(port), list[float]()
    request = f"GET {topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    for _ in range(int(seconds * ASKS_PER_SECOND)):
        started_at = time.monotonic()
        await scraper.get(request)
        took.append(time.monotonic() - started_at)
        await asyncio.sleep(1.0 / ASKS_PER_SECOND)
    scraper.close()
    return took


def _section(template: bytes, cpu: float, rss_mib: float, asked: dict[str, list[float]]) -> Section:
    rows = [
        (f"`{topic}`", *(f"{1e3 * quantile(took, share):.2f}" for share in (0.5, 0.99)), len(took))
        for topic, took in asked.items()
    ]
    text = (
        f"{AGENTS} pages of {len(template)} bytes (8 GPUs, one workload each), scraped every "
        f"{INTERVAL_SECONDS} s: {cpu:.2f} % of a core, {rss_mib:.1f} MiB. Asked {ASKS_PER_SECOND:.0f} times "
        f"a second, by one client:\n\n{table(('Question', 'p50, ms', 'p99, ms', 'asked'), rows)}"
    )
    targets = (
        Target("aggregator, 50 agents every 5 s, CPU", 5, cpu, "% of a core"),
        Target("aggregator, 50 agents every 5 s, RSS", 120, rss_mib, "MiB"),
        Target("`/v1/efficiency?by=model` p99", 10, 1e3 * quantile(asked[TOPICS[0]], 0.99), "ms"),
    )
    return Section("What the aggregator costs", text, targets)
