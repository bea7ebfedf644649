"""Meters in /sys, over the folder layouts of real machines."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from support.meters.sysfs_trees import acpi_meter, lay, nobody, open_folder, rapl_zone

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.kinds.grace import GraceMeter
from perwatt_agent.meters.kinds.hwmon import HwmonMeter
from perwatt_agent.meters.kinds.rapl import RaplMeter, Zone, is_repeat
from perwatt_agent.meters.meter import MeterFailure

Tree = Mapping[str, str | int]

RAPL: dict[str, tuple[Tree, dict[tuple[str, str], float]]] = {
    "two Xeons with memory": (
        rapl_zone("intel-rapl:0", "package-0", 1_000.5)
        | rapl_zone("intel-rapl:0:0", "dram", 200.25, 65_712.999613)
        | rapl_zone("intel-rapl:1", "package-1", 3_000.0)
        | rapl_zone("intel-rapl:1:0", "dram", 400.0, 65_712.999613)
        | {"intel-rapl/enabled": 1},
        {("package", "0"): 1_000.5, ("dram", "0"): 200.25, ("package", "1"): 3_000.0, ("dram", "1"): 400.0},
    ),
    "a laptop that shows its package twice": (
        rapl_zone("intel-rapl:0", "package-0", 10.0)
        | rapl_zone("intel-rapl:0:0", "core", 4.0)
        | rapl_zone("intel-rapl:0:1", "uncore", 1.0)
        | rapl_zone("intel-rapl:1", "psys", 30.0)
        | rapl_zone("intel-rapl-mmio:0", "package-0", 10.1),
        {("package", "0"): 10.0, ("core", "0"): 4.0, ("psys", ""): 30.0},
    ),
    "a machine with the mirror alone": (
        rapl_zone("intel-rapl-mmio:0", "package-0", 10.1),
        {("package", "0"): 10.1},
    ),
    "two EPYCs": (
        rapl_zone("intel-rapl:0", "package-0", 5.0, 65_532.61)
        | rapl_zone("intel-rapl:0:0", "core", 2.0, 65_532.61)
        | rapl_zone("intel-rapl:1", "package-1", 6.0, 65_532.61)
        | rapl_zone("intel-rapl:1:0", "core", 3.0, 65_532.61),
        {("package", "0"): 5.0, ("core", "0"): 2.0, ("package", "1"): 6.0, ("core", "1"): 3.0},
    ),
    "a processor of two dies": (
        rapl_zone("intel-rapl:0", "package-0-die-0", 5.0)
        | rapl_zone("intel-rapl:1", "package-0-die-1", 6.0)
        | rapl_zone("intel-rapl:1:0", "dram", 1.0),
        {("package", "0-die-0"): 5.0, ("package", "0-die-1"): 6.0, ("dram", "0-die-1"): 1.0},
    ),
    "an EPYC whose dies repeat one counter": (
        rapl_zone("intel-rapl:0", "package-0-die-0", 68.0, 65_532.61)
        | rapl_zone("intel-rapl:0:0", "core", 2.0, 65_532.61)
        | rapl_zone("intel-rapl:1", "package-0-die-1", 68.0, 65_532.61)
        | rapl_zone("intel-rapl:1:0", "core", 3.0, 65_532.61),
        {("package", "0-die-0"): 68.0, ("core", "0-die-0"): 2.0, ("core", "0-die-1"): 3.0},
    ),
    "one counter under two names that look like two processors": (
        rapl_zone("intel-rapl:0", "package-0", 68.0) | rapl_zone("intel-rapl:1", "package-1", 68.0),
        {("package", "0"): 68.0},
    ),
    "two processors with zones of one name": (
        rapl_zone("intel-rapl:0", "package-0", 5.0)
        | rapl_zone("intel-rapl:0:0", "dram", 1.0)
        | rapl_zone("intel-rapl:1", "package-0", 7.0)
        | rapl_zone("intel-rapl:1:0", "dram", 2.0)
        | rapl_zone("intel-rapl-mmio:0", "package-0", 5.1)
        | rapl_zone("intel-rapl-mmio:1", "package-0", 7.1),
        {("package", "0"): 5.0, ("package", "0 2"): 7.0, ("dram", "0"): 1.0, ("dram", "0 2"): 2.0},
    ),
    "two platforms with one name": (
        rapl_zone("intel-rapl:0", "psys", 30.0) | rapl_zone("intel-rapl:1", "psys", 31.0),
        {("psys", ""): 30.0, ("psys", "2"): 31.0},
    ),
    "a machine of eleven processors": (
        {
            path: value
            for number in range(11)
            for path, value in rapl_zone(f"intel-rapl:{number}", "package-0", 1.0 + number).items()
        },
        {("package", f"0 {number + 1}" if number else "0"): 1.0 + number for number in range(11)},
    ),
    "counters that do not count": (
        rapl_zone("intel-rapl:0", "package-0", 0.0) | rapl_zone("intel-rapl:1", "package-1", 0.0),
        {("package", "0"): 0.0, ("package", "1"): 0.0},
    ),
}

GH200 = {
    **acpi_meter(1, "Module Power Socket 0", 612.0),
    **acpi_meter(2, "Grace Power Socket 0", 180.5),
    **acpi_meter(3, "CPU Power Socket 0", 95.0),
    **acpi_meter(4, "SysIO Power Socket 0", 22.0),
}

GRACE: dict[str, tuple[Tree, dict[tuple[str, str], float]]] = {
    "a GH200": (
        GH200,
        {
            ("module", "0"): 612.0,
            ("package", "0"): 180.5,
            ("core", "0"): 95.0,
            ("sensor", "SysIO Power Socket 0"): 22.0,
        },
    ),
    "two sockets of Grace alone": (
        {**acpi_meter(1, "Grace Power Socket 0", 250.0), **acpi_meter(2, "Grace Power Socket 1", 251.0)},
        {("package", "0"): 250.0, ("package", "1"): 251.0},
    ),
}

HWMON: dict[str, tuple[Tree, dict[tuple[str, str], float]]] = {
    "a server whose ACPI knows its input": (acpi_meter(3, "", 812.0), {("node", ""): 812.0}),
    "a server with Intel's Node Manager": (
        acpi_meter(1, "Meter measures total domain", 640.0),
        {("node", ""): 640.0},
    ),
    "a server whose firmware says something else": (
        acpi_meter(1, "Riser 2", 75.0),
        {("sensor", "power_meter Riser 2"): 75.0},
    ),
    "a server with a battery": (
        acpi_meter(1, "", 75.0) | {"hwmon1/device/power1_is_battery": 1} | acpi_meter(2, "", 640.0),
        {("sensor", "power_meter power1"): 75.0, ("node", ""): 640.0},
    ),
    "a server with an input for each supply": (
        {**acpi_meter(0, "", 400.0), **acpi_meter(1, "", 412.0)},
        {("sensor", "power_meter power1"): 400.0, ("sensor", "power_meter power1 2"): 412.0},
    ),
    "an old AMD": (
        {"hwmon0/name": "fam15h_power", "hwmon0/power1_input": 45_123_000},
        {("package", "0"): 45.123},
    ),
    "two supplies with words, one graphics card, a drive": (
        {
            "hwmon0/name": "corsairpsu",
            "hwmon0/power1_input": 320_000_000,
            "hwmon0/power1_label": "power total",
            "hwmon0/power2_input": 180_000_000,
            "hwmon1/name": "corsairpsu",
            "hwmon1/power1_input": 310_000_000,
            "hwmon1/power1_label": "power total",
            "hwmon2/name": "amdgpu",
            "hwmon2/power1_average": 200_000_000,
            "hwmon3/name": "nvme",
            "hwmon3/temp1_input": 40_000,
        },
        {
            ("sensor", "corsairpsu power total"): 320.0,
            ("sensor", "corsairpsu power2"): 180.0,
            ("sensor", "corsairpsu power total 2"): 310.0,
            ("sensor", "amdgpu power1"): 200.0,
        },
    ),
}


@pytest.fixture
def root() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def watts(samples: list[MeterSample]) -> dict[tuple[str, str], float | None]:
    return {(sample.scope, sample.zone): sample.power_watts for sample in samples}


@pytest.mark.parametrize("machine", RAPL)
def test_rapl(machine: str, root: Path, clock: ManualClock) -> None:
    """Each thing that RAPL counts is read once, in joules, with the range after which it starts anew."""
    tree, expected = RAPL[machine]
    lay(root, tree)
    samples = RaplMeter(clock, root).read()

    assert expected == {(sample.scope, sample.zone): sample.energy_joules for sample in samples}
    assert all(sample.energy_range_joules and sample.energy_range_joules > 60_000.0 for sample in samples)
    assert {("rapl", clock.monotonic(), 1.0)} == {
        (sample.source, sample.monotonic_seconds, sample.period_seconds) for sample in samples
    }


def test_repeated_counter() -> None:
    """A live counter is recognised between two readings of the first zone, also while it wraps."""

    class Moving:
        """Path of a counter whose next values are given."""

        def __init__(self, *joules: float) -> None:
            self._words = [str(round(one * 1e6)) for one in joules]

        def __truediv__(self, name: str) -> "Moving":
            return self

        def read_text(self) -> str:
            return self._words.pop(0)

    def repeats(before: float, between: float, after: float) -> bool:
        first = Zone(cast("Path", Moving(before, after)), "package", "0-die-0", 100.0)
        return is_repeat(first, Zone(cast("Path", Moving(between)), "package", "0-die-1", 100.0))

    assert repeats(50.0, 50.0, 50.0)
    assert repeats(50.0, 50.1, 50.2)
    assert repeats(99.9, 0.1, 0.2)
    assert repeats(99.8, 99.9, 0.1)
    assert not repeats(50.0, 49.9, 50.2)
    assert not repeats(50.0, 50.3, 50.2)
    assert not repeats(99.9, 50.0, 0.2)
    assert not repeats(0.0, 0.0, 0.0)


def test_repeated_counter_is_logged_once(
    root: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which zone repeats which, and says it once though the zones are found again."""
    lay(root, rapl_zone("intel-rapl:0", "package-0-die-0", 68.0))
    lay(root, rapl_zone("intel-rapl:1", "package-0-die-1", 68.0) | rapl_zone("intel-rapl:2", "psys", 90.0))
    meter = RaplMeter(clock, root)
    with caplog.at_level("INFO"):
        meter.read()
        (root / "intel-rapl:2" / "energy_uj").unlink()
        meter.read()
        meter.read()

    assert ["rapl: intel-rapl:1 shows the counter of intel-rapl:0: it is counted once"] == caplog.messages


