"""
How true the energy is: perwatt, codecarbon, zeus and a scraped gauge of watts, against the exact integral.

The driver's clock is driven by hand, so ten minutes take seconds and nothing depends on this machine. Where
codecarbon and zeus integrate power themselves they do so by the machine's clock, and so it is real time.
"""

import asyncio
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct, field
from support.agent.rig import Rig
from support.gpus.fakenvml import Constant, FakeDriver, Ramp, Square, Waveform

from benchmarks.peers import environments
from benchmarks.peers.energy_tools import TOOLS, Tool, tool
from benchmarks.peers.environments import HERE, Peers
from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import Plan, median
from benchmarks.tools.report import Ratio, Section, Target, table

WINDOW_SECONDS = 600
SCRAPE_SECONDS = (5, 15)
# Readings shall not fall on the edges of bursts, as they never do outside of tests.
FIRST_READING_SECONDS = 5.137
FIRST_TICKS = 30
REAL_SECONDS = 45.0
WITHOUT_COUNTER = "pascal"
IDLE_WATTS, BUSY_WATTS = 90.0, 650.0
BURSTS = ("bursts, 33 of 100 ms", "bursts, 3 of 15 s")
TRUE_ENOUGH = 1e-6  # a gauge with no more error than this leaves nothing to be better at
WAVEFORMS: dict[str, Waveform] = {
    "steady": Constant(400.0),
    "ramp": Ramp(IDLE_WATTS, BUSY_WATTS, 300.0),
    BURSTS[0]: Square(IDLE_WATTS, BUSY_WATTS, period_seconds=0.1, duty=0.33),
    BURSTS[1]: Square(IDLE_WATTS, BUSY_WATTS, period_seconds=15.0, duty=0.2),
    "idle": Constant(70.0),
}
TELEGRAPH = "random telegraph"
ARCHITECTURES = {
    "hopper": "Hopper: the gauge is a 1 s mean",
    "ga100": "A100: the gauge sees 25 ms of each 100 ms",
    "pascal": "Pascal: no energy counter, so perwatt integrates",
}
"""Each with the sensor windows that were published for it; see the fake driver's profiles."""

Update = Callable[[], list[float]]


class Errors(Struct, frozen=True):
    """
    Relative errors of one waveform: perwatt's, the gauge's at each phase of each scrape interval, and each
    tool's.
    """

    counter: float
    gauge: dict[int, list[float]]
    tools: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """perwatt's error over the gauge's median one at the longest interval; None where that is none."""
        gauge = median([abs(error) for error in self.gauge[SCRAPE_SECONDS[-1]]])
        return abs(self.counter) / gauge if gauge > TRUE_ENOUGH else None


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """The counter's increase, `avg_over_time(gauge) * seconds`, and what the tools tell of a measurement."""
    with_peer = any(one.name == "nvitop-exporter" for one in exporters)
    energy = environments.energy_tools()
    found = {name: asyncio.run(_errors(name, energy, with_peer=with_peer)) for name in ARCHITECTURES}
    if energy is not None:
        found[WITHOUT_COUNTER] = _with_tools(found[WITHOUT_COUNTER], _in_real_time(energy))
    targets = tuple(
        Target(f"energy error / a scraped gauge's: {burst}, {name}", 0.01, ratio)
        for name in ("hopper", "ga100")
        for burst in (*BURSTS, TELEGRAPH)
        if with_peer and (ratio := found[name][burst].ratio) is not None
    )
    ratios = (_ratio(found["hopper"][BURSTS[1]]),) if with_peer else ()
    return Section("How true the energy is", _text(found, energy), targets, ratios)


def _ratio(errors: Errors) -> Ratio:
    gauge = median([abs(error) for error in errors.gauge[SCRAPE_SECONDS[-1]]])
    own, theirs = (f"{100 * abs(error):.4f} %" for error in (errors.counter, gauge))
    return Ratio("energy error, bursts of 3 in 15 s", own, theirs, abs(errors.counter) / gauge)


async def _errors(architecture: str, energy: Peers | None, *, with_peer: bool) -> dict[str, Errors]:
    names = [*WAVEFORMS, TELEGRAPH]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        driver = FakeDriver.create(folder, gpus=len(names), architecture=architecture).install()
        stack.enter_context(driver)
        update = stack.enter_context(_gauge(driver, with_peer=with_peer))
        tools = _tools(stack, energy if architecture != WITHOUT_COUNTER else None, driver, folder)
        _draw(driver)
        rig = Rig(folder, driver)
        driver.advance(FIRST_READING_SECONDS - 1.0)
        await _first_reading(rig, len(names))
        begin, first = driver.now, [rig.energy(gpu).joules for gpu in range(len(names))]
        for one in tools:
            one.begin()
        watts: list[list[float]] = []
        await rig.run(WINDOW_SECONDS, lambda _: watts.append(update()))
        end, told = driver.now, {one.name: [joules for _, _, joules in one.end()] for one in tools}
        exact = [driver.exact_energy_joules(gpu, begin, end) for gpu in range(len(names))]
        counted = [rig.energy(gpu).joules - first[gpu] for gpu in range(len(names))]
    series = list(zip(*watts, strict=True)) if with_peer else [()] * len(names)
    return {
        name: Errors(
            counted[gpu] / exact[gpu] - 1,
            _gauge_errors(series[gpu], exact[gpu]),
            {each: joules[gpu] / exact[gpu] - 1 for each, joules in told.items()},
        )
        for gpu, name in enumerate(names)
    }


