"""kill -9 of a process that writes: no tick that was kept is lost, and the file is whole."""

from pathlib import Path

import pytest
from aggregator.history.killing import killed

pytestmark = pytest.mark.slow


def test_killed_in_mid_write(tmp_path: Path) -> None:
    """Three kills at random instants; `make prove` does fifty."""
    assert 3 <= killed(tmp_path / "history.db", times=3, seed=1)
