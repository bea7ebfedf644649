"""The one list of reasons."""

from pathlib import Path

from pages.validity import document
from perwatt_aggregator.validity.all import NAMES, TABLE, is_valid, ordered


def test_each_reason_once() -> None:
    """No two reasons share a name."""
    assert len(set(NAMES)) == len(TABLE)


def test_order_and_verdict() -> None:
    """Reasons come in the table's order, each once; one that invalidates is enough."""
    assert ("coverage_low", "stale") == ordered(["stale", "coverage_low", "stale"])
    assert (True, False) == (is_valid(("stale",)), is_valid(("stale", "coverage_low")))


def test_document_is_fresh() -> None:
    """docs/validity.md is what the table says."""
    page = Path(__file__).parents[3] / "docs" / "validity.md"

    assert document() == page.read_text(encoding="utf-8")


def test_each_reason_is_used() -> None:
    """Nothing is documented that is never said."""
    package = Path(__file__).parents[3] / "aggregator" / "perwatt_aggregator"
    sources = "".join(path.read_text() for path in package.rglob("*.py") if path.parent.name != "validity")

    assert [] == [name for name in NAMES if f'"{name}"' not in sources]
