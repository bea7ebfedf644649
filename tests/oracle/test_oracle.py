"""No figure called valid is wrong, whatever fails."""

from pathlib import Path

import pytest

from oracle.schedule import run_schedule

MISSING = (
    "a GPU has no identity",
    "a node was never seen",
    "the aggregator is restarted, and a node is gone",
    "a GPU has no power sensor",
    "a display card has no power sensor",
    "no GPU of a node has a power sensor",
)


@pytest.mark.parametrize("seed", range(6))
async def test_undisturbed(seed: int, tmp_path: Path) -> None:
    """Without a fault, valid figures are right."""
    verdict = await run_schedule(seed, tmp_path, faults=0)

    assert [] == verdict.wrong
    assert {} == verdict.refused


@pytest.mark.parametrize("fault", MISSING)
@pytest.mark.parametrize("seed", range(3))
async def test_missing_nodes_and_gpus(seed: int, fault: str, tmp_path: Path) -> None:
    """Nodes and GPUs that are not there, or cannot be measured, never leave a figure valid that is wrong."""
    verdict = await run_schedule(seed, tmp_path, faults=1, only=fault)

    assert [] == verdict.wrong
