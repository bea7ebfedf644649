"""docs/architecture.md: it names what is in the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = (
    "agent/perwatt_agent",
    "exporter/perwatt_exporter",
    "aggregator/perwatt_aggregator",
    "cli/perwatt",
)
TEST_FOLDERS = ("agent", "aggregator", "cli", "e2e", "exporter")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_a_row(package: str) -> None:
    """The tables list each folder of each package, and no folder that is gone."""
    folders = {f"{file.parent.relative_to(ROOT)}/" for file in (ROOT / package).rglob("*.py")}

    assert folders == set(re.findall(rf"^\| `({package}/[^`]*)` \|", PAGE, re.MULTILINE))


def test_every_type_of_the_stream_exists() -> None:
    """The data that the drawings name are classes of the packages."""
    drawings = "\n".join(line for line in PAGE.splitlines() if line.startswith("    ") and "-->" in line)
    names = set(re.findall(r"--> ([A-Z][A-Za-z]+)", drawings))
    code = "\n".join(
        file.read_text(encoding="utf-8") for package in PACKAGES for file in (ROOT / package).rglob("*.py")
    )

    assert {"Readings", "Snapshot", "NodeSample"} <= names
    assert [] == [name for name in names if not re.search(rf"^class {name}\b", code, re.MULTILINE)]


def test_every_named_test_exists() -> None:
    """Each test file, folder or class that a principle names is there."""
    named = re.findall(rf"`((?:{'|'.join(TEST_FOLDERS)})/[a-z0-9_/]*(?:\.py)?)(?:::(\w+))?`", PAGE)
    tests = [(path, name) for path, name in named if "perwatt" not in path]

    assert len(tests) > 35
    assert [] == [path for path, _ in tests if not (ROOT / "tests" / path).exists()]
    assert [] == [
        f"{path}::{name}"
        for path, name in tests
        if name and f"class {name}" not in (ROOT / "tests" / path).read_text(encoding="utf-8")
    ]
