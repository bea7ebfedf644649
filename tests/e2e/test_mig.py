"""A GPU in parts, from the driver to the page: who holds an instance has its part of the board's joules."""

import logging
from pathlib import Path

import pytest
from support.agent.process import Page
from support.agent.rig import Rig
from support.gpus.fakedepth import create_mig, destroy_mig, enable_mig, mig_uuid, set_mig_processes
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.config import AttributionConfig, EndpointConfig, EnginesConfig, GpuClaim
from perwatt_exporter.families.all import GROUPS
from perwatt_exporter.page.pages import Pages

WATTS = 100.0
IDLE = AttributionConfig(idle_watts={"NVIDIA H100 80GB HBM3": 35.0})
BIG, SMALL = mig_uuid(0, 0), mig_uuid(0, 1)


@pytest.fixture
def driver(tmp_path: Path):
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        enable_mig(driver, 0)
        create_mig(driver, 0, 0, profile=b"3g.40gb", gpu_slices=3, compute_slices=3, gpm_percent=80)
        create_mig(driver, 0, 1, profile=b"2g.20gb", gpu_slices=2, compute_slices=2, gpm_percent=30)
        yield driver


def rig(folder: Path, driver: FakeDriver, *, shared: bool = False, **claims: GpuClaim) -> Rig:
    """An agent with a follower by each name: their joules are settled with every sweep."""
    endpoints = tuple(
        EndpointConfig(workload=name, group="g", gpus=gpus, shared=shared) for name, gpus in claims.items()
    )
    return Rig(folder, driver, attribution=IDLE, engines=EnginesConfig(discover=False, endpoints=endpoints))


def page(rig: Rig) -> Page:
    families = [family for group in GROUPS.values() for family in group]
    return Page(Pages(lambda: rig.sampler.latest, families, lambda: ()).body("text", "identity").decode())


def joules(rig: Rig) -> dict[tuple[str, str], float]:
    """By owner, (unallocated, unknown) among them, and the GPU that is shown."""
    owned: dict[tuple[str, str], float] = {}
    for (name, labels), amount in page(rig).samples.items():
        if name in ("perwatt_workload_energy_joules_total", "perwatt_gpu_unattributed_energy_joules_total"):
            said = dict(labels)
            owner = said.get("workload") or said["cause"], said["gpu"]
            owned[owner] = owned.get(owner, 0.0) + amount
    return owned


def missing(rig: Rig) -> dict[str, float | None]:
    names = (shown.info.workload for shown in rig.sampler.latest.workloads)
    return {name: page(rig).value("perwatt_workload_missing_gpus", workload=name) for name in names}


def method(rig: Rig, workload: str, gpu: str) -> str:
    (labels,) = (
        dict(labels)
        for name, labels in page(rig).samples
        if name == "perwatt_workload_attribution_info" and {("workload", workload), ("gpu", gpu)} <= labels
    )
    return labels["method"]


async def spent(rig: Rig, seconds: int) -> dict[tuple[str, str], float]:
    """The mean power of each owner over some time, as far as there is any."""
    before = joules(rig)
    await rig.run(seconds)
    watts = {owner: (after - before.get(owner, 0.0)) / seconds for owner, after in joules(rig).items()}
    return {owner: mean for owner, mean in watts.items() if mean}


async def test_two_workloads(tmp_path: Path, driver: FakeDriver):
    """Idle power by slice, what is above it by slices x activity; the GPU that is shown is the parent."""
    agent = rig(tmp_path, driver, chat=(BIG,), code=(SMALL,))
    await agent.run(25)
    parent, other = driver.uuid(0), driver.uuid(1)

    expected = {
        ("chat", parent): 15.0 + 65.0 * 0.8,
        ("code", parent): 10.0 + 65.0 * 0.2,
        ("unallocated", parent): 10.0,
        ("unallocated", other): WATTS,
    }
    assert expected == pytest.approx(await spent(agent, 40))
    assert "mig_activity" == method(agent, "chat", parent) == method(agent, "code", parent)
    assert {"chat": 0.0, "code": 0.0} == missing(agent)
    of_energy = [labels for name, labels in page(agent).samples if "joules" in name or "watts" in name]
    assert "MIG-" not in str(of_energy)