def _tools(stack: ExitStack, energy: Peers | None, driver: FakeDriver, folder: Path) -> list[Tool]:
    if energy is None:
        return []
    gpus = len(WAVEFORMS) + 1
    return [stack.enter_context(tool(name, energy, driver, gpus, folder)) for name in TOOLS]


def _in_real_time(energy: Peers) -> dict[str, list[float]]:
    """The tools' errors, GPU by GPU, on boards without a counter: each over its own seconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = [*WAVEFORMS, TELEGRAPH]
        driver = FakeDriver.create(folder, gpus=len(names), architecture=WITHOUT_COUNTER, real_time=True)
        stack.enter_context(driver)
        _draw(driver)
        loaded = time.monotonic() - driver.now
        tools = _tools(stack, energy, driver, folder)
        for one in tools:
            one.begin()
        time.sleep(REAL_SECONDS)
        ended = {one.name: one.end() for one in tools}
        return {
            name: [
                joules / driver.exact_energy_joules(gpu, begin - loaded, end - loaded) - 1
                for gpu, (begin, end, joules) in enumerate(measured)
            ]
            for name, measured in ended.items()
        }


def _with_tools(found: dict[str, Errors], tools: dict[str, list[float]]) -> dict[str, Errors]:
    return {
        waveform: Errors(errors.counter, errors.gauge, {name: of[gpu] for name, of in tools.items()})
        for gpu, (waveform, errors) in enumerate(found.items())
    }


async def _first_reading(rig: Rig, gpus: int) -> None:
    """Tick until every GPU was read: a busy machine may not open the driver within the first tick."""
    for _ in range(FIRST_TICKS):
        await rig.run(1)
        if len(rig.sampler.latest.gpus) == gpus and all(gpu.energy for gpu in rig.sampler.latest.gpus):
            return
    raise RuntimeError("the driver was not read")


def _draw(driver: FakeDriver) -> None:
    for gpu, waveform in enumerate(WAVEFORMS.values()):
        driver.set_waveform(gpu, waveform)
    chance, at, busy = random.Random(1), 0.0, False
    steps: list[tuple[float, float]] = []
    while at < 2 * WINDOW_SECONDS and len(steps) < 900:
        steps.append((at, BUSY_WATTS if busy else IDLE_WATTS))
        at, busy = at + chance.expovariate(1.0), not busy
    driver.set_steps(len(WAVEFORMS), steps)


def _gauge_errors(watts: Sequence[float], exact_joules: float) -> dict[int, list[float]]:
    """The error of `avg_over_time(gauge[window]) * window`, at each phase that scrapes can have."""
    if not watts:
        return {}
    return {
        every: [_mean(watts[phase::every]) * WINDOW_SECONDS / exact_joules - 1 for phase in range(every)]
        for every in SCRAPE_SECONDS
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def _gauge(driver: FakeDriver, *, with_peer: bool) -> Iterator[Update]:
    """nvitop-exporter's own code in its own environment, told when to update; gives its page's watts."""
    installed = environments.exporters() if with_peer else None
    if installed is None:
        yield list
        return
    with subprocess.Popen(
        [installed.python, HERE / "peer_gauge.py"],
        env=driver.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        asked, answered = child.stdin, child.stdout

        def update() -> list[float]:
            print("update", file=asked, flush=True)
            return list(map(float, json.loads(answered.readline())))

        yield update
        asked.close()


def _text(found: dict[str, dict[str, Errors]], energy: Peers | None) -> str:
    versions = [f"{name} {energy.version(name)}" for name in TOOLS] if energy else []
    parts = [
        f"{WINDOW_SECONDS // 60} minutes of driver time. The error in percent, of perwatt's energy counter "
        "at one reading a second; of `avg_over_time(gpu_power_usage_W)` times the seconds, from "
        "nvitop-exporter's page as Prometheus would scrape it: the median and the greatest error over all "
        "whole-second phases that the scrapes can have; and of one measurement by "
        f"{' and '.join(versions) or 'codecarbon and zeus, which could not be installed'}. **The driver's "
        "energy "
        "counter is taken to be ideal** "
        "(exact, renewed every 100 ms): this is the software's error and says nothing about a sensor's. "
        "Where a board has no counter, no reader of one value a second sees bursts that keep its own beat."
    ]
    for name, title in ARCHITECTURES.items():
        tools = list(next(iter(found[name].values())).tools)
        rows = [
            (waveform, *_of_tools(errors), *_gauge_cells(errors)) for waveform, errors in found[name].items()
        ]
        gauges = [f"gauge, {every} s scrapes" for every in SCRAPE_SECONDS]
        parts.append(f"{title}\n\n{table(('Error, %', 'perwatt', *tools, *gauges), rows)}")
    parts.append(
        f"On Pascal, codecarbon and zeus ran for {REAL_SECONDS:.0f} s of real time, since they integrate "
        "by the machine's clock. zeus keeps a reading only when it differs from the one before: of power "
        "that is constant to the milliwatt, which no board draws, it has a single reading and tells 0 J."
    )
    return "\n\n".join(parts)


def _of_tools(errors: Errors) -> list[str]:
    return [f"{100 * error:+.4f}" for error in (errors.counter, *errors.tools.values())]


def _gauge_cells(errors: Errors) -> list[str]:
    if not errors.gauge:
        return ["-"] * len(SCRAPE_SECONDS)
    return [
        f"{100 * median(sizes):.4f}, at most {100 * max(sizes):.4f}"
        for sizes in ([abs(error) for error in errors.gauge[every]] for every in SCRAPE_SECONDS)
    ]
