"""What it costs to read all that GPUs tell, and how near a sweep comes to what the driver takes."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pynvml
from msgspec import Struct
from support.agent.rig import ALONE
from support.gpus.fakedepth import enable_mig
from support.gpus.fakenvml import FakeDriver

from benchmarks.peers.exporters import Exporter, Running, perwatt, slowed, started
from benchmarks.tools.harness import MIB, Plan, measured, median, rss_bytes
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import scrape
from perwatt.run.bootstrap import build_source
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig, GpuConfig
from perwatt_agent.sampling.source import LiveSource

GPUS = 8
LATENCIES_SECONDS = (0.0, 100e-6, 1e-3)
MIG_GPUS, MIG_INSTANCES = 16, 7
EVERYTHING = ("--gpu.gpm", "on", "--gpu.processes", "4")
SETTLE_SECONDS = 17.0  # the slow tier has been round once
SPAN_SECONDS = 30.0
SWEEPS, SWEEP_SECONDS = 40, 0.25


class Sweep(Struct, frozen=True):
    """How long one sweep took, how many calls it made for the GPU with the most, and how long those take."""

    seconds: float
    calls: int
    floor_seconds: float


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Agents in processes of their own for what they cost, one in this process for its sweeps."""
    agent = perwatt(exporters[0].version, *EVERYTHING)
    seconds = max(SPAN_SECONDS, plan.cell_seconds)
    rows, targets = [], []
    with ExitStack() as stack:
        all_running = [
            *(stack.enter_context(started(agent, GPUS, latency, busy)) for latency in LATENCIES_SECONDS),
            stack.enter_context(started(agent, MIG_GPUS, 0.0, divided)),
        ]
        *cells, mig = _costs(all_running, seconds)
    for latency_seconds, cell in zip(LATENCIES_SECONDS, cells, strict=True):
        rows.append((f"{GPUS} GPUs, {1e6 * latency_seconds:.0f} us a call", *cell.figures))
        targets += _targets(f"all families, 8 GPUs, {1e6 * latency_seconds:.0f} us a call", cell)
    rows.append((f"{MIG_GPUS} GPUs of {MIG_INSTANCES} MIG instances", *mig.figures))
    targets.append(Target("16 GPUs of 7 MIG instances, CPU at rest", 3.0, 100 * mig.cpu, "% of a core"))
    ratios = []
    for latency_seconds in LATENCIES_SECONDS[1:]:
        row, ratio = _sweep_row(latency_seconds)
        ratios.append(row)
        targets.append(Target(f"a sweep / its floor, {1e6 * latency_seconds:.0f} us a call", 1.3, ratio))
    text = (
        "Every family that a Hopper board fills, GPM on, two processes on every GPU, shown one by one; "
        f"{seconds:.0f} s at rest, after as long as the slow tier needs to come round.\n\n"
        + table(("", "CPU at rest, %", "calls a second", "RSS, MiB", "RSS growth, MiB", "series"), rows)
        + "\n\nThe floor of a sweep is what one thread a GPU needs for as many calls as the sweep makes "
        "for that GPU, and for nothing else, from when the threads, at rest until then, are told to begin; "
        "it is measured in the same process, over the same driver, after as long a pause.\n\n"
        + table(("8 GPUs", "calls a GPU", "sweep, ms", "floor, ms", "ratio"), ratios)
    )
    return Section("What reading everything costs", text, tuple(targets))


class Cost(Struct, frozen=True):
    """What an agent cost at rest; `cpu` is a share of one core, `calls` are a second's."""

    cpu: float
    calls: float
    rss: int
    growth: int
    series: int

    @property
    def figures(self) -> tuple[str, ...]:
        return (
            f"{100 * self.cpu:.3f}",
            f"{self.calls:.1f}",
            f"{self.rss / MIB:.1f}",
            f"{self.growth / MIB:.2f}",
            str(self.series),
        )


def busy(driver: FakeDriver) -> None:
    """Two processes on every GPU."""
    for gpu in range(GPUS):
        driver.set_processes(gpu, [(4711 + gpu, 1 << 30), (5711 + gpu, 1 << 28)], [50, 5])


