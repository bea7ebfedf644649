"""An aggregator that is started again while a node is dead: what it knows of the node is in its folder."""

import json
from pathlib import Path

import pytest
from support.agent.process import get, perwatt

pytestmark = pytest.mark.slow


def reasons(address: str) -> list[str]:
    (item, *_) = json.loads(get(f"http://{address}/v1/efficiency"))["items"]
    return list(item["reasons"])


def test_a_dead_node_is_known(tmp_path: Path) -> None:
    """The node is unreachable, and not one that was never seen; with an empty folder it is."""
    with perwatt(tmp_path, "agent", "--backend", "simulated") as agent:
        arguments = ("aggregator", "--scrape-interval", "1s", "--agent", f"http://{agent.address}/metrics")
        with perwatt(tmp_path, *arguments) as aggregator:
            aggregator.wait_for(
                lambda page: page.value("perwatt_aggregator_target_up") and nodes(tmp_path / "data")
            )
            aggregator.stop()
    assert [2] == list(nodes(tmp_path / "data").values())

    with perwatt(tmp_path, *arguments) as aggregator:
        aggregator.wait_for(lambda page: page.value("perwatt_aggregator_target_up") == 0.0)
        assert "node_never_seen" not in reasons(aggregator.address)
    (tmp_path / "data" / "nodes.json").unlink()
    with perwatt(tmp_path, *arguments) as aggregator:
        aggregator.wait_for(lambda page: page.value("perwatt_aggregator_target_up") == 0.0)
        assert "node_never_seen" in reasons(aggregator.address)


def nodes(folder: Path) -> dict[str, int]:
    """The GPUs of each node in the aggregator's file."""
    file = folder / "nodes.json"
    return dict(json.loads(file.read_bytes())["gpus"]) if file.exists() else {}
