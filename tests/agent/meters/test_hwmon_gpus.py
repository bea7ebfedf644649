"""GPUs that the kernel alone knows are shown as sensors, are in no other figure, and may sleep."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.meters.sysfs_trees import acpi_meter, lay, open_folder

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.kinds.hwmon import HwmonMeter
from perwatt_agent.meters.meter import MeterFailure

TREES = Path(__file__).parents[2] / "data" / "hwmon" / "trees.tsv"

POWERS: dict[str, dict[str, Any]] = {
    "amd-rx6900xt": {"amdgpu 0000:0c:00.0 PPT": 36.0},
    "amd-phoenix": {"amdgpu 0000:64:00.0 PPT": 3.103},
    "amd-vangogh": {"amdgpu 0000:04:00.0 slowPPT": 3.218, "amdgpu 0000:04:00.0 fastPPT": 3.04},
    "synthetic.amd-mi300x-cpx": {"amdgpu PPT": 505.0},
    "synthetic.habanalabs": {"hl0 power1": 98.0},
    "synthetic.jetson-ina3221": {
        "ina3221 VDD_GPU_SOC": pytest.approx(19.112 * 0.412),
        "ina3221 VDD_CPU_CV": pytest.approx(19.112 * 0.104),
        "ina3221 VIN_SYS_5V0": pytest.approx(5.016 * 0.856),
    },
}
COUNTERS = {
    "intel-a380-i915": ("hwmon1/energy1_input", 25_637.161804, "i915 0000:0b:00.0 energy1"),
    "intel-a380-xe": ("hwmon0/energy2_input", 59_540.970520, "xe 0000:08:00.0 pkg"),
    "intel-b580-6.16": ("hwmon4/energy2_input", 29_523.753173, "xe 0000:0b:00.0 pkg"),
}


@pytest.fixture
def root() -> Iterator[Path]:
    with open_folder() as folder:
        (folder / "hwmon").mkdir()
        yield folder / "hwmon"


def lay_machine(root: Path, machine: str, *, control: str = "on") -> None:
    """Lay out the sensors of a real machine; its device is managed as *control* says."""
    rows = [line.split("\t") for line in TREES.read_text().splitlines()]
    for _, path, content in (row for row in rows if row[0] == machine):
        if path.endswith("/device"):
            device = root.parent / "devices" / content
            lay(device, {"power/control": control, "power/runtime_status": "active"})
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).symlink_to(device)
        else:
            lay(root, {path: content})


def sensors(samples: list[MeterSample]) -> dict[str, float | None]:
    assert {"sensor"} == {sample.scope for sample in samples}
    return {sample.zone: sample.power_watts for sample in samples}


@pytest.mark.parametrize("machine", POWERS)
def test_power(machine: str, root: Path, clock: ManualClock) -> None:
    """Each card is a sensor, by its address, which outlives a boot where the kernel's numbers do not."""
    lay_machine(root, machine)

    assert POWERS[machine] == sensors(list(HwmonMeter(clock, root).read()))


def test_no_power(root: Path, clock: ManualClock) -> None:
    """An old card with the label of a power and no power has none."""
    lay_machine(root, "amd-r7-240")
    with pytest.raises(MeterFailure) as raised:
        HwmonMeter(clock, root).read()

    assert "absent" == raised.value.reason


@pytest.mark.parametrize("machine", COUNTERS)
def test_counter(machine: str, root: Path, clock: ManualClock) -> None:
    """Intel's GPUs count energy: their power is a mean between reads, and never over a long pause."""
    path, joules, zone = COUNTERS[machine]
    lay_machine(root, machine)
    meter = HwmonMeter(clock, root)

    def read(seconds: float, more_joules: float) -> tuple[float | None, float | None, bool]:
        nonlocal joules
        clock.advance(seconds)
        joules += more_joules
        lay(root, {path: round(joules * 1e6)})
        (sample,) = (sample for sample in meter.read() if sample.zone == zone)
        return sample.power_watts, sample.energy_joules, sample.power_is_mean

    assert (None, pytest.approx(joules), True) == read(5.0, 0.0)
    assert (pytest.approx(40.0), None, True) == read(5.0, 200.0)
    assert (None, None, True) == read(5.0, 0.0)
    assert (pytest.approx(50.0), None, True) == read(5.0, 250.0)
    assert (None, pytest.approx(joules + 500.0), True) == read(90.0, 500.0)
    assert (None, pytest.approx(joules - 600.0), True) == read(5.0, -600.0)


def test_counter_that_does_not_count(root: Path, clock: ManualClock) -> None:
    """A B580's counter of the whole card stands at zero under Linux 6.16: that is no 0 W."""
    lay_machine(root, "intel-b580-6.16")
    meter = HwmonMeter(clock, root)
    for _ in range(3):
        clock.advance(5.0)
        (card,) = (sample for sample in meter.read() if sample.zone == "xe 0000:0b:00.0 card")
        assert (None, None) == (card.power_watts, card.energy_joules)


def test_rail_that_is_off(root: Path, clock: ManualClock) -> None:
    """A rail that is not measured is no sensor of 0 W, and a shunt voltage is no rail."""
    lay_machine(root, "synthetic.jetson-ina3221")
    lay(root, {"hwmon3/in2_enable": 0})

    assert ["ina3221 VDD_GPU_SOC", "ina3221 VIN_SYS_5V0"] == list(
        sensors(list(HwmonMeter(clock, root).read()))
    )


def test_sleep(root: Path, clock: ManualClock) -> None:
    """A GPU that may sleep is read every 20 s only, and never while it sleeps; other sensors as before."""
    lay_machine(root, "amd-rx6900xt", control="auto")
    lay(root, acpi_meter(1, "", 300.0))
    card = root / "hwmon5"
    meter = HwmonMeter(clock, root)
    instants = []
    for read in range(8):
        clock.advance(5.0)
        lay(root, {"hwmon5/power1_average": (36 + read) * 1_000_000})
        node, gpu = meter.read()
        instants.append((node.power_watts, node.period_seconds, gpu.power_watts, gpu.period_seconds))
    (card / "device" / "power" / "runtime_status").write_text("suspended\n")
    (card / "power1_average").write_text("a read would show this\n")
    asleep = list(meter.read())

    assert [(300.0, 5.0, 36.0, 20.0)] * 4 + [(300.0, 5.0, 40.0, 20.0)] * 4 == instants
    assert [300.0] == [sample.power_watts for sample in asleep]


def test_log(root: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """The log says once what is shown only, though it looks like a GPU or like the whole node."""
    lay_machine(root, "amd-rx6900xt")
    lay(root, acpi_meter(1, "Riser 2", 75.0))
    meter = HwmonMeter(clock, root)
    with caplog.at_level("INFO"):
        meter.read()
        meter.read()

    assert [
        "hwmon: shown as sensors, but in the figures of no GPU, workload or node: amdgpu 0000:0c:00.0 PPT",
        "hwmon: shown as sensors, because they do not say that they measure the whole node: "
        "power_meter Riser 2",
    ] == caplog.messages
