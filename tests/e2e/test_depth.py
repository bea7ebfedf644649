"""All that a GPU tells, from the driver to the page: what it costs, and that recordings hold it."""

import io
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.agent.rig import ALONE, Rig
from support.gpus.fakedepth import create_mig, destroy_mig, enable_mig, set_fields
from support.gpus.fakenvml import FakeDriver

from perwatt.run.bootstrap import build_source
from perwatt_agent.clock import ManualClock
from perwatt_agent.config import AgentConfig
from perwatt_agent.facts.readings import GpuSample
from perwatt_agent.recording.recording import Recording, RecordingWriter
from perwatt_exporter.families.all import GROUPS
from perwatt_exporter.page.pages import Pages

HOST_VGPU = 3
# A Hopper board without fans and guests in an ordinary server does not fill these; the health of the fabric
# was not shown by a real one either.
NOT_ON_HOPPER = {
    *("perwatt_gpu_retired_pages_total", "perwatt_gpu_retired_pages_pending"),
    *("perwatt_gpu_temperature_threshold_celsius", "perwatt_gpu_fan_speed_ratio"),
    *("perwatt_gpu_os_memory_used_bytes", "perwatt_gpu_os_memory_total_bytes"),
    *("perwatt_gpu_sm_cycles_total", "perwatt_gpu_pipe_cycles_total"),
    *("perwatt_gpu_process_memory_bytes", "perwatt_gpu_process_sm_ratio"),
    *("perwatt_gpu_active_vgpus", "perwatt_gpu_fabric_health"),
}
DEEP_GROUPS = [name for name in GROUPS if name.startswith("gpu_") or name == "mig"]


@pytest.fixture
def driver(tmp_path: Path):
    with FakeDriver.create(tmp_path, gpus=8).install() as driver:
        yield driver


def series(rig: Rig) -> dict[str, dict[tuple[str, ...], float]]:
    """The page: by name, and by the labels' values without their names."""
    families = [family for group in GROUPS.values() for family in group]
    page = Pages(lambda: rig.sampler.latest, families, lambda: ()).body("text", "identity").decode()
    shown: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parse_text(page):
        for sample in family.samples:
            shown.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return shown


def polls(driver: FakeDriver) -> int:
    """The calls so far, without those that wait for events."""
    return sum(count for name, count in driver.calls_by_function().items() if "Event" not in name)


async def test_every_family_is_filled(tmp_path: Path, driver: FakeDriver):
    """What a Hopper board and its instances tell is on the page, GPU by GPU."""
    enable_mig(driver, 7, instances=1)
    rig = Rig(tmp_path, driver)
    await rig.run(25)
    shown = series(rig)

    assert {family.name for name in DEEP_GROUPS for family in GROUPS[name]} - shown.keys() == NOT_ON_HOPPER
    assert 8 == len(shown["perwatt_gpu_recovery_action"]) / 9
    assert 7 == len(shown["perwatt_gpu_sm_active_ratio"])
    assert {driver.uuid(7)} == {gpu for gpu, *_ in shown["perwatt_mig_memory_used_bytes"]}


async def test_energy_is_of_boards_alone(tmp_path: Path, driver: FakeDriver):
    """However a GPU is divided, the sum of joules over all series is what the boards drew."""
    enable_mig(driver, 0, instances=7)
    rig = Rig(tmp_path, driver)
    await rig.run(25)
    joules = series(rig)["perwatt_gpu_energy_joules_total"]

    assert 8 == len(joules)
    assert sum(driver.exact_energy_joules(gpu, 0.0, driver.now) for gpu in range(8)) == sum(joules.values())


async def test_instances_follow_the_slow_tier(tmp_path: Path, driver: FakeDriver):
    """MIG that is rearranged under load shows within one slow period, and disturbs nothing else."""
    enable_mig(driver, 0, instances=3)
    rig = Rig(tmp_path, driver)
    await rig.run(3)
    destroy_mig(driver, 0, 1)
    new = create_mig(driver, 0, 5)
    await rig.run(16)
    shown = series(rig)

    assert {driver.mig(0, 0).uuid.decode(), driver.mig(0, 2).uuid.decode(), new} == {
        mig for _, mig in shown["perwatt_mig_memory_used_bytes"]
    }
    assert {1.0} == set(shown["perwatt_gpu_up"].values())


async def test_at_most_80_calls_a_second(tmp_path: Path, driver: FakeDriver, record_property):
    """The whole agent over eight GPUs, with processes on each and everything on, in driver time."""
    for gpu in range(8):
        driver.set_processes(gpu, [(4711 + gpu, 1 << 30)], [50])
        driver.set(gpu, virtualization_mode=HOST_VGPU, vgpu_count=2)
    rig = Rig(tmp_path, driver)
    await rig.run(30)
    before = polls(driver)
    await rig.run(60)
    # Waiting for events is one call a second of real time, which is another clock than the driver's here.
    calls_a_second = (polls(driver) - before) / 60 + 1
    record_property("calls_a_second", calls_a_second)
    print(f"{calls_a_second:.1f} driver calls a second")

    assert 50 < calls_a_second <= 80


async def test_recordings_hold_it(tmp_path: Path, driver: FakeDriver):
    """A recording gives back, to the last fact, what was read of GPUs and their instances."""
    enable_mig(driver, 0, instances=2)
    set_fields(driver, 1, {74: 5_000_000_000, 4: 2, 144: 1})
    clock = ManualClock()
    source, _ = build_source(AgentConfig(**ALONE), clock)
    read = []
    for _ in range(17):
        driver.advance(1.0)
        clock.advance(1.0)
        read.append(await source.next())
    source.close()
    file = io.BytesIO()
    writer = RecordingWriter(file, "node", 1.0)
    for readings in read:
        writer.write(readings)
    writer.close()
    path = tmp_path / "recording.jsonl"
    path.write_bytes(file.getvalue())

    replayed = list(Recording(path).readings())
    assert [readings.gpus for readings in read] == [readings.gpus for readings in replayed]
    slow = [gpu.slow for readings in replayed for gpu in readings.gpus if gpu.slow is not None]
    assert any(reading.mig and reading.mig[0].gpm for reading in slow)
    assert any(reading.remapped_rows_pending for reading in slow)


def test_an_older_recording_is_read():
    """Facts that it does not know are not known."""
    line = b'{"monotonic_seconds": 1.0, "power_watts": 5.0}'
    text = b'{"uuid": "GPU-0", "state": "ok", "reading": %s, "slow": {"monotonic_seconds": 1.0}}' % line
    gpu = msgspec.json.decode(text, type=GpuSample)

    assert gpu.reading is not None
    assert gpu.slow is not None
    assert (None, {}, None, ()) == (
        gpu.reading.gpm,
        gpu.reading.throttled_seconds,
        gpu.slow.mig,
        gpu.slow.ecc_errors,
    )
