"""The generated documents."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from perwatt_exporter.families.all import ALL, GROUPS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # `make lint` runs the same
def test_fresh() -> None:
    """The documents in the tree are those that the code would write."""
    command = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)


def test_every_family() -> None:
    """Each family has one row, and each group is the file of its name."""
    page = (ROOT / "docs" / "metrics.md").read_text()

    assert [1] * len(ALL) == [page.count(f"| `{family.name}` |") for family in ALL]
    for name, families in GROUPS.items():
        own = importlib.import_module(f"perwatt_exporter.families.{name}").FAMILIES
        assert [family.name for family in own] == [family.name for family in families]