@pytest.mark.parametrize("machine", GRACE)
def test_grace(machine: str, root: Path, clock: ManualClock) -> None:
    """The firmware's words say what a meter measures, and of which socket."""
    tree, expected = GRACE[machine]
    lay(root, tree)

    assert expected == watts(list(GraceMeter(clock, root).read()))


@pytest.mark.parametrize("machine", HWMON)
def test_hwmon(machine: str, root: Path, clock: ManualClock) -> None:
    """Only what is known by its name is a part of the node; the rest is a sensor with a name of its own."""
    tree, expected = HWMON[machine]
    lay(root, tree)

    assert expected == watts(list(HwmonMeter(clock, root).read()))


def test_acpi_without_a_value(root: Path, clock: ManualClock) -> None:
    """An ACPI meter with all 32 bits set has no value, and is refused by itself."""
    lay(root, acpi_meter(0, "", 4_294_967.295))
    with pytest.raises(MeterFailure, match="does not have") as raised:
        HwmonMeter(clock, root).read()

    assert "implausible" == raised.value.reason


def test_graces_meters_are_not_read_twice(root: Path, clock: ManualClock) -> None:
    """What Grace's meter reads, hwmon's leaves alone, and the other way round."""
    lay(root, {**GH200, **acpi_meter(9, "", 1_000.0)})

    assert {("node", ""): 1_000.0} == watts(list(HwmonMeter(clock, root).read()))
    assert 4 == len(GraceMeter(clock, root).read())


