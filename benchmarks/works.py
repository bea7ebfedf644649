"""
The parts of a second's work, one by one; `parts/micro.py` times them, `compare.py` compares two commits.

    works.py [--repeats N]    print a JSON object: seconds of CPU of each work, repeat by repeat
    works.py --calls N        do each work N times between two marks, for callgrind: `tools/run_works.py`

`compare.py` runs this file of both commits, so its place, its options and the names of its works must stay.
Every work is built when it is asked for, so that one that an older commit cannot do leaves the others.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.tools.pages import engine_page_100k, replayed

GPUS = 8
WINDOW_SECONDS = 60.0
INTERVAL_SECONDS = 5.0
HISTORY_SECONDS = 900.0
START_UNIX_SECONDS = 1.8e9
SECONDS_A_REPEAT = 0.1
WARM_CALLS = 5

MEMORY = Path("/dev/shm")  # where the state lies in an installation, too

Work = Callable[[], object]
T = TypeVar("T")


@contextmanager
def sweep() -> Iterator[Work]:
    """A tick of the whole agent over the fake driver: threads, account, state file."""
    from support.agent.rig import Rig
    from support.gpus.fakenvml import FakeDriver

    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        FakeDriver.create(Path(folder), gpus=GPUS).install() as driver,
        _Runner() as runner,
    ):
        rig = Rig(Path(folder), driver)
        runner.run(rig.run(20))
        yield lambda: runner.run(rig.run(1))


@contextmanager
def render() -> Iterator[Work]:
    """The page of a new snapshot."""
    yield _page("identity")


@contextmanager
def packed() -> Iterator[Work]:
    """The same, packed."""
    yield _page("gzip")


@contextmanager
def parse() -> Iterator[Work]:
    """An engine's page of 100 kB."""
    from perwatt_agent.engine.catalog import ENGINES
    from perwatt_agent.net.prometheus_text import PageParser

    page = engine_page_100k()
    parser = PageParser(next(kind for kind in ENGINES if kind.name == "vllm").families())
    yield lambda: parser.parse(page)


@contextmanager
def attribution() -> Iterator[Work]:
    """Readings of a second into accounts: eight GPUs, an engine on each."""
    from benchmarks.tools.engine_sim import SimulatedReader, steady
    from benchmarks.tools.hand_clock import HandClock
    from perwatt_agent.accounting.account import Account
    from perwatt_agent.facts.gpu import GpuInfo
    from perwatt_agent.facts.gpu_reading import GpuReading
    from perwatt_agent.facts.readings import EngineSample, GpuSample, Readings
    from perwatt_agent.facts.snapshot import BackendStatus
    from perwatt_agent.facts.workload import WorkloadInfo

    clock, account = HandClock(), Account(1.0)
    infos = tuple(GpuInfo(f"GPU-{number}", number, "H100") for number in range(GPUS))
    reader = SimulatedReader(steady(), clock.monotonic)
    runner = _Runner()

    def one() -> object:
        clock.advance(1.0)
        now, counts = clock.monotonic(), runner.run(reader.read())
        reading = GpuReading(now, 400.0 * now, "counter", power_watts=400.0, utilization_ratio=0.9)
        gpus = tuple(GpuSample(info.uuid, "ok", reading) for info in infos)
        engines = tuple(
            EngineSample(WorkloadInfo(f"chat-{info.index}"), (info.uuid,), now, clock.unix(), counts=counts)
            for info in infos
        )
        status = BackendStatus("nvml", True, "580", "13")
        return account.advance(
            Readings(now, clock.unix(), status, generation=1, known=infos, gpus=gpus, engines=engines)
        )

    with runner:
        yield one


@contextmanager
def read() -> Iterator[Work]:
    """The aggregator reads an agent's page."""
    from perwatt_aggregator.readings.page_reader import PageReader

    page, reader = _agent_page(), PageReader()
    yield lambda: reader.read(page, 0.0)


@contextmanager
def window() -> Iterator[Work]:
    """The aggregator's window of a minute of one node."""
    from perwatt_aggregator.readings.node_ring import NodeRing
    from perwatt_aggregator.readings.page_reader import PageReader
    from perwatt_aggregator.window.node_window import node_window

    page, ring, reader = _agent_page(), NodeRing(HISTORY_SECONDS, INTERVAL_SECONDS), PageReader()
    for seconds in range(0, int(HISTORY_SECONDS), int(INTERVAL_SECONDS)):
        ring.add(reader.read(replayed(page, seconds, START_UNIX_SECONDS + seconds), seconds))
    yield lambda: node_window(ring, WINDOW_SECONDS)


WORKS = {
    "sweep, account and state file, 8 GPUs": sweep,
    "attribution: readings into accounts, 8 GPUs, 8 engines": attribution,
    "render the page of a new snapshot": render,
    "the same, packed": packed,
    "parse an engine's page of 100 kB": parse,
    "aggregator: read an agent's page": read,
    "aggregator: one node's window of 60 s": window,
}


def _page(encoding: Literal["identity", "gzip"]) -> Work:
    from msgspec.structs import replace
    from support.exposition.pages import healthy_8_gpus

    from perwatt_exporter.families.all import ALL
    from perwatt_exporter.page.pages import Pages

    snapshot = healthy_8_gpus()
    latest = [snapshot]
    pages = Pages(lambda: latest[0], ALL, lambda: ())

    def page() -> object:
        latest[0] = replace(snapshot)
        return pages.body("text", encoding)

    return page


def _agent_page() -> bytes:
    from support.exposition.pages import healthy_8_gpus

    from perwatt_exporter.families.all import ALL
    from perwatt_exporter.page.pages import Pages

    snapshot = healthy_8_gpus()
    return Pages(lambda: snapshot, ALL, lambda: ()).body("text", "identity")


class _Runner:
    """`asyncio.Runner`, which Python 3.10 lacks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "_Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)


def seconds_of(work: Work, repeats: int) -> list[float]:
    """CPU seconds of one call, repeat by repeat."""
    timer = timeit.Timer(work, timer=time.process_time)
    number = max(1, int(SECONDS_A_REPEAT / max(1e-6, timer.timeit(10) / 10)))
    return [timer.timeit(number) / number for _ in range(repeats)]


def mark() -> None:
    """Callgrind is told to dump its counts at each call of this function of the C library."""
    os.getppid()


def count(work: Work, calls: int) -> None:
    """Do a warm work so often between two marks."""
    for _ in range(WARM_CALLS):
        work()
    mark()
    for _ in range(calls):
        work()
    mark()


def main() -> None:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description="Time each part of a second's work.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int)
    arguments = parser.parse_args()
    done: dict[str, object] = {}
    for name, build in WORKS.items():
        try:
            with build() as work:
                if arguments.calls:
                    count(work, arguments.calls)
                done[name] = None if arguments.calls else seconds_of(work, arguments.repeats)
        except Exception as error:  # noqa: BLE001 - an older commit may lack anything
            print(f"{name}: cannot be done: {error}", file=sys.stderr)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
