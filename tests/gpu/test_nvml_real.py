"""
The NVML backend on a real GPU; run by `make test-gpu`.

Besides passing or failing it prints what this board and driver do: run with -s and keep the output.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from statistics import median

import pytest

from perwatt_agent.clock import SystemClock
from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.device import NvmlDevice
from perwatt_agent.gpu.nvml.driver.fields import FieldBatch
from perwatt_agent.gpu.nvml.driver.traits import Traits, version_numbers
from perwatt_agent.gpu.nvml.readers import details, fast, slow
from perwatt_agent.gpu.nvml.readers.tables import Table, fast_fields, slow_fields

pytestmark = pytest.mark.gpu

CROSS_CHECK_SECONDS = 20.0
REPEATS = 50


@pytest.fixture(scope="module")
def generation() -> Iterator[Generation]:
    backend = NvmlBackend(SystemClock())
    generation = backend.open()
    print(f"\ndriver {generation.driver_version}, NVML {generation.nvml_version}")
    yield generation
    backend.close()


@pytest.fixture(scope="module")
def devices(generation: Generation) -> tuple[NvmlDevice, ...]:
    return tuple(device for device in generation.devices if isinstance(device, NvmlDevice))


@pytest.fixture(scope="module")
def tables(generation: Generation) -> tuple[Table, Table]:
    """The fields that this driver has, of the fast and of the slow tier."""
    traits = Traits(driver=version_numbers(generation.driver_version))
    return fast_fields(traits), slow_fields(traits)


def microseconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e6


def latencies(name: str, call: Callable[[], object]) -> None:
    took = sorted(microseconds(call) for _ in range(REPEATS))
    print(f"  {name:42} median {median(took):9.1f} us   worst {took[-1]:9.1f} us")


def read_for(device: NvmlDevice, seconds: float, interval_seconds: float) -> list[GpuReading]:
    readings, begun = [], time.monotonic()
    while time.monotonic() - begun < seconds:
        readings.append(device.read())
        time.sleep(interval_seconds)
    return readings


def trapezoid_joules(sooner: GpuReading, later: GpuReading) -> float:
    seconds = later.monotonic_seconds - sooner.monotonic_seconds
    return seconds * (later.power_watts + sooner.power_watts) / 2


def test_identity(devices: tuple[NvmlDevice, ...]):
    """There is a GPU, and each has a UUID of its own."""
    for device in devices:
        print(f"  {device.info}")

    assert devices
    assert len(devices) == len({device.info.uuid for device in devices})


def test_readings_are_plausible(devices: tuple[NvmlDevice, ...]):
    """Every fact that a GPU gives lies where a GPU can be."""
    for device in devices:
        reading, slow_reading = device.read(), device.read_slow()
        print(f"  {reading}\n  {slow_reading}")

        assert reading.power_watts is not None
        assert 1.0 < reading.power_watts < 2500.0
        if reading.memory_used_bytes is not None and reading.memory_total_bytes is not None:
            assert 0 <= reading.memory_used_bytes <= reading.memory_total_bytes
        for celsius in (reading.temperature_core_celsius, reading.temperature_memory_celsius):
            assert celsius is None or 5.0 < celsius < 120.0
        if slow_reading.power_limit_watts is not None:
            assert 10.0 < slow_reading.power_limit_watts < 2500.0


def test_latencies(devices: tuple[NvmlDevice, ...], tables: tuple[Table, Table]):
    """Print what each driver call costs here; nothing about time is asserted."""
    for device in devices:
        print(f"  {device.info.name} {device.info.uuid}")
        handle = device._handle
        latencies("a fast read", device.read)
        latencies("a slow read", device.read_slow)
        for table in tables:
            batch = FieldBatch(field for fields in table.values() for field in fields)
            latencies(f"batch of {len(batch.fields)} fields", partial(batch.call, handle))
        rows = (*fast.ALWAYS_CALLS, *details.SLOW_CALLS, *details.WHOLE_GPU_CALLS)
        calls = [fast.utilization, *(call for alternatives in rows for call in alternatives[:1])]
        calls += [*details.ONCE_CALLS, *details.THRESHOLD_CALLS]
        listing = device._readers.slow._list_processes
        for call in [*calls, fast.power_usage, slow.limit_enforced, listing]:
            try:
                latencies(call.__name__, partial(call, handle))
            except Exception as error:  # noqa: BLE001 - printed: what a board refuses is a finding
                print(f"  {call.__name__:42} {type(error).__name__}")

        assert device.read().monotonic_seconds <= time.monotonic()


def test_fields_and_scopes(devices: tuple[NvmlDevice, ...], tables: tuple[Table, Table]):
    """Print each field's code and raw number, so that a surprising board can be understood from a log."""
    fields = [field for table in tables for fields in table.values() for field in fields]
    for device in devices:
        batch = FieldBatch(fields)
        code = batch.call(device._handle)
        for field, (field_code, number) in zip(fields, batch.replies(), strict=True):
            print(f"  field {field.id} scope {field.scope}: code {field_code}, {number}")

        assert 0 == code


