"""One GPU hangs, one is lost, the driver is reloaded: when does the page say so, and do the others go on?"""

import math
import time
from collections.abc import Callable, Sequence

from msgspec import Struct, field
from support.gpus.fakenvml import FakeDriver, Sine

from benchmarks.peers.exporters import Exporter, Running, side_by_side
from benchmarks.tools.harness import Plan
from benchmarks.tools.report import Ratio, Section, Target, table

GPUS = 8
SICK = 3
SETTLE_SECONDS = 4.0
RECOVERY_SECONDS = 10.0
POLL_SECONDS = 0.1
FAULTS: dict[str, Callable[[FakeDriver], object]] = {
    "one GPU hangs": lambda driver: driver.hang("*", SICK),
    "one GPU is lost": lambda driver: driver.lose(SICK),
    "the driver is reloaded": lambda driver: driver.reload_driver(),
}
# A hang is told after the deadline and one interval (DESIGN section 2).
HANG_LIMIT_SECONDS = 2.0 + 1.0


class Watch(Struct):
    """
    One exporter's page over a fault. Seconds count from the fault, and are None for what never came.

    `frozen_seconds` is the longest time for which the values of all other GPUs stood still. A GPU is
    back with its first new value after the page said that it was gone, or after the fault was lifted.
    """

    running: Running
    said_seconds: float | None = None
    lifted_seconds: float | None = None
    back_seconds: float | None = None
    frozen_seconds: float = 0.0
    answered: bool = True
    last: dict[str, float] = field(default_factory=dict)
    changed_seconds: float = 0.0

    def look(self, seconds: float) -> None:
        """Read the page; power that is absent or NaN says that the GPU cannot be read."""
        try:
            watts = self.running.watts()
        except (OSError, EOFError):
            self.answered = False
            return
        new = {gpu: value for gpu, value in watts.items() if value == value and value != self.last.get(gpu)}
        sick = self.running.driver.uuid(SICK)
        if sick in new and (self.said_seconds is not None or self.lifted_seconds is not None):
            self.back_seconds = seconds if self.back_seconds is None else self.back_seconds
        if watts.get(sick, math.nan) != watts.get(sick, math.nan) and self.said_seconds is None:
            self.said_seconds = seconds
        if new.keys() - {sick}:
            self.changed_seconds = seconds
        self.frozen_seconds = max(self.frozen_seconds, seconds - self.changed_seconds)
        self.last |= new

    @property
    def cells(self) -> tuple[str, str, str, str]:
        back = self.back_seconds
        if back is not None and self.lifted_seconds is not None and back > self.lifted_seconds:
            back -= self.lifted_seconds
        answered = "yes" if self.answered else "no"
        return _seconds(self.said_seconds), f"{self.frozen_seconds:.1f}", _seconds(back), answered


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Each fault on fresh processes, all exporters at once."""
    rows: list[tuple[str, ...]] = []
    targets: tuple[Target, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    for name, inject in FAULTS.items():
        with side_by_side(exporters, GPUS) as all_running:
            watches = _watch(plan, all_running, inject)
        rows += [(name, watch.running.exporter.name, *watch.cells) for watch in watches]
        # Those of the hang, which comes first.
        targets, ratios = targets or _targets(watches[0]), ratios or _ratios(*watches)
    text = (
        f"8 GPUs whose power changes all the time; the page is read every {POLL_SECONDS} s. A hang or a loss "
        f"is lifted after {plan.survival_seconds:.0f} s, then there are {RECOVERY_SECONDS:.0f} s to recover, "
        "and as long in all for a reloaded driver. A page says that a GPU cannot be read when its power is "
        "absent or NaN. Frozen is the longest time for which no other GPU's power changed."
    )
    head = ("Fault", "exporter", "page says so, s", "others frozen, s", "fresh again, s", "page answers")
    return Section("When a GPU is sick", f"{text}\n\n{table(head, rows)}", targets, ratios)


def _watch(plan: Plan, all_running: Sequence[Running], inject: Callable[[FakeDriver], object]) -> list[Watch]:
    for running in all_running:
        for gpu in range(GPUS):
            running.driver.set_waveform(gpu, Sine(300.0 + gpu, 150.0, period_seconds=37.0))
    time.sleep(SETTLE_SECONDS)
    watches = [Watch(running, last=running.watts()) for running in all_running]
    begun = time.monotonic()
    for running in all_running:
        inject(running.driver)
    _look_until(begun, plan.survival_seconds, watches)
    for watch in watches:
        watch.lifted_seconds = time.monotonic() - begun
        watch.running.driver.release()
    _look_until(begun, plan.survival_seconds + RECOVERY_SECONDS, watches)
    return watches


def _look_until(begun: float, seconds: float, watches: Sequence[Watch]) -> None:
    while time.monotonic() - begun < seconds:
        for watch in watches:
            watch.look(time.monotonic() - begun)
        time.sleep(POLL_SECONDS)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def _targets(own: Watch) -> tuple[Target, ...]:
    said = math.inf if own.said_seconds is None else own.said_seconds
    return (
        Target("a hang is on the page", HANG_LIMIT_SECONDS, said, "s"),
        Target("the others' values during a hang", 2.0, own.frozen_seconds, "s old"),
    )


def _ratios(own: Watch, peer: Watch | None = None) -> tuple[Ratio, ...]:
    if peer is None:
        return ()
    ours, theirs = own.said_seconds, peer.said_seconds
    ratio = math.nan if ours is None or theirs is None else ours / theirs
    return (Ratio("one GPU hangs: the page says so after", _said(ours), _said(theirs), ratio),)


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
