"""No figure called valid is wrong, whatever fails."""

from pathlib import Path

import pytest

from oracle.faults.all import FAULTS
from oracle.schedule import run_schedule


@pytest.mark.parametrize("seed", range(6))
async def test_undisturbed(seed: int, tmp_path: Path) -> None:
    """Without a fault, valid figures are right."""
    verdict = await run_schedule(seed, tmp_path, faults=0)

    assert [] == verdict.wrong
    assert {} == verdict.refused


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
@pytest.mark.parametrize("seed", range(2))
async def test_a_fault_alone(seed: int, fault: str, tmp_path: Path) -> None:
    """No fault leaves a figure valid that is wrong."""
    verdict = await run_schedule(seed, tmp_path, faults=1, only=fault)

    assert [] == verdict.wrong


@pytest.mark.parametrize("seed", [22, 37, 184])
async def test_found(seed: int, tmp_path: Path) -> None:
    """Schedules of several faults with a wrong figure once: leaps, a lost state, a page that came late."""
    verdict = await run_schedule(seed, tmp_path)

    assert [] == verdict.wrong
