"""docs/glossary.md: every term is in use, and is defined once."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"
PACKAGES = ("agent", "exporter", "aggregator", "cli")


def _terms() -> list[str]:
    return [term.lower() for term in re.findall(r"\*\*(.+?)\*\*", PAGE.read_text(encoding="utf-8"))]


def test_no_term_twice() -> None:
    """A word has one meaning, so it has one entry."""
    terms = _terms()

    assert len(terms) > 30
    assert sorted(set(terms)) == sorted(terms)


def test_every_term_is_used() -> None:
    """A term that neither another document nor the code uses is not in the glossary."""
    documents = [path for path in (ROOT / "docs").rglob("*.md") if path != PAGE]
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*documents, *modules, ROOT / "README.md"])
    words = re.sub(r"[\s_-]+", " ", text.lower())

    assert [] == [term for term in _terms() if term not in words]