def divided(driver: FakeDriver) -> None:
    """Every GPU in seven instances."""
    for gpu in range(MIG_GPUS):
        enable_mig(driver, gpu, instances=MIG_INSTANCES)


def _costs(all_running: Sequence[Running], seconds: float) -> list[Cost]:
    """All of them over the same time."""
    scrape([running.port for running in all_running], 1, SETTLE_SECONDS)
    calls = [running.driver.calls() for running in all_running]
    sizes = [rss_bytes(running.pid) for running in all_running]
    with measured(*(running.pid for running in all_running)) as spans:
        time.sleep(seconds)
    return [
        Cost(
            span.share,
            (running.driver.calls() - before) / span.seconds,
            rss_bytes(running.pid),
            rss_bytes(running.pid) - size,
            sum(not line.startswith(b"#") for line in running.body().splitlines()),
        )
        for running, span, before, size in zip(all_running, spans, calls, sizes, strict=True)
    ]


def _targets(what: str, cost: Cost) -> list[Target]:
    return [
        Target(f"{what}: CPU at rest", 1.0, 100 * cost.cpu, "% of a core"),
        Target(f"{what}: RSS", 40.0, cost.rss / MIB, "MiB"),
        Target(f"{what}: RSS growth", 0.5, cost.growth / MIB, "MiB"),
        Target(f"{what}: driver calls", 80.0, cost.calls, "a second"),
    ]


def _sweep_row(latency_seconds: float) -> tuple[tuple[str, ...], float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeDriver.create(Path(folder), gpus=GPUS, real_time=True).install() as driver,
    ):
        busy(driver)
        sweeps = asyncio.run(_sweeps(Path(folder), driver, latency_seconds))
    ratio = median([sweep.seconds / sweep.floor_seconds for sweep in sweeps])
    calls = median([sweep.calls for sweep in sweeps])
    took = median([sweep.seconds for sweep in sweeps])
    floor = median([sweep.floor_seconds for sweep in sweeps])
    figures = (f"{calls:.0f}", f"{1e3 * took:.2f}", f"{1e3 * floor:.2f}", f"{ratio:.2f}")
    return (f"{1e6 * latency_seconds:.0f} us a call", *figures), ratio


async def _sweeps(folder: Path, driver: FakeDriver, latency_seconds: float) -> list[Sweep]:
    """Sweeps over a slow driver, each followed by its floor."""
    config = AgentConfig(
        state_dir=folder, data_dir=folder / "data", gpu=GpuConfig(gpm="on", processes=4), **ALONE
    )
    source, _ = build_source(config, SystemClock())
    assert isinstance(source, LiveSource)
    for _ in range(SWEEPS // 4):  # the driver is opened, and what it does not give is known
        await source.collect()
        await asyncio.sleep(SWEEP_SECONDS)
    slowed(driver, GPUS, latency_seconds)
    handles = [pynvml.nvmlDeviceGetHandleByIndex(gpu) for gpu in range(GPUS)]
    found = []
    for _ in range(SWEEPS):
        before = [driver.calls(gpu=gpu) for gpu in range(GPUS)]
        begun = time.perf_counter()
        await source.collect()
        seconds = time.perf_counter() - begun
        calls = max(driver.calls(gpu=gpu) - before[gpu] for gpu in range(GPUS))
        found.append(Sweep(seconds, calls, await _all_at_once(handles, calls)))
        await asyncio.sleep(SWEEP_SECONDS)
    source.close()
    return found[2:]  # the first two did not know yet that the driver is slow


async def _all_at_once(handles: Sequence[object], calls: int) -> float:
    """
    How long as many threads as GPUs need to make so many calls each, all at once: from when they are told to,
    which is as long after the sweep as the next one is, until the last is done.
    """
    begin = threading.Event()

    def work(handle: object) -> None:
        begin.wait()
        for _ in range(calls):
            pynvml.nvmlDeviceGetPowerUsage(handle)

    threads = [threading.Thread(target=work, args=(handle,)) for handle in handles]
    for thread in threads:
        thread.start()
    await asyncio.sleep(SWEEP_SECONDS)
    begun = time.perf_counter()
    begin.set()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun
