"""
A day of driver time with random faults: does memory grow, is a thread, a handle or a GPM sample left behind?

The agent's own code in a fresh process, over a driver whose clock is driven by hand: a sweep a second, a page
every fifteen, and from a seed one fault after the other. Hanging calls cost real seconds, so they are few.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from msgspec import Struct
from support.agent.rig import Rig
from support.gpus.fakedepth import create_mig, destroy_mig, enable_mig
from support.gpus.fakenvml import FakeDriver

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import MIB, Plan
from benchmarks.tools.report import Section, Target, table
from perwatt_agent.gpu.backend import BackendBroken
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages

GPUS = 4
SEED = 7
PAGE_SECONDS = 15
WARM_SHARE = 0.2  # of the time, in which every kind of fault has been met and memory finds its size
FAULT_SECONDS = 40  # the mean time between faults
CODES = (1, 2, 3, 4, 9, 10, 15, 16, 19, 27, 28, 999, 777)
CALLS = (
    *("*", "field:83", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo_v2", "nvmlGpmSampleGet"),
    *("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetCount_v2", "nvmlInitWithFlags", "nvmlEventSetWait_v2"),
)


class HeldGpus(Struct, frozen=True):
    """
    What a process holds: bytes, threads, file descriptors, GPM samples and event sets of the driver; and
    how many GPUs it cannot read, without which the rest says nothing.
    """

    rss: int
    threads: int
    descriptors: int
    samples: int
    event_sets: int
    unread_gpus: int


class Soaked(Struct, frozen=True):
    """
    What was held when all was warm, and at the end; how many faults there were, and how long it took.

    `fresh_samples` are held after a reload at the very end: the fake driver then forgets the ones before.
    """

    warm: HeldGpus
    end: HeldGpus
    fresh_samples: int
    late_samples: int
    dead_sets: int
    faults: dict[str, int]
    seconds: float


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """In a process of its own, so that what other benchmarks left does not count."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        soaked = pool.apply(soak, (plan.soak_ticks,))
    rows = [
        (
            name.replace("_", " "),
            _shown(name, getattr(soaked.warm, name)),
            _shown(name, getattr(soaked.end, name)),
        )
        for name in HeldGpus.__struct_fields__
    ]
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(soaked.faults.items()))
    hours = plan.soak_ticks / 3600
    text = (
        f"{hours:.1f} hours of driver time in {soaked.seconds:.0f} s, {GPUS} GPUs, one of them in "
        f"instances: {faults}. Warm is after {100 * WARM_SHARE:.0f} % of it; both are counted with every "
        "fault lifted.\n\n" + table(("", "warm", "at the end"), rows)
    )
    warm, end = soaked.warm, soaked.end
    targets = (
        Target(f"{hours:.0f} h with random faults: RSS growth", 1.0, (end.rss - warm.rss) / MIB, "MiB"),
        Target("GPUs that did not come back", 0, max(warm.unread_gpus, end.unread_gpus)),
        Target("threads left behind", 0, max(0, end.threads - warm.threads)),
        Target("file descriptors left behind", 0, max(0, end.descriptors - warm.descriptors)),
        Target("GPM samples left behind", 0, _more(end.samples, soaked.fresh_samples)),
        Target("GPM samples freed after their driver was gone", 0, soaked.late_samples),
        Target("event sets left behind", 0, _more(end.event_sets, warm.event_sets)),
        Target("event sets freed after their driver was gone", 0, soaked.dead_sets),
    )
    return Section("What a day with faults leaves behind", text, targets)


def soak(ticks: int) -> Soaked:
    """Runs in the process of its own."""
    logging.disable(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeDriver.create(Path(folder), gpus=GPUS).install() as driver,
    ):
        enable_mig(driver, GPUS - 1, instances=3)
        driver.advance(100.0)
        return asyncio.run(Soak(Path(folder), driver).run(ticks))


class Soak:
    """An agent, and the faults that befall it."""

    def __init__(self, folder: Path, driver: FakeDriver) -> None:
        self._driver = driver
        self._rig = Rig(folder, driver)
        self._pages = Pages(lambda: self._rig.sampler.latest, ALL, lambda: ())
        self._chance = random.Random(SEED)
        self._faults: dict[str, int] = {}
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "failing call": (60, self._fail),
            "lost GPU": (10, lambda: self._note(self._driver.lose(self._gpu()))),
            "XID error": (10, lambda: self._driver.xid(self._gpu(), self._chance.choice((13, 48, 79, 94)))),
            "counter that falls": (10, lambda: self._driver.reset_energy(self._gpu())),
            "counter that leaps": (5, lambda: self._driver.shift_energy(self._gpu(), 1e6)),
            "new MIG instances": (5, self._rearrange),
            "reloaded driver": (4, self._driver.reload_driver),
            "other number of GPUs": (2, lambda: self._driver.set_gpu_count(self._chance.randint(0, GPUS))),
            "hanging call": (1, lambda: self._note(self._driver.hang("*", self._gpu()))),
        }

    async def run(self, ticks: int) -> Soaked:
        begun, warm_at = time.monotonic(), int(WARM_SHARE * ticks)
        warm = None
        for tick in range(ticks):
            await self._tick(tick)
            if tick == warm_at:
                warm = await self._held()
        assert warm is not None
        end = await self._held()
        late, dead = self._driver.gpm_samples["late"], self._driver.dead_sets_freed
        self._driver.reload_driver()
        fresh = (await self._held()).samples
        return Soaked(warm, end, fresh, late, dead, self._faults, time.monotonic() - begun)

    async def _tick(self, tick: int) -> None:
        if self._chance.random() < 1 / FAULT_SECONDS:
            self._befall()
        elif self._chance.random() < 2 / FAULT_SECONDS:
            self._lift()
        try:
            await self._rig.run(1)
        except BackendBroken:
            self._faults["restarted agent"] = self._faults.get("restarted agent", 0) + 1
            self._rig.restart_agent()
        if tick % PAGE_SECONDS == 0:
            self._pages.body("text", "gzip")

    def _befall(self) -> None:
        weights = [weight for weight, _ in self._kinds.values()]
        (name,) = self._chance.choices(list(self._kinds), weights)
        self._kinds[name][1]()
        self._faults[name] = self._faults.get(name, 0) + 1

    def _fail(self) -> None:
        times = self._chance.choice((1, 5, 1_000_000))
        self._driver.fail(self._chance.choice(CALLS), self._gpu(), self._chance.choice(CODES), times)

    def _rearrange(self) -> None:
        slot = self._chance.randrange(7)
        destroy_mig(self._driver, GPUS - 1, slot)
        create_mig(self._driver, GPUS - 1, slot)

    def _note(self, injection: object) -> None:
        """Some faults give a handle, which is not needed: all are lifted together."""

    def _lift(self) -> None:
        self._driver.release()
        self._driver.set_gpu_count(GPUS)

    def _gpu(self) -> int:
        return self._chance.randrange(GPUS)

    async def _held(self) -> HeldGpus:
        """With all faults lifted and the agent recovered."""
        self._lift()
        for _ in range(60):
            await self._rig.run(1)
            await asyncio.sleep(0.01)  # lanes live in real time
        gc.collect()
        return HeldGpus(
            int(psutil.Process().memory_info().rss),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - as it is read
            self._driver.gpm_samples["held"],
            self._driver.event_sets,
            GPUS - sum(gpu.state == "ok" for gpu in self._rig.sampler.latest.gpus),
        )


def _more(now: int, before: int) -> int:
    return max(0, now - before)


def _shown(name: str, value: int) -> str:
    return f"{value / MIB:.2f} MiB" if name == "rss" else str(value)
