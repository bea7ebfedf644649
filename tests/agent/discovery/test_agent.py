"""The agent finds an engine by itself: real processes over a fake driver, and a real page."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.process import Page, perwatt
from support.engines import engine_trees
from support.gpus.fakenvml import FakeDriver
from support.processes.process_trees import running

pytestmark = pytest.mark.slow

GPUS = 4


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=GPUS, real_time=True) as driver:
        yield driver


def has_joules(page: Page) -> bool:
    return len(page.values("perwatt_workload_energy_joules_total", state="idle")) > 0


def test_found(tmp_path: Path, driver: FakeDriver) -> None:
    """
    With no configuration at all, an engine over two of four GPUs shows its tokens and the joules of these
    GPUs; a training job beside it hears nothing.
    """
    with (
        running(tmp_path / "engine", engine_trees.vllm_tp2()) as engine,
        running(tmp_path / "training", engine_trees.torchrun()) as training,
    ):
        driver.set_processes(0, [(training.pid("rank-0"), 2**30)])
        driver.set_processes(1, [(engine.pid("worker-0"), 2**30)])
        driver.set_processes(3, [(engine.pid("worker-1"), 2**30)])
        with perwatt(
            tmp_path, "agent", "--engines.interval", "1s", environment=driver.environment()
        ) as agent:
            page = agent.wait_for(has_joules)
            name = f"vllm-{engine.port('api')}"
            assert_shown(page, name, [driver.uuid(1), driver.uuid(3)])
            assert "" == training.log.read_text()

            engine.kill()
            page = agent.wait_for(lambda page: page.value("perwatt_workload_up", workload=name) == 0)
            assert 4585 == page.value("perwatt_output_tokens_total", workload=name)


def assert_shown(page: Page, workload: str, gpus: list[str]) -> None:
    """The workload is there, with its tokens, and with the joules of these GPUs and of no other."""
    assert 1 == page.value("perwatt_workload_info", workload=workload, engine="vllm")
    assert 1 == page.value("perwatt_workload_up", workload=workload)
    assert 4585 == page.value("perwatt_output_tokens_total", workload=workload)
    assert 0 == page.value("perwatt_workload_missing_gpus", workload=workload)
    assert 1 == page.value("perwatt_collector_success", collector="discovery")
    assert len(gpus) == len(page.values("perwatt_workload_energy_joules_total", state="idle"))
    for gpu in gpus:
        assert page.values("perwatt_workload_energy_joules_total", workload=workload, gpu=gpu)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(("--engines.discover", "false"), "", id="switched off"),
        pytest.param(
            ("--engine", "url=http://127.0.0.1:1/metrics,workload=chat"), "GPU 1 is claimed", id="claimed"
        ),
    ],
)
def test_left_alone(tmp_path: Path, driver: FakeDriver, arguments: tuple[str, ...], reason: str) -> None:
    """Nothing is probed if discovery is off, or if configured endpoints have the GPUs."""
    with running(tmp_path / "engine", engine_trees.vllm_tp2()) as engine:
        driver.set_processes(1, [(engine.pid("worker-0"), 2**30)])
        with perwatt(tmp_path, "agent", *arguments, environment=driver.environment()) as agent:
            agent.wait_for(
                lambda page: page.value("perwatt_gpus", state="ok") == GPUS and reason in agent.log
            )
            time.sleep(3.0)  # three rounds, if there were any

            assert "" == engine.log.read_text()
            assert not agent.page().values("perwatt_output_tokens_total")
