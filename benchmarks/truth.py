"""
How true the energy is: perwatt's counter and a scraped gauge of watts, against the exact integral.

The driver's clock is driven by hand, so ten minutes take seconds and nothing depends on this machine.
"""

import asyncio
import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporters import HERE, PEERS, Exporter
from harness import Plan, median
from msgspec import Struct
from report import Section, Target, table
from support.fakenvml import Constant, FakeDriver, Ramp, Square, Waveform
from support.rig import Rig

WINDOW_SECONDS = 600
SCRAPE_SECONDS = (5, 15)
# Readings shall not fall on the edges of bursts, as they never do outside of tests.
FIRST_READING_SECONDS = 5.137
FIRST_TICKS = 30
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
    """Relative errors of one waveform: perwatt's, and the gauge's at each phase of each scrape interval."""

    counter: float
    gauge: dict[int, list[float]]

    @property
    def ratio(self) -> float | None:
        """perwatt's error over the gauge's median one at the longest interval; None where that is none."""
        gauge = median([abs(error) for error in self.gauge[SCRAPE_SECONDS[-1]]])
        return abs(self.counter) / gauge if gauge > TRUE_ENOUGH else None


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Two figures are compared: the counter's increase, and `avg_over_time(gauge) * seconds`."""
    with_peer = len(exporters) > 1
    found = {name: asyncio.run(_errors(name, with_peer=with_peer)) for name in ARCHITECTURES}
    targets = tuple(
        Target(f"energy error / a scraped gauge's: {burst}, {name}", 0.01, ratio)
        for name in ("hopper", "ga100")
        for burst in (*BURSTS, TELEGRAPH)
        if with_peer and (ratio := found[name][burst].ratio) is not None
    )
    return Section("How true the energy is", _text(found), targets)


async def _errors(architecture: str, *, with_peer: bool) -> dict[str, Errors]:
    names = [*WAVEFORMS, TELEGRAPH]
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeDriver.create(Path(folder), gpus=len(names), architecture=architecture).install() as driver,
        _gauge(driver, with_peer=with_peer) as update,
    ):
        _draw(driver)
        rig = Rig(Path(folder), driver)
        driver.advance(FIRST_READING_SECONDS - 1.0)
        await _first_reading(rig, len(names))
        begin, first = driver.now, [rig.energy(gpu).joules for gpu in range(len(names))]
        watts: list[list[float]] = []
        await rig.run(WINDOW_SECONDS, lambda _: watts.append(update()))
        end = driver.now
        exact = [driver.exact_energy_joules(gpu, begin, end) for gpu in range(len(names))]
        counted = [rig.energy(gpu).joules - first[gpu] for gpu in range(len(names))]
    series = list(zip(*watts, strict=True)) if with_peer else [()] * len(names)
    return {
        name: Errors(counted[gpu] / exact[gpu] - 1, _gauge_errors(series[gpu], exact[gpu]))
        for gpu, name in enumerate(names)
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
    if not with_peer:
        yield list
        return
    with subprocess.Popen(
        [PEERS / "bin" / "python", HERE / "peer_gauge.py"],
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


def _text(found: dict[str, dict[str, Errors]]) -> str:
    parts = [
        f"{WINDOW_SECONDS // 60} minutes of driver time. The error in percent, of perwatt's energy counter "
        "at one reading a second, and of `avg_over_time(gpu_power_usage_W)` times the seconds, from "
        "nvitop-exporter's page as Prometheus would scrape it: the median and the greatest error over all "
        "whole-second phases that the scrapes can have. **The driver's energy counter is taken to be ideal** "
        "(exact, renewed every 100 ms): this is the software's error and says nothing about a sensor's. "
        "Where a board has no counter, no reader of one value a second sees bursts that keep its own beat."
    ]
    for name, title in ARCHITECTURES.items():
        rows = [
            (waveform, f"{100 * errors.counter:+.4f}", *_gauge_cells(errors))
            for waveform, errors in found[name].items()
        ]
        gauges = [f"gauge, {every} s scrapes" for every in SCRAPE_SECONDS]
        parts.append(f"{title}\n\n{table(('Error, %', 'perwatt', *gauges), rows)}")
    return "\n\n".join(parts)


def _gauge_cells(errors: Errors) -> list[str]:
    if not errors.gauge:
        return ["-"] * len(SCRAPE_SECONDS)
    return [
        f"{100 * median(sizes):.4f}, at most {100 * max(sizes):.4f}"
        for sizes in ([abs(error) for error in errors.gauge[every]] for every in SCRAPE_SECONDS)
    ]
