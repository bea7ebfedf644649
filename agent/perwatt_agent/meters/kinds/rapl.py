"""
RAPL: energy counters of processors and of their memory, through the kernel's powercap.

Both Intel and AMD have zones `intel-rapl:N` named `package-N`, with `core` and `dram` inside
(`intel-rapl:N:M`), and some machines have `psys` beside them. Some show the packages a second time, under
`intel-rapl-mmio`; each is read once. `uncore` is part of its package and is not read.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.sysfs import read_word_or_none, try_micro, with_fix

POWERCAP = Path("/sys/class/powercap")
# In the order of preference: the registers, then their mirror in memory.
CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")
SCOPES: tuple[tuple[str, MeterScope], ...] = (
    (r"package-(?P<zone>\d+(?:-die-\d+)?)", "package"),
    (r"core", "core"),
    (r"dram", "dram"),
    (r"psys(?:-(?P<zone>\d+))?", "psys"),
)
NOT_PERMITTED_FIX = (
    "only root may read it: give the agent the capability CAP_DAC_READ_SEARCH, or give its group read access "
    "with a udev rule, see docs/meters.md"
)


class Zone(Struct, frozen=True):
    """One zone of powercap: its folder, its scope, and the value at which its counter wraps, if known."""

    path: Path
    scope: MeterScope
    zone: str
    range_joules: float | None


class RaplMeter:
    """BlockingMeter of all zones. *root* is the folder of powercap."""

    name = "rapl"
    # The counters of a busy machine wrap after a minute or more.
    interval_seconds = 1.0

    def __init__(self, clock: Clock, root: Path = POWERCAP) -> None:
        self._clock = clock
        self._root = root
        self._zones: list[Zone] = []

    def read(self) -> Sequence[MeterSample]:
        """Return a sample of each zone, empty if it fails. Raises MeterFailure if all of them fail."""
        self._zones = self._zones or find_zones(self._root)
        if not self._zones:
            raise MeterFailure(
                "absent",
                f"{self._root} has no RAPL zones: no such counters, or a virtual machine",
            )
        read = [(zone, *try_micro(zone.path / "energy_uj"), self._clock.monotonic()) for zone in self._zones]
        failures = [failure for _, _, failure, _ in read if failure is not None]
        if failures:
            self._zones = []  # the zones may have changed
        if len(failures) == len(read):
            raise with_fix(failures[0], NOT_PERMITTED_FIX)
        return [self._sample(zone, joules, instant) for zone, joules, _, instant in read]

    def _sample(self, zone: Zone, joules: float | None, monotonic_seconds: float) -> MeterSample:
        return MeterSample(
            self.name,
            monotonic_seconds,
            energy_joules=joules,
            energy_range_joules=zone.range_joules,
            scope=zone.scope,
            zone=zone.zone,
            period_seconds=self.interval_seconds,
        )


def find_zones(root: Path) -> list[Zone]:
    """Return every zone with a counter, without duplicates."""
    found: dict[tuple[MeterScope, str], Zone] = {}
    for control_type in CONTROL_TYPES:
        for folder in sorted(root.glob(f"{control_type}:*")):
            for zone in _zone(folder):
                found.setdefault((zone.scope, zone.zone), zone)
    return list(found.values())


def _zone(folder: Path) -> Iterator[Zone]:
    """Yield the zone of a folder, if its kind is known; one inside a package has the package's number."""
    for pattern, scope in SCOPES:
        if match := re.fullmatch(pattern, read_word_or_none(folder / "name") or ""):
            zone = match.groupdict().get("zone") or ""
            if scope in ("core", "dram"):
                parent = folder.with_name(folder.name.rpartition(":")[0])
                zone = (read_word_or_none(parent / "name") or "").removeprefix("package-")
            yield Zone(folder, scope, zone, _range_joules(folder))


def _range_joules(folder: Path) -> float | None:
    joules, _ = try_micro(folder / "max_energy_range_uj")
    return joules or None


ROW = MeterKind(
    name="rapl",
    rank=31,
    measures="a processor (`package`) and its memory (`dram`)",
    boundary="direct current, behind the power supplies",
    limits="idles far below what the plug shows; memory is not in `package`; guests have none. `psys`, the "
    "platform of some machines, is shown and never used",
    uncertainty_ratio=0.05,
    uncertainty_basis="processors and memory by RAPL, a model in the processor",
    scopes=("package", "core", "dram", "psys"),
    interval_seconds=RaplMeter.interval_seconds,
    find=lambda clock: ThreadedMeter(RaplMeter(clock), clock),
)
