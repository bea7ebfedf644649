"""How the cost grows: of the agent with GPUs and workloads, of the aggregator with agents."""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct
from support.agent.process import free_port
from support.agent.rig import ALONE
from support.gpus.fakenvml import FakeDriver

from benchmarks.parts.engine_page import served
from benchmarks.parts.fleet import agent_page, answers, node_page
from benchmarks.peers.exporters import Exporter, process
from benchmarks.tools.chart import Curve, svg
from benchmarks.tools.engine_sim import SimulatedReader, steady
from benchmarks.tools.hand_clock import HandClock, second
from benchmarks.tools.harness import MIB, Plan, measured, median, rss_bytes, wait_until
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import Scraper
from perwatt.run.bootstrap import build_sampler
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.engine.endpoint_poller import Endpoint
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages

GPUS = (1, 2, 4, 8, 16, 32, 64, 128)
WORKLOADS = (1, 2, 4, 8, 16, 32, 64)
AGENTS = (1, 10, 50, 100, 200)
WORKLOAD_GPUS = 64
SWEEPS = 20
AGENT_INTERVAL_SECONDS = 1
SETTLE_SECONDS = 4.0
ASKS = 20
MOST_EXPONENT = 1.1
MORE_THAN_CACHES_BYTES = 64 * MIB
CHART = "growth.svg"


class Cost(Struct, frozen=True):
    """One agent: CPU seconds of a sweep with its account and of a new page, and its memory."""

    sweep_seconds: float
    page_seconds: float
    rss: int
    page_bytes: int


class FleetCost(Struct, frozen=True):
    """One aggregator: CPU seconds a second, seconds of an answer, and its memory."""

    cpu: float
    answer_seconds: float
    rss: int


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Each agent in a fresh process that drives its clock by hand, each aggregator one as it is run."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        by_gpus = {gpus: pool.apply(agent_cost, (gpus, 0)) for gpus in GPUS}
        by_workloads = {count: pool.apply(agent_cost, (WORKLOAD_GPUS, count)) for count in WORKLOADS}
    template = agent_page(exporters[0].version)
    by_agents = {agents: _fleet_cost(template, agents, plan.cell_seconds) for agents in AGENTS}
    curves = (
        _curve("sweep, by GPUs, ms", by_gpus, lambda cost: 1e3 * cost.sweep_seconds),
        _curve("page, by GPUs, ms", by_gpus, lambda cost: 1e3 * cost.page_seconds),
        _curve("sweep, by workloads, ms", by_workloads, lambda cost: 1e3 * cost.sweep_seconds),
        _curve("page, by workloads, ms", by_workloads, lambda cost: 1e3 * cost.page_seconds),
        _curve("aggregator, by agents, ms/s", by_agents, lambda cost: 1e3 * cost.cpu),
        _curve("answer, by agents, ms", by_agents, lambda cost: 1e3 * cost.answer_seconds),
    )
    text = (
        f"![Cost over number]({CHART})\n\nCPU of an agent in one process: a sweep with its account over "
        "the fake driver at no latency, and a page of a new snapshot, packed; medians, the processor's "
        "caches emptied before each sweep, as a second of other work empties them. The exponent is fitted "
        "over the upper half of the points: 1 is in proportion.\n\n"
        + _agent_table("GPUs", by_gpus)
        + f"\n\n{WORKLOAD_GPUS} GPUs that are divided among the workloads, each with an engine whose page "
        "is parsed every second:\n\n"
        + _agent_table("Workloads", by_workloads)
        + f"\n\nThe aggregator, every agent's page of {len(template)} bytes each second, and "
        "`/v1/efficiency?by=model`:\n\n"
        + _fleet_table(by_agents)
        + "\n\n"
        + table(("Cost", "exponent"), [(curve.name, f"{curve.exponent:.2f}") for curve in curves])
    )
    targets = tuple(
        Target(f"growth of {curve.name.rpartition(', ')[0]}, exponent", MOST_EXPONENT, curve.exponent)
        for curve in curves
    )
    chart = svg(curves, "how many there are", "ms of CPU, of an answer, or of CPU a second")
    return Section("How the cost grows", text, targets, files={CHART: chart})