async def test_arranged_anew_under_load(tmp_path: Path, driver: FakeDriver):
    """An instance that goes is missing, its joules are nobody's; one that comes is held again."""
    agent = rig(tmp_path, driver, chat=(BIG,), code=(SMALL,))
    parent = driver.uuid(0)
    read_at: list[float] = []
    await agent.run(25, lambda rig: read_at.append(rig.driver.now) if rig.sampler.latest.gpus else None)
    destroy_mig(driver, 0, 0)
    await agent.run(11)

    assert {"chat": 1.0, "code": 0.0} == missing(agent)
    watts = await spent(agent, 20)
    assert {("code", parent): 75.0, ("unallocated", parent): 25.0} == pytest.approx(
        {owner: mean for owner, mean in watts.items() if owner[1] == parent}
    )

    driver.mig(0, 0).exists = 1  # the same again
    await agent.run(25)
    assert {"chat": 0.0, "code": 0.0} == missing(agent)
    assert 15.0 + 65.0 * 0.8 == pytest.approx((await spent(agent, 20))["chat", parent])
    # From its first reading on the board is accounted for.
    assert (driver.now - read_at[0]) * WATTS == pytest.approx(
        sum(amount for (_, gpu), amount in joules(agent).items() if gpu == parent)
    )


async def test_what_does_not_exist(
    tmp_path: Path, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """A claim on an instance that is not there has no joules, says so once, and counts as missing."""
    agent = rig(tmp_path, driver, chat=("MIG-nowhere", SMALL))
    await agent.run(25)

    assert {"chat": 1.0} == missing(agent)
    assert ("chat", driver.uuid(0)) in joules(agent)
    assert 1 == [record.levelno for record in caplog.records].count(logging.WARNING)
    assert "chat claims MIG-nowhere, which does not exist" in caplog.text


async def test_all_gpus(tmp_path: Path, driver: FakeDriver):
    """Who claims all GPUs has all of them, divided ones with their free slices too."""
    agent = rig(tmp_path, driver, chat="all")
    await agent.run(15)

    expected = {("chat", driver.uuid(0)): WATTS, ("chat", driver.uuid(1)): WATTS}
    assert expected == pytest.approx(await spent(agent, 20))
    assert "exclusive" == method(agent, "chat", driver.uuid(0))


@pytest.mark.parametrize("shared", [False, True])
async def test_an_instance_and_the_whole(
    tmp_path: Path, driver: FakeDriver, caplog: pytest.LogCaptureFixture, shared: bool
):
    """Both are a dispute, which the first wins; where they share it, it is shared as a whole GPU is."""
    agent = rig(tmp_path, driver, shared=shared, chat=(BIG,), code=(0,))
    await agent.run(15)
    watts = await spent(agent, 20)

    assert shared == (("code", driver.uuid(0)) in watts)
    assert shared == ("both claim" not in caplog.text)
    chat = 50.0 if shared else 15.0 + 65.0 * 0.8
    assert chat == pytest.approx(watts["chat", driver.uuid(0)])


async def test_agent_restarts(tmp_path: Path, driver: FakeDriver):
    """Another agent finds the instances again: no joule is lost or told twice, and the parts are the same."""
    agent = rig(tmp_path, driver, chat=(BIG,), code=(SMALL,))
    parent = driver.uuid(0)
    await agent.run(25)
    driver.advance(300.0)
    agent.clock.advance(300.0)
    agent.restart_agent()
    await agent.run(25)

    watts = await spent(agent, 20)
    assert (15.0 + 65.0 * 0.8, 10.0) == pytest.approx((watts["chat", parent], watts["unallocated", parent]))
    assert (driver.now - 1.0) * WATTS == pytest.approx(
        sum(amount for (_, gpu), amount in joules(agent).items() if gpu == parent)
    )


async def test_at_most_80_calls_a_second(tmp_path: Path, record_property) -> None:
    """Eight GPUs in seven parts each, with a process in every one, cost what eight whole GPUs do."""
    with FakeDriver.create(tmp_path, gpus=8).install() as driver:
        for gpu in range(8):
            enable_mig(driver, gpu, instances=7)
            set_mig_processes(driver, gpu, {1000 * (gpu + 1) + slot: slot for slot in range(7)})
        agent = Rig(tmp_path, driver)
        await agent.run(30)
        before = polls(driver)
        await agent.run(60)
        # One more waits for events in real time, which is another clock than the driver's here.
        calls_a_second = (polls(driver) - before) / 60 + 1
        record_property("calls_a_second", calls_a_second)

    assert 50 < calls_a_second <= 80


def polls(driver: FakeDriver) -> int:
    """The calls so far, without those that wait for events."""
    return sum(count for name, count in driver.calls_by_function().items() if "Event" not in name)
