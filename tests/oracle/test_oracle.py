"""No figure called valid is wrong, whatever fails."""

from pathlib import Path

import pytest

from oracle.schedule import run_schedule


@pytest.mark.parametrize("seed", range(6))
async def test_undisturbed(seed: int, tmp_path: Path) -> None:
    """Without a fault, valid figures are right."""
    verdict = await run_schedule(seed, tmp_path, faults=0)

    assert [] == verdict.wrong