def test_the_monitor_says_ratios(devices: tuple[NvmlDevice, ...]):
    """Where there is a performance monitor, what it says of a second lies between nothing and all."""
    for device in devices:
        gpm = read_for(device, 3.0, 1.0)[-1].gpm
        print(f"  {gpm}")
        if gpm is None:
            pytest.skip(f"{device.info.name} has no performance monitor that this process may use")

        assert gpm.sm_active_ratio is not None
        assert 0.0 <= gpm.sm_active_ratio <= 1.0
        assert 0.9 <= gpm.window_seconds <= 3.0


def test_throttle_counters_are_nanoseconds(devices: tuple[NvmlDevice, ...]):
    """A counter of time never runs faster than time: seconds taken for nanoseconds would."""
    for device in devices:
        readings = read_for(device, 5.0, 1.0)
        passed = readings[-1].monotonic_seconds - readings[0].monotonic_seconds
        grown = {
            reason: seconds - readings[0].throttled_seconds.get(reason, 0.0)
            for reason, seconds in readings[-1].throttled_seconds.items()
        }
        print(f"  {device.info.name}: in {passed:.2f} s {grown}")

        assert all(-0.01 <= seconds <= passed * 1.1 + 0.1 for seconds in grown.values())


def test_counter_agrees_with_integrated_power(devices: tuple[NvmlDevice, ...]):
    """
    Over 20 s the counter's joules and the integral of power agree within a tenth.

    The bound is wide because a window of 20 s has its edges: the mean of one second lags behind the counter.
    """
    for device in devices:
        readings = read_for(device, CROSS_CHECK_SECONDS, 0.2)
        if readings[0].energy_joules is None:
            pytest.skip(f"{device.info.name} counts no energy")
        counted = readings[-1].energy_joules - readings[0].energy_joules
        integrated = sum(trapezoid_joules(*pair) for pair in pairwise(readings))
        moved = sum(later.energy_joules != sooner.energy_joules for sooner, later in pairwise(readings))
        print(
            f"  {device.info.name}: counter {counted:.1f} J, integral of power {integrated:.1f} J,", end=" "
        )
        print(f"ratio {counted / integrated:.4f}; the counter moved in {moved} of {len(readings) - 1} reads")

        assert integrated == pytest.approx(counted, rel=0.1)


def test_counter_never_falls(devices: tuple[NvmlDevice, ...]):
    """Read as fast as it goes, the counter stands or grows; print how often it is refreshed."""
    for device in devices:
        readings = read_for(device, 2.0, 0.0)
        steps = [
            later.monotonic_seconds
            for sooner, later in pairwise(readings)
            if later.energy_joules != sooner.energy_joules
        ]
        gaps = [(later - sooner) * 1000 for sooner, later in pairwise(steps)]
        print(f"  {len(readings)} reads, refresh about every {median(gaps) if gaps else 0:.1f} ms")
        joules = [reading.energy_joules for reading in readings if reading.energy_joules is not None]

        assert sorted(joules) == joules
