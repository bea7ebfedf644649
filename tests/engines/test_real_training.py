"""
The examples of `perwatt.work` under a real PyTorch and Hugging Face Trainer, beside a real agent; run by
`make test-engines`.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import install
from support.agent.process import Page, PerwattProcess, perwatt
from support.gpus.fakenvml import Constant, FakeDriver

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]
TRAIN = Path(__file__).with_name("train.py")
AGENT_ARGUMENTS = ("agent", "--work-trusted-job", "*")
HELD = 1
ROWS, ROW_TOKENS, EPOCHS = 16, 32, 100  # some seconds: joules come sweep by sweep
STEPS, BATCH = 7, 32
# PyTorch is loaded from a cold disk.
RUN_SECONDS = 600.0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[PerwattProcess]:
    """An agent over two GPUs that draw 100 W each."""
    with FakeDriver.create(tmp_path, gpus=2, real_time=True) as driver:
        for gpu in (0, 1):
            driver.set_waveform(gpu, Constant(100.0))
        with perwatt(tmp_path, *AGENT_ARGUMENTS, environment=driver.environment()) as agent:
            agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 2)
            yield agent


def run(*arguments: object) -> str:
    """What a program of the trainer's Python says, with the examples on its path."""
    python, packages = install.trainer()
    path = [str(packages), str(ROOT / "examples"), str(ROOT / "cli")]
    result = subprocess.run(
        ["nice", "-n", "19", str(python), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert 0 == result.returncode, result.stderr[-3000:]
    return result.stdout


def has_ended(page: Page, job: str) -> bool:
    return page.value("perwatt_workload_up", workload=job) == 0


def test_hugging_face(agent: PerwattProcess, tmp_path: Path) -> None:
    """Every token that the Trainer saw is the job's, and the joules of its GPU, of no other, are too."""
    url = f"http://{agent.address}"
    said = run(TRAIN, tmp_path / "out", url, "tiny-llama", HELD, ROWS, ROW_TOKENS, EPOCHS)
    page = agent.wait_for(lambda page: has_ended(page, "tiny-llama"))

    tokens = ROWS * ROW_TOKENS * EPOCHS
    assert f"tokens seen: {tokens}\n" in said
    assert tokens == page.value("perwatt_work_total", workload="tiny-llama", unit="tokens")
    assert 1 == page.value("perwatt_workload_info", workload="tiny-llama", role="trainer")
    assert page.value("perwatt_workload_energy_joules_total", workload="tiny-llama", state="active")
    held = {labels["gpu"] for labels in joules_of(page, "tiny-llama")}
    assert held == {labels["gpu"] for labels in gpus(page) if labels["index"] == str(HELD)}


def test_plain_loop(agent: PerwattProcess) -> None:
    """Every sample of a plain loop is the job's."""
    run("-c", f"import pytorch_loop; pytorch_loop.main({STEPS}, {BATCH}, 'http://{agent.address}')")
    page = agent.wait_for(lambda page: has_ended(page, "pytorch-example"))

    assert STEPS * BATCH == page.value("perwatt_work_total", workload="pytorch-example", unit="samples")


def joules_of(page: Page, job: str) -> list[dict[str, str]]:
    name = "perwatt_workload_energy_joules_total"
    return [dict(labels) for key, labels in page.samples if key == name and ("workload", job) in labels]


def gpus(page: Page) -> list[dict[str, str]]:
    return [dict(labels) for key, labels in page.samples if key == "perwatt_gpu_info"]
