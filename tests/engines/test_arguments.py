"""What `make test-engines` gives to perwatt, without an engine: flags that changed show here."""

from pathlib import Path

import pytest
from engines.pages import HELD
from engines.story import AGENTS, agent_arguments
from engines.test_real_training import AGENT_ARGUMENTS
from support.agent.process import perwatt
from support.gpus.fakenvml import FakeDriver

from perwatt.main import build_parser
from perwatt.options import agent_config
from perwatt_agent.config import AgentConfig

PORT = 8000


def config_of(*arguments: str) -> AgentConfig:
    return agent_config(build_parser(arguments).parse_args(arguments), {})


def test_beside_an_engine() -> None:
    """One agent reads the configured page on one GPU, the other finds the engine by itself."""
    configured, discovering = (
        config_of(*agent_arguments(name, PORT)) for name in ("configured", "discovering")
    )

    (endpoint,) = configured.engines.endpoints
    assert (f"http://127.0.0.1:{PORT}/metrics", (HELD,), False) == (
        endpoint.url,
        endpoint.gpus,
        configured.engines.discover,
    )
    assert ((), True) == (discovering.engines.endpoints, discovering.engines.discover)
    assert {(0.5, 1.0)} == {(one.sample_interval, one.engines.interval) for one in (configured, discovering)}


def test_beside_a_training() -> None:
    """The training's agent trusts every job's claim of a GPU."""
    assert ("*",) == config_of(*AGENT_ARGUMENTS).work.trusted_jobs


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [*(agent_arguments(name, PORT) for name in AGENTS), AGENT_ARGUMENTS])
def test_agents_start(tmp_path: Path, arguments: list[str]) -> None:
    """An agent starts with these arguments and shows the GPUs of the fake driver."""
    with (
        FakeDriver.create(tmp_path, gpus=2, real_time=True) as driver,
        perwatt(tmp_path, *arguments, environment=driver.environment()) as agent,
    ):
        agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 2)
