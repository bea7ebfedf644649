"""Documents for people who change perwatt name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("agent", "exporter", "aggregator", "cli", "tests", "docs", "deploy", "benchmarks", "dashboards")
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "tests/README.md", "benchmarks/README.md", "deploy/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page: str) -> None:
    """A path from the root in backquotes, and the target of a link, is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", text)
    linked = re.findall(r"\]\((?!http|#)([^)#]+)", text)
    beside = (ROOT / page).parent

    assert [] == [path for path in named if not (ROOT / path).exists() and not (beside / path).exists()]
    assert [] == [path for path in linked if not (beside / path).exists()]
