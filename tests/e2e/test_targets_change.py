"""A fleet that changes under a running aggregator: SIGHUP, a file of targets, and mistakes in both."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.agent.process import START_SECONDS, free_port, get, perwatt

pytestmark = pytest.mark.slow


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)


def test_targets_are_followed(tmp_path: Path) -> None:
    """SIGHUP reads the agents again; a file that changes is followed; neither mistake loses a node."""
    with perwatt(tmp_path, "agent", "--backend", "simulated") as agent:
        config, targets = tmp_path / "aggregator.yaml", tmp_path / "targets.yaml"
        config.write_text(f"scrape_interval: 1s\nsources: {{agents: ['http://{agent.address}/metrics']}}\n")
        with perwatt(tmp_path, "aggregator", "--config", str(config)) as aggregator:

            def nodes() -> dict[str, bool]:
                answer = json.loads(get(f"http://{aggregator.address}/v1/nodes"))
                return {item["node"]: item["up"] for item in answer["items"]}

            def hang_up(text: str) -> None:
                config.write_text(text)
                os.kill(aggregator.process.pid, signal.SIGHUP)

            aggregator.wait_for(lambda page: page.value("perwatt_aggregator_target_up"))
            targets.write_text(f"- targets: ['{agent.address}', '127.0.0.1:{free_port()}']\n")
            hang_up(f"scrape_interval: 1s\nsources: {{file_sd: ['{targets}']}}\n")
            eventually(lambda: len(nodes()) == 2)
            assert nodes()[agent.address], "the node that stayed was read before"

            hang_up("sources: {agents: [nonsense]}\n")
            targets.write_text(f"- targets: ['{agent.address}', '127.")
            answer = f"http://{aggregator.address}/v1/nodes"
            eventually(lambda: json.loads(get(answer))["sources"][0]["up"] is False)
            assert 2 == len(nodes())

            targets.write_text(f"- targets: ['{agent.address}']\n")
            eventually(lambda: nodes() == {agent.address: True})
