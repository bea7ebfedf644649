"""The agent as its users meet it: a process, a page, a real Prometheus."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.agent.process import Page, PerwattProcess, free_port, get, perwatt
from support.gpus.fakenvml import Constant, FakeDriver
from support.servers import prometheus

GPUS = 8
WATTS = 400.0
# At 10 readings a second, a scrape is late by up to 0.2 s of energy at either end: 0.33 % of a minute.
STEADY_SECONDS = 60


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=GPUS, real_time=True) as driver:
        for gpu in range(GPUS):
            driver.set_waveform(gpu, Constant(WATTS))
        yield driver


@pytest.fixture
def agent(tmp_path: Path, driver: FakeDriver) -> Iterator[PerwattProcess]:
    with perwatt(tmp_path, "agent", environment=driver.environment()) as agent:
        agent.wait_for(all_up)
        yield agent


def all_up(page: Page) -> bool:
    return page.value("perwatt_gpus", state="ok") == GPUS


class TestPage:
    def test_conventions(self, agent: PerwattProcess) -> None:
        """promtool has nothing to say about the page, and a strict OpenMetrics parser reads it."""
        page = get(f"http://{agent.address}/metrics")
        lint = subprocess.run(
            ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
        )
        assert (0, "", "") == (lint.returncode, lint.stdout, lint.stderr)

        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        families = list(text_string_to_metric_families(get(f"http://{agent.address}/metrics", accept)))
        assert "perwatt_gpu_energy_joules" in {family.name for family in families}

    def test_nothing_but_nvml_and_exporter_is_imported(self, agent: PerwattProcess) -> None:
        """The node process never imports the aggregator's libraries."""
        loaded = Path(f"/proc/{agent.process.pid}/maps").read_text()
        assert "pydantic_core" not in loaded


class TestSickGpu:
    def test_hang(self, driver: FakeDriver, agent: PerwattProcess) -> None:
        """
        The others keep their second-by-second values; the sick one's series go, its info and up stay; it
        is told as hung, its recovery is noticed, and a stop during the hang takes less than 5 s.
        """
        sick, well = driver.uuid(3), driver.uuid(4)
        hang = driver.hang("*", 3)
        hang.wait_until_hanging()
        page = agent.wait_for(lambda page: page.value("perwatt_gpus", state="hung") == 1)

        assert 0 == page.value("perwatt_gpu_up", gpu=sick)
        assert 1 == page.value("perwatt_gpu_info", gpu=sick)
        assert not page.values("perwatt_gpu_energy_joules_total", gpu=sick)
        assert not page.values("perwatt_gpu_power_watts", gpu=sick)
        assert GPUS - 1 == page.value("perwatt_gpus", state="ok")

        readings = {agent.page().value("perwatt_gpu_energy_joules_total", gpu=well) for _ in _every(0.25, 20)}
        assert len(readings) >= 4, "five seconds, one value a second"

        hang.release()
        agent.wait_for(all_up)

        driver.hang("*", 3).wait_until_hanging()
        code, seconds = agent.stop()
        assert (0, True) == (code, seconds < 5.0)

    def test_lost(self, driver: FakeDriver, agent: PerwattProcess) -> None:
        """A GPU that fell off the bus is told as lost; the others go on; its return is noticed."""
        lost = driver.lose(2)
        page = agent.wait_for(lambda page: page.value("perwatt_gpus", state="lost") == 1)
        assert not page.values("perwatt_gpu_energy_joules_total", gpu=driver.uuid(2))
        assert 0 == page.value("perwatt_gpu_up", gpu=driver.uuid(2))
        assert GPUS - 1 == len(page.values("perwatt_gpu_energy_joules_total"))

        lost.release()
        agent.wait_for(all_up)