@pytest.mark.parametrize("meter", [RaplMeter, HwmonMeter, GraceMeter])
def test_absent(meter: type[RaplMeter | HwmonMeter | GraceMeter], root: Path, clock: ManualClock) -> None:
    """A machine without the hardware says so, be the folder empty or not there."""
    for folder in (root, root / "nothing"):
        with pytest.raises(MeterFailure) as raised:
            meter(clock, folder).read()
        assert "absent" == raised.value.reason


def test_not_permitted(root: Path, clock: ManualClock) -> None:
    """Counters that only root may read are told from those that are not there, with what would cure it."""
    lay(root, rapl_zone("intel-rapl:0", "package-0", 5.0))
    (root / "intel-rapl:0" / "energy_uj").chmod(0o400)
    with nobody(), pytest.raises(MeterFailure, match="udev rule") as raised:
        RaplMeter(clock, root).read()

    assert "permission_denied" == raised.value.reason


def test_one_zone_fails(root: Path, clock: ManualClock) -> None:
    """A zone that fails beside others is an empty sample; what comes in its place is found again."""
    lay(root, rapl_zone("intel-rapl:0", "package-0", 5.0) | rapl_zone("intel-rapl:0:0", "dram", 1.0))
    meter = RaplMeter(clock, root)
    meter.read()
    for word in ("garbage", "-", "", "9" * 400):
        (root / "intel-rapl:0:0" / "energy_uj").write_text(f"{word}\n")
        assert [5.0, None] == [sample.energy_joules for sample in meter.read()]
    lay(root, rapl_zone("intel-rapl:0:0", "dram", 2.0) | rapl_zone("intel-rapl:1", "package-1", 7.0))
    assert [5.0, 2.0, 7.0] == [sample.energy_joules for sample in meter.read()]