def agent_cost(gpus: int, workloads: int) -> Cost:
    """Runs in a process of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeDriver.create(Path(folder), gpus=gpus).install() as driver,
    ):
        return asyncio.run(_agent_cost(Path(folder), driver, gpus, workloads))


async def _agent_cost(folder: Path, driver: FakeDriver, gpus: int, workloads: int) -> Cost:
    clock = HandClock()
    config = AgentConfig(
        state_dir=folder, data_dir=folder / "data", meters=ALONE["meters"], engines=EnginesConfig(False, 1.0)
    )
    sampler = build_sampler(config, clock, endpoints=_endpoints(workloads, gpus, clock))
    pages = Pages(lambda: sampler.latest, ALL, lambda: ())
    running = asyncio.create_task(sampler.run())
    sweeps, rendered = list[float](), list[float]()
    others = bytearray(MORE_THAN_CACHES_BYTES)
    for turn in range(2 * SWEEPS):
        bytes(others)
        begun = time.process_time()
        await second(sampler, driver, clock)
        swept = time.process_time()
        pages.body("text", "gzip")
        if turn >= SWEEPS:
            sweeps.append(swept - begun)
            rendered.append(time.process_time() - swept)
    running.cancel()
    del others
    body = pages.body("text", "identity")
    counted = body.count(b"perwatt_output_tokens_total{")
    if counted != workloads:
        raise RuntimeError(f"{counted} of {workloads} workloads count tokens")
    return Cost(median(sweeps), median(rendered), rss_bytes(os.getpid()), len(body))


def _endpoints(workloads: int, gpus: int, clock: HandClock) -> list[Endpoint]:
    """So many engines among which the GPUs are divided."""
    return [
        Endpoint(
            WorkloadInfo(f"chat-{number}", engine="vllm"),
            8000 + number,
            tuple(range(number, gpus, workloads)),
            SimulatedReader(steady(), clock.monotonic),
        )
        for number in range(workloads)
    ]


def _fleet_cost(template: bytes, agents: int, seconds: float) -> FleetCost:
    port = free_port()
    pages = [node_page(template, node) for node in range(agents)]
    with tempfile.TemporaryDirectory() as folder, served(*pages) as served_port:
        command = [sys.executable, "-m", "perwatt.main", "aggregator", "--data-dir", folder]
        command += ["--web.listen-address", f"127.0.0.1:{port}"]
        command += ["--scrape-interval", f"{AGENT_INTERVAL_SECONDS}s"]
        for node in range(agents):
            command += ["--agent", f"http://127.0.0.1:{served_port}/{node}/metrics"]
        with process(command, os.environ) as aggregator:
            wait_until(lambda: answers(port))
            time.sleep(SETTLE_SECONDS)
            with measured(aggregator.pid) as (span,):
                time.sleep(seconds)
            took = uvloop.run(_ask(port))
            return FleetCost(span.share, median(took), rss_bytes(aggregator.pid))


async def _ask(port: int) -> list[float]:
    scraper, took = Scraper(port), list[float]()
    for _ in range(ASKS):
        begun = time.monotonic()
        await scraper.get(b"GET /v1/efficiency?by=model HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        took.append(time.monotonic() - begun)
    scraper.close()
    return took


def _curve(name: str, costs: dict[int, Any], of: Callable[[Any], float]) -> Curve:
    return Curve(name, tuple((count, of(cost)) for count, cost in costs.items()))


def _agent_table(what: str, costs: dict[int, Cost]) -> str:
    rows = [
        (
            count,
            f"{1e3 * cost.sweep_seconds:.2f}",
            f"{1e3 * cost.page_seconds:.2f}",
            f"{cost.rss / MIB:.1f}",
            cost.page_bytes,
        )
        for count, cost in costs.items()
    ]
    return table((what, "sweep, ms", "page, ms", "RSS, MiB", "page, bytes"), rows)


def _fleet_table(costs: dict[int, FleetCost]) -> str:
    rows = [
        (agents, f"{100 * cost.cpu:.2f}", f"{1e3 * cost.answer_seconds:.2f}", f"{cost.rss / MIB:.1f}")
        for agents, cost in costs.items()
    ]
    return table(("Agents", "CPU, % of a core", "answer, ms", "RSS, MiB"), rows)
