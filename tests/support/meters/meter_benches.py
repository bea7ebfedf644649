"""
Benches of meters: each meter reads an environment of its own, which the test sets or breaks.

To add a meter, write a context manager that yields its Bench, and add it to BENCHES under the name of its
kind. Then tests/agent/meters/test_faults.py tries every fault on it.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kinds.grace import GraceMeter
from perwatt_agent.meters.kinds.hwmon import HwmonMeter
from perwatt_agent.meters.kinds.rapl import RaplMeter
from perwatt_agent.meters.meter import Meter
from support.meters import remote_benches
from support.meters.sysfs_trees import acpi_meter, lay, nobody, open_folder, rapl_zone


class Bench(Protocol):
    """
    One meter and its environment.

    `label` is the agent's name of the meter, `scope` what it measures; `counts` is True for an energy
    counter, False for a power. `show` sets the power and the energy so far that the meter reads;
    `take_away`, `deny` and `garble` break it until the next `show`. `reasons` has the reason of a fault in
    test_faults.py, if it differs from that of other meters.
    """

    meter: Meter
    label: str
    scope: MeterScope
    counts: bool
    reasons: Mapping[str, str]

    def show(self, watts: float, joules: float) -> None: ...

    def take_away(self) -> None: ...

    def deny(self) -> AbstractContextManager[None]:
        """Let it not be permitted within the context."""
        ...

    def garble(self) -> None: ...


class SysfsBench:
    """A meter that reads the file *value* among those that *files* lays out for a power and an energy."""

    reasons: Mapping[str, str] = {}

    def __init__(
        self,
        root: Path,
        meter: Meter,
        label: str,
        scope: MeterScope,
        value: str,
        files: Callable[[float, float], dict[str, str | int]],
        *,
        counts: bool = False,
    ) -> None:
        self.meter, self.label, self.scope, self.counts = meter, label, scope, counts
        self._root = root
        self._value = root / value
        self._files = files

    def show(self, watts: float, joules: float) -> None:
        lay(self._root, self._files(watts, joules))

    def take_away(self) -> None:
        for file in sorted(self._value.parent.iterdir()):
            if file.is_file():
                file.unlink()

    def deny(self) -> AbstractContextManager[None]:
        self._value.chmod(0o400)
        return nobody()

    def garble(self) -> None:
        self._value.write_text("N/A\n")


RAPL_RANGE_JOULES = 65_532.61


@asynccontextmanager
async def rapl(clock: ManualClock) -> AsyncIterator[Bench]:
    with open_folder() as root:

        def files(watts: float, joules: float) -> dict[str, str | int]:
            shown = joules % RAPL_RANGE_JOULES if joules > 0 else joules
            return rapl_zone("intel-rapl:0", "package-0", shown, RAPL_RANGE_JOULES)

        yield SysfsBench(
            root,
            ThreadedMeter(RaplMeter(clock, root), clock),
            "rapl/package/0",
            "package",
            "intel-rapl:0/energy_uj",
            files,
            counts=True,
        )


@asynccontextmanager
async def hwmon(clock: ManualClock) -> AsyncIterator[Bench]:
    with open_folder() as root:
        yield SysfsBench(
            root,
            ThreadedMeter(HwmonMeter(clock, root), clock),
            "hwmon",
            "node",
            "hwmon0/device/power1_average",
            lambda watts, joules: acpi_meter(0, "", watts),
        )


@asynccontextmanager
async def grace(clock: ManualClock) -> AsyncIterator[Bench]:
    with open_folder() as root:
        yield SysfsBench(
            root,
            ThreadedMeter(GraceMeter(clock, root), clock),
            "grace/module/0",
            "module",
            "hwmon0/device/power1_average",
            lambda watts, joules: acpi_meter(0, "Module Power Socket 0", watts),
        )


BENCHES: dict[str, Callable[[ManualClock], AbstractAsyncContextManager[Bench]]] = {
    "rapl": rapl,
    "hwmon": hwmon,
    "grace": grace,
    "ipmi": remote_benches.ipmi,
    "redfish": remote_benches.redfish,
    "prometheus": remote_benches.prometheus,
    "json": remote_benches.json,
    "csv": remote_benches.csv,
}
