"""The parts of one second's work, one by one, in CPU time of this process."""

import asyncio
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path

from engine_page import padded_page
from exporters import Exporter
from fleet import agent_page, replayed
from harness import Plan, spread
from msgspec.structs import replace
from report import Section, table
from support.fakenvml import FakeDriver
from support.pages import healthy_8_gpus
from support.rig import Rig

from perwatt_agent.engine.kinds import ENGINES
from perwatt_agent.promparse import PageParser
from perwatt_aggregator.measure import node_window
from perwatt_aggregator.ring import NodeRing
from perwatt_aggregator.sample import PageReader
from perwatt_exporter.families import ALL
from perwatt_exporter.pages import Pages
from perwatt_exporter.process import ProcessMetrics

REPEATS = 15
SECONDS_A_REPEAT = 0.1
GPUS = 8
WINDOW_SECONDS = 60.0
INTERVAL_SECONDS = 5.0
HISTORY_SECONDS = 900.0
START_UNIX_SECONDS = 1.8e9


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Each work on warm caches; the least of the repeats is the least disturbed one."""
    rows = [("sweep, account and state file, 8 GPUs", _sweeps())]
    template = agent_page(exporters[0].version)
    works = {
        "render the page of a new snapshot": _render("identity"),
        "the same, packed": _render("gzip"),
        f"parse an engine's page of {len(padded_page())} bytes": _parse(),
        f"aggregator: read an agent's page of {len(template)} bytes": _read(template),
        f"aggregator: one node's window of {WINDOW_SECONDS:.0f} s": _window(template),
    }
    rows += zip(works, _in_turns(list(works.values())), strict=True)
    cells = [(name, spread(seconds, 1e3, 3), f"{1e3 * min(seconds):.3f}") for name, seconds in rows]
    text = f"CPU time, the median of {REPEATS} repeats and the least.\n\n"
    return Section("Part by part", text + table(("Work", "ms", "least, ms"), cells))


def _in_turns(works: Sequence[Callable[[], object]]) -> list[list[float]]:
    """The seconds that each work took, repeat by repeat; in turns, so that a slow minute is shared."""
    timers = [timeit.Timer(work, timer=time.process_time) for work in works]
    numbers = [max(1, int(SECONDS_A_REPEAT / max(1e-6, timer.timeit(10) / 10))) for timer in timers]
    took: list[list[float]] = [[] for _ in works]
    for _ in range(REPEATS):
        for timer, number, seconds in zip(timers, numbers, took, strict=True):
            seconds.append(timer.timeit(number) / number)
    return took


def _sweeps() -> list[float]:
    """Ticks of the whole agent over the fake driver, threads and all."""
    ticks = 50

    async def sweep(rig: Rig) -> list[float]:
        await rig.run(ticks)
        took = []
        for _ in range(REPEATS):
            started = time.process_time()
            await rig.run(ticks)
            took.append((time.process_time() - started) / ticks)
        return took

    with (
        tempfile.TemporaryDirectory() as folder,
        FakeDriver.create(Path(folder), gpus=GPUS).install() as driver,
    ):
        return asyncio.run(sweep(Rig(Path(folder), driver)))


def _render(encoding: str) -> Callable[[], object]:
    snapshot = healthy_8_gpus()
    latest = [snapshot]
    pages = Pages(lambda: latest[0], ALL, ProcessMetrics())

    def render() -> bytes:
        latest[0] = replace(snapshot)
        return pages.body("text", "gzip" if encoding == "gzip" else "identity")

    return render


def _parse() -> Callable[[], object]:
    page = padded_page()
    parser = PageParser(next(kind for kind in ENGINES if kind.name == "vllm").families())
    return lambda: parser.parse(page)


def _read(template: bytes) -> Callable[[], object]:
    reader = PageReader()
    return lambda: reader.read(template, 0.0)


def _window(template: bytes) -> Callable[[], object]:
    ring, reader = NodeRing(HISTORY_SECONDS, INTERVAL_SECONDS), PageReader()
    for seconds in range(0, int(HISTORY_SECONDS), int(INTERVAL_SECONDS)):
        ring.add(reader.read(replayed(template, seconds, START_UNIX_SECONDS + seconds), seconds))
    return lambda: node_window(ring, WINDOW_SECONDS)
