"""What the fleet simulator costs: it runs beside what it is a load for, on the same cores."""

import os
import sys
import time
from collections.abc import Sequence

import uvloop
from support.agent.process import free_port

from benchmarks.parts.fleet import answers
from benchmarks.peers.exporters import Exporter, process
from benchmarks.tools.harness import MIB, Plan, measured, rss_bytes, wait_until
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import Scraper
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import START_UNIX_SECONDS, FleetPlan
from perwatt.simulate.truth import truth

NODES = 1000
INTERVAL_SECONDS = 15.0
ROUNDS = 4
SERVED_PAGES = 2000


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Pages of a thousand nodes: first ones, later ones, over HTTP; and the truth of all of them."""
    fleet = Fleet(FleetPlan(nodes=NODES))
    first = _pages_ms(fleet, START_UNIX_SECONDS + 60.0)
    later = min(
        _pages_ms(fleet, START_UNIX_SECONDS + 60.0 + INTERVAL_SECONDS * turn) for turn in range(1, ROUNDS)
    )
    sizes = [len(fleet.page(number, START_UNIX_SECONDS + 60.0) or b"") for number in range(NODES)]
    begun = time.process_time()
    truth(fleet, START_UNIX_SECONDS, START_UNIX_SECONDS + 60.0, ("model",))
    true_ms = 1e3 * (time.process_time() - begun)
    served, rss = _served_ms()
    rows = (
        ("a node's first page", f"{first:.2f}"),
        ("a page", f"{later:.2f}"),
        ("a page over HTTP", f"{served:.2f}"),
        ("the truth by model", f"{true_ms:.0f}"),
    )
    text = (
        f"{NODES} nodes of 8 GPUs, pages of {min(sizes)} to {max(sizes)} bytes, {sum(sizes) / NODES:.0f} on "
        f"average; {rss / MIB:.0f} MiB. Every {INTERVAL_SECONDS:.0f} s each, they take "
        f"{served * NODES / INTERVAL_SECONDS / 10:.1f} % of a core.\n\n{table(('', 'CPU, ms'), rows)}"
    )
    return Section(
        "What the fleet simulator costs", text, (Target("a simulated page, CPU", 1.0, served, "ms"),)
    )


def _pages_ms(fleet: Fleet, unix_seconds: float) -> float:
    """CPU of one page, as a mean over all nodes."""
    begun = time.process_time()
    for number in range(NODES):
        fleet.page(number, unix_seconds)
    return 1e3 * (time.process_time() - begun) / NODES


def _served_ms() -> tuple[float, int]:
    """CPU of the process for a page, and its memory once it has made a page of each node."""
    port = free_port()
    command = [sys.executable, "-m", "perwatt.main", "simulate", "--nodes", str(NODES), "--faults", "none"]
    command += ["--web.listen-address", f"127.0.0.1:{port}"]
    with process(command, os.environ) as simulator:
        wait_until(lambda: answers(port))
        uvloop.run(_scrape(port, NODES))
        with measured(simulator.pid) as (span,):
            uvloop.run(_scrape(port, SERVED_PAGES))
        return 1e3 * span.cpu_seconds / SERVED_PAGES, rss_bytes(simulator.pid)


async def _scrape(port: int, count: int) -> None:
    """Scrape the nodes in turn over one connection."""
    scraper = Scraper(port)
    for turn in range(count):
        path = f"/node/{turn % NODES}/metrics"
        await scraper.get(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    scraper.close()
