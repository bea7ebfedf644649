"""The packages' READMEs and the documents: what they name and link exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "agent": "perwatt_agent",
    "exporter": "perwatt_exporter",
    "aggregator": "perwatt_aggregator",
    "cli": "perwatt",
}
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "*/README.md", "docs/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(".")
)


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_path_exists(folder: str) -> None:
    """A README's table names files and folders of its package that are there."""
    page = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    paths = re.findall(r"`([a-z_/]+(?:/|\.py))`", rows)

    assert len(paths) > 4
    assert [] == [path for path in paths if not (ROOT / folder / PACKAGES[folder] / path).exists()]


def test_decision_14_names_what_exists() -> None:
    """The page on folders names files of the packages that are there."""
    page = (ROOT / "docs" / "decisions" / "0014-folders-are-floors.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", page)

    assert paths
    assert [] == [path for path in paths if not list(ROOT.glob(f"*/perwatt*/{path}"))]


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in DOCUMENTS])
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link within the repository leads to a file, and to a heading of it where it names one."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]

    assert [] == [str(target) for target, _ in targets if not target.exists()]
    assert [] == [
        f"{target}#{anchor}" for target, anchor in targets if anchor and anchor not in _anchors(target)
    ]


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
