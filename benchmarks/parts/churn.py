"""What workloads that come and go, and a hostile agent, cost the aggregator."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct
from support.fleet.agents import Machine, Workload, serving_machine

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import MIB, Plan, rss_bytes
from benchmarks.tools.report import Section, Target, table
from perwatt_agent.net.prometheus_text import PageError
from perwatt_aggregator.aggregator import HISTORY_SECONDS
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.node_ring import HistoryFull, NodeRing, TooManySeries
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.targets.target import Target as Agent
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

INTERVAL_SECONDS = 1.0
REQUEST_SECONDS = 15
T = TypeVar("T")

GPUS = 8
LIVE_JOBS = 3
MINUTES = (1, 4, 11)
RENAMED = 7000
RENAMED_PAGES = 18
KEPT_LINES = 8_000
LINES = 190_000
REPEATS = 3
WINDOW_SECONDS = 60.0


class Minute(Struct, frozen=True):
    """One minute of one node: CPU of a core, memory since the start, and the series that are kept."""

    cpu_percent: float
    mib: float
    series: int


def run(_: Plan, __: Sequence[Exporter]) -> Section:
    """All of it in this process, with time by hand: a page a second, and a window every 15 s."""
    steady, churning = (dict(_minutes(is_churning=churn)) for churn in (False, True))
    renamed_mib, refused = _renamed()
    slice_seconds = {
        lines: min(_longest_slice(lines) for _ in range(REPEATS)) for lines in (KEPT_LINES, LINES)
    }
    rows = [
        (minute, f"{steady[minute].cpu_percent:.2f}", one.series, f"{one.cpu_percent:.2f}", f"{one.mib:.1f}")
        for minute, one in churning.items()
    ]
    first, last = churning[MINUTES[0]], churning[MINUTES[-1]]
    text = (
        f"One node of {GPUS} GPUs and workloads, read every second, its window of {WINDOW_SECONDS:.0f} s "
        f"requested every {REQUEST_SECONDS} s; beside it the same node with one new workload a second:\n\n"
        + table(("Minute", "steady, CPU, %", "series", "with churn, CPU, %", "memory, MiB"), rows)
        + f"\n\n{RENAMED_PAGES} pages of {RENAMED} renamed series each: {renamed_mib:.1f} MiB, "
        + f"{refused} refused. The longest time without a pause in reading a page of new series: "
        + ", ".join(f"{1e3 * seconds:.1f} ms of {lines} lines" for lines, seconds in slice_seconds.items())
        + "."
    )
    targets = (
        Target("churn, CPU in minute 11 over minute 1", 2.0, last.cpu_percent / first.cpu_percent),
        Target("churn, memory after 11 minutes", 15.0, last.mib, "MiB"),
        Target("18 pages of renamed series, memory", 48.0, renamed_mib, "MiB"),
        Target("longest slice of a hostile page", 50.0, 1e3 * max(slice_seconds.values()), "ms"),
    )
    return Section("What churn costs the aggregator", text, targets)


def _minutes(*, is_churning: bool) -> Iterator[tuple[int, Minute]]:
    """The minutes of MINUTES."""
    machine, node, reader = serving_machine(GPUS, workloads=GPUS), _node(), PageReader()
    gc.collect()
    before, cpu_seconds = rss_bytes(os.getpid()), 0.0
    for second in range(60 * MINUTES[-1]):
        if is_churning:
            job = Workload(f"job-{second}", joules={"GPU-0": [0.0, 0.0, 0.0]})
            machine.workloads = [*machine.workloads[:GPUS], *machine.workloads[GPUS:][1 - LIVE_JOBS :], job]
        machine.run(INTERVAL_SECONDS)
        text = _page(machine)
        started = time.process_time()
        node.add(reader.read(text, machine.monotonic), machine.unix)
        if second % REQUEST_SECONDS == 0:
            node.view(WINDOW_SECONDS, machine.monotonic)
        cpu_seconds += time.process_time() - started
        minute, rest = divmod(second + 1, 60)
        if rest == 0:
            if minute in MINUTES:
                mib = (rss_bytes(os.getpid()) - before) / MIB
                yield minute, Minute(100.0 * cpu_seconds / 60.0, mib, node.ring.series)
            cpu_seconds = 0.0


def _renamed() -> tuple[float, int]:
    """Memory in MiB after pages that each have other series, and how many of them were refused."""
    machine, node, reader, refused = serving_machine(), _node(), PageReader(), 0
    gc.collect()
    before = rss_bytes(os.getpid())
    for number in range(RENAMED_PAGES):
        machine.run(INTERVAL_SECONDS)
        text = _page(machine) + _work_lines(RENAMED, number)
        try:
            node.add(reader.read(text, machine.monotonic), machine.unix)
        except HistoryFull:
            refused += 1
    return (rss_bytes(os.getpid()) - before) / MIB, refused


def _longest_slice(lines: int) -> float:
    """CPU seconds of the longest step in which a page of new series is read and added."""
    machine, node = serving_machine(), _node()
    machine.run(INTERVAL_SECONDS)
    slices = PageReader().slices(_page(machine) + _work_lines(lines, 0), machine.monotonic)
    longest, sample = 0.0, None
    try:
        while sample is None:
            seconds, sample = _timed(lambda: next(slices))
            longest = max(longest, seconds)
    except (PageError, TooManySeries):
        return longest
    read = sample
    seconds, _ = _timed(lambda: node.add(read, machine.unix))
    return max(longest, seconds)


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def _node() -> Node:
    return Node(
        Agent("node", "http://node/metrics"), NodeRing(HISTORY_SECONDS, INTERVAL_SECONDS), FacilityConfig()
    )


def _page(machine: Machine) -> bytes:
    snapshot = machine.snapshot()
    return page(Renderer().collected(((family, family.read(snapshot)) for family in ALL), "text"), "text")


def _work_lines(count: int, number: int) -> bytes:
    lines = (f'perwatt_work_total{{workload="w{number}-{one}",unit="u"}} 1\n' for one in range(count))
    return "".join(("# TYPE perwatt_work_total counter\n", *lines)).encode()
