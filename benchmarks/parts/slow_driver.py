"""What an exporter costs over a driver that takes its time, with few GPUs and with many."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from msgspec import Struct

from benchmarks.peers.exporters import Exporter, Running, started
from benchmarks.tools.harness import MIB, Plan, measured, quantile, rss_bytes
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import scrape

SETTLE_SECONDS = 12.0  # what happens once after the start is over, and the slow tier has been round
SPAN_SECONDS = 15.0  # perwatt reads what changes slowly this often: less would measure it by chance
GPUS = (1, 8, 16)
LATENCIES_SECONDS = (0.0, 100e-6, 1e-3)


class Cell(Struct, frozen=True):
    """What one exporter costs in one cell; `rest_cpu` is a share of one core."""

    rest_cpu: float
    calls_per_second: float
    rss: int
    scrape_cpu_seconds: float
    p50_seconds: float


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """All exporters and counts of GPUs at once, each over its own driver: CPU time is what is compared."""
    seconds = max(SPAN_SECONDS, plan.cell_seconds)
    rows = []
    own: dict[tuple[int, float], Cell] = {}
    for latency_seconds in LATENCIES_SECONDS:
        with ExitStack() as stack:
            all_running = [
                stack.enter_context(started(exporter, gpus, latency_seconds))
                for gpus in GPUS
                for exporter in exporters
            ]
            time.sleep(SETTLE_SECONDS)
            cells = iter(_measure(seconds, all_running))
        for gpus in GPUS:
            for exporter in exporters:
                cell = next(cells)
                rows.append((gpus, f"{1e6 * latency_seconds:.0f}", exporter.name, *_figures(cell)))
                if exporter is exporters[0]:
                    own[gpus, latency_seconds] = cell
    head = (
        *("GPUs", "us a driver call", "exporter", "CPU at rest, %", "calls a second", "RSS, MiB"),
        *("CPU a scrape, ms", "p50, ms"),
    )
    text = f"{seconds:.0f} s at rest, then as long with a scrape a second.\n\n{table(head, rows)}"
    return Section("How the cost grows with a slow driver", text, tuple(_targets(own)))


def _measure(seconds: float, all_running: Sequence[Running]) -> list[Cell]:
    pids = [running.pid for running in all_running]
    calls = [running.driver.calls() for running in all_running]
    with measured(*pids) as resting:
        time.sleep(seconds)
    calls = [running.driver.calls() - before for running, before in zip(all_running, calls, strict=True)]
    with measured(*pids) as scraping:
        heard = scrape([running.port for running in all_running], 1, seconds)
    return [
        Cell(
            rest.share,
            made / rest.seconds,
            rss_bytes(rest_pid),
            (busy.cpu_seconds - rest.share * busy.seconds) / max(1, len(scrapes.seconds)),
            quantile(scrapes.seconds, 0.5),
        )
        for rest_pid, rest, busy, made, scrapes in zip(pids, resting, scraping, calls, heard, strict=True)
    ]


def _figures(cell: Cell) -> tuple[str, ...]:
    return (
        f"{100 * cell.rest_cpu:.3f}",
        f"{cell.calls_per_second:.1f}",
        f"{cell.rss / MIB:.1f}",
        f"{1e3 * cell.scrape_cpu_seconds:.2f}",
        f"{1e3 * cell.p50_seconds:.2f}",
    )


def _targets(own: dict[tuple[int, float], Cell]) -> Iterator[Target]:
    yield Target("CPU at rest, 16 GPUs / 1 GPU", 16.0, own[16, 0.0].rest_cpu / own[1, 0.0].rest_cpu)
    # A slow driver may take time, but not CPU: sleeping costs some, and threads to sleep in.
    yield Target("CPU at rest, 8 GPUs, 1 ms a call / none", 2.0, own[8, 1e-3].rest_cpu / own[8, 0.0].rest_cpu)
