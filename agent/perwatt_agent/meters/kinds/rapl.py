"""
RAPL: energy counters of processors and of their memory, through the kernel's powercap.

Both Intel and AMD have zones `intel-rapl:N` named `package-N`, with `core` and `dram` inside
(`intel-rapl:N:M`), and some machines have `psys` beside them. Some show the packages a second time, under
`intel-rapl-mmio`; each is read once. `uncore` is part of its package and is not read.

A name does not say whether two zones are two counters. Processors of several dies may show one counter as a
zone of each die, and two processors may have zones of one name. So zones are compared by their counters.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.sysfs import read_word_or_none, try_micro, with_fix

logger = logging.getLogger(__name__)

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
    """BlockingMeter of every counter, whichever zones repeat it. *root* is the folder of powercap."""

    name = "rapl"
    # The counters of a busy machine wrap after a minute or more.
    interval_seconds = 1.0

    def __init__(self, clock: Clock, root: Path = POWERCAP) -> None:
        self._clock = clock
        self._root = root
        self._zones: list[Zone] = []
        self._repeats: list[tuple[str, str]] = []

    def read(self) -> Sequence[MeterSample]:
        """Return a sample of each zone, empty if it fails. Raises MeterFailure if all of them fail."""
        self._zones = self._zones or self._distinct(find_zones(self._root))
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

    def _distinct(self, zones: Sequence[Zone]) -> list[Zone]:
        """Return the first zone of each counter. Zones that repeat it are logged once."""
        distinct, repeats = without_repeats(zones)
        if repeats != self._repeats:
            for repeat, first in repeats:
                logger.info("rapl: %s shows the counter of %s: it is counted once", repeat, first)
        self._repeats = repeats
        return distinct

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
    """
    Return every zone with a counter, under a scope and a zone of its own.

    Of two control types with the same zone, the second is left out: it mirrors the first. Zones of one
    control type with the same name are different zones, and the later ones are numbered.
    """
    found: dict[tuple[MeterScope, str], Zone] = {}
    for control_type in CONTROL_TYPES:
        for zone in _numbered(zone for folder in _folders(root, control_type) for zone in _zone(folder)):
            found.setdefault((zone.scope, zone.zone), zone)
    return list(found.values())


def without_repeats(zones: Iterable[Zone]) -> tuple[list[Zone], list[tuple[str, str]]]:
    """Return the first zone of each counter, and the name of each zone left out with that of the first."""
    distinct: list[Zone] = []
    repeats: list[tuple[str, str]] = []
    for zone in zones:
        first = next((one for one in distinct if one.scope == zone.scope and is_repeat(one, zone)), None)
        if first is None:
            distinct.append(zone)
        else:
            repeats.append((zone.path.name, first.path.name))
    return distinct, repeats


def is_repeat(first: Zone, zone: Zone) -> bool:
    """
    Whether two zones show one counter: the second then lies between two readings of the first.

    A counter has tens of billions of values and moves by thousands between the readings, so that another
    counter does not lie there by chance. Zero is the value of a counter that does not count, not a sign.
    """
    before, between, after = (try_micro(one.path / "energy_uj")[0] for one in (first, zone, first))
    if not before or not between or not after or first.range_joules != zone.range_joules:
        return False
    if after < before:  # it wrapped between the readings
        return between >= before or between <= after
    return before <= between <= after


def _folders(root: Path, control_type: str) -> list[Path]:
    """Return the folders of a control type's zones, in the order of the kernel's numbers."""
    return sorted(
        root.glob(f"{control_type}:*"), key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)]
    )


def _numbered(zones: Iterable[Zone]) -> Iterator[Zone]:
    """Yield each zone; the second of a name becomes `0 2`, as sensors of hwmon do."""
    earlier: Counter[tuple[MeterScope, str]] = Counter()
    for zone in zones:
        earlier[zone.scope, zone.zone] += 1
        number = earlier[zone.scope, zone.zone]
        yield zone if number == 1 else replace(zone, zone=f"{zone.zone} {number}".strip())


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
