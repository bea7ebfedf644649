"""Every configuration that is shipped is one that perwatt and Prometheus take."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from perwatt_agent.config import load_agent_config
from perwatt_aggregator.config import load_aggregator_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
AGENT_PORT, AGGREGATOR_PORT = 9836, 9837


@pytest.mark.parametrize("folder", ["examples", "compose"])
def test_agent_configurations_are_sound(folder: str) -> None:
    """The agent reads the file without an error and measures real GPUs at the contract's port."""
    config = load_agent_config(DEPLOY / folder / "agent.yaml", {}, {})

    assert "nvml" == config.backend
    assert f"0.0.0.0:{AGENT_PORT}" == config.web.listen_address


@pytest.mark.parametrize("folder", ["examples", "compose"])
def test_aggregator_configurations_are_sound(folder: str) -> None:
    """The aggregator reads the file without an error and scrapes agents at the contract's port."""
    config = load_aggregator_config(DEPLOY / folder / "aggregator.yaml", {}, {})

    assert f"0.0.0.0:{AGGREGATOR_PORT}" == config.web.listen_address
    assert all(agent.url.endswith(f":{AGENT_PORT}/metrics") for agent in config.sources.agents)


def test_compose_assumes_nothing_about_the_facility() -> None:
    """PUE and price are unknown until they are configured; a default would be a guess in every figure."""
    facility = load_aggregator_config(DEPLOY / "compose" / "aggregator.yaml", {}, {}).facility

    assert (None, None, None, None) == (facility.pue, facility.node_overhead, facility.price, facility.carbon)


def test_promtool_accepts_the_prometheus_configuration(tmp_path: Path) -> None:
    """With the rules where compose mounts them, promtool finds both files and no fault."""
    shutil.copy(DEPLOY / "compose" / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "dashboards" / "prometheus" / "rules", tmp_path / "rules")
    command = ["promtool", "check", "config", "--lint=all", "--lint-fatal", str(tmp_path / "prometheus.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert "2 rule files found" in result.stdout


def test_scrape_jobs_are_those_that_rules_and_dashboard_expect() -> None:
    """The alerts name the job; nodes carry the aggregator's facility name."""
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0] for job in config["scrape_configs"]}
    facility = load_aggregator_config(DEPLOY / "compose" / "aggregator.yaml", {}, {}).facility

    assert {"perwatt-agent", "perwatt-aggregator"} == jobs.keys()
    assert [f"agent:{AGENT_PORT}"] == jobs["perwatt-agent"]["targets"]
    assert [f"aggregator:{AGGREGATOR_PORT}"] == jobs["perwatt-aggregator"]["targets"]
    assert {"facility": facility.name} == jobs["perwatt-agent"]["labels"]