class TestDriver:
    def test_late(self, tmp_path: Path, driver: FakeDriver) -> None:
        """Without a driver the page answers and says why; when the driver comes, it is used."""
        absent = driver.fail("nvmlInitWithFlags", code=9)
        with perwatt(tmp_path, "agent", environment=driver.environment()) as agent:
            page = agent.wait_for(
                lambda page: page.value("perwatt_collector_failures_total", collector="backend")
            )
            assert 0 == page.value("perwatt_backend_up")
            assert "perwatt is healthy" in get(f"http://{agent.address}/-/healthy")
            assert "perwatt is ready" in get(f"http://{agent.address}/-/ready")
            assert 1 == agent.log.count("no GPU readings"), "said once"

            absent.release()
            assert 1 == agent.wait_for(all_up).value("perwatt_backend_up")

    def test_zero_gpus(self, tmp_path: Path, driver: FakeDriver) -> None:
        """A driver without GPUs answers, but nothing was collected; GPUs that come are found."""
        driver.set_gpu_count(0)
        with perwatt(tmp_path, "agent", environment=driver.environment()) as agent:
            page = agent.wait_for(lambda page: page.value("perwatt_backend_up") == 1)
            assert 0 == page.value("perwatt_gpus", state="ok")
            assert 0 == page.value("perwatt_collector_success", collector="backend")

            driver.set_gpu_count(GPUS)
            agent.wait_for(all_up)

    def test_replaced_under_us(self, tmp_path: Path, driver: FakeDriver) -> None:
        """A driver that was upgraded needs a new process: one line, exit code 1, for the supervisor."""
        driver.fail("nvmlInitWithFlags", code=18)
        with perwatt(tmp_path, "agent", environment=driver.environment()) as agent:
            assert 1 == agent.process.wait(60)
            assert "restart" in agent.log.splitlines()[-1]

    def test_none_at_all(self, tmp_path: Path) -> None:
        """On a machine without NVIDIA's library the page still answers."""
        with perwatt(tmp_path, "agent") as agent:
            assert 0 == agent.wait_for(lambda page: page.samples).value("perwatt_backend_up")


class TestStart:
    def test_port_in_use(self, tmp_path: Path, agent: PerwattProcess) -> None:
        """One clear line, exit code 1, nothing half-started."""
        result = _run("agent", "--web.listen-address", agent.address, "--state-dir", str(tmp_path / "none"))
        assert 1 == result.returncode
        assert 1 == len(result.stderr.splitlines())
        assert agent.address in result.stderr
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("agent", "--config", "missing.yaml"), 1),
            (("agent", "--sample-interval", "1"), 2),
            (("agent", "--colour", "red"), 2),
            (("agent", "--backend", "replay:missing.jsonl"), 2),
        ],
        ids=["missing file", "duration without a unit", "unknown flag", "missing recording"],
    )
    def test_bad_input(self, arguments: tuple[str, ...], code: int) -> None:
        """One clear line; 2 for what was typed wrong, 1 for the rest."""
        result = _run(*arguments)
        assert (code, 1) == (result.returncode, len(result.stderr.splitlines())), result.stderr

    def test_unknown_key(self, tmp_path: Path) -> None:
        """The line of the file is named."""
        config = tmp_path / "agent.yaml"
        config.write_text("backend: nvml\nsample_intervall: 1s\n")
        result = _run("agent", "--config", str(config))
        assert 1 == result.returncode
        assert result.stderr.startswith(f"{config}:2: sample_intervall: ")


class TestPrometheus:
    def test_increase_over_faults(self, tmp_path: Path, driver: FakeDriver) -> None:
        """
        What Prometheus makes of the counters stays within 0.5 % of the truth at steady power, while
        counters are reset, fall back, leap, and the agent is killed and started again. What is integrated
        stays so for the time that it covers, which on a busy machine is not all.
        """
        port = free_port()
        arguments = ("agent", "--sample-interval", "100ms")
        environment = driver.environment()
        for gpu in range(GPUS):
            driver.shift_energy(gpu, 1e6)  # counters that have run for long
        with prometheus.run(tmp_path, [f"127.0.0.1:{port}"], "500ms") as server:
            with perwatt(tmp_path, *arguments, environment=environment, port=port) as agent:
                agent.wait_for(all_up)
                time.sleep(3)
                driver.reset_energy(1)
                driver.glitch_energy(2, -20_000.0, reads=2)
                driver.shift_energy(3, 9e6)
                time.sleep(3)
                agent.stop(signal.SIGKILL)
            with perwatt(tmp_path, *arguments, environment=environment, port=port) as agent:
                agent.wait_for(all_up)
                time.sleep(STEADY_SECONDS + 3)
                steady = _increase(server, "energy_joules", STEADY_SECONDS)
                covered = _increase(server, "energy_covered_seconds", STEADY_SECONDS)
                whole = _increase(server, "energy_joules", 300)
                exact = driver.exact_energy_joules(0, 0.0, driver.now)
        assert GPUS == len(steady)
        integrated = driver.uuid(3)
        for uuid, joules in steady.items():
            seconds = covered[uuid] if uuid == integrated else STEADY_SECONDS
            assert WATTS * seconds == pytest.approx(joules, rel=5e-3), uuid
        for uuid, joules in whole.items():
            assert joules <= exact * 1.005, uuid


def _increase(server: prometheus.Prometheus, what: str, seconds: int) -> dict[str, float]:
    query = f"sum by (gpu) (increase(perwatt_gpu_{what}_total[{seconds}s]))"
    return {labels["gpu"]: value for labels, value in server.query(query)}


def _every(seconds: float, times: int) -> Iterator[None]:
    for _ in range(times):
        yield
        time.sleep(seconds)


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "perwatt.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
