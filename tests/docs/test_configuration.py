"""The configuration page is made from what reads the configuration, and is fresh."""

from pathlib import Path

from pages.configuration import document

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_fresh() -> None:
    """docs/configuration.md is what `make docs` writes."""
    assert document() == PAGE.read_text(encoding="utf-8")


def test_every_key_stands_with_flag_variable_and_default() -> None:
    """A row names a key, its flag, its variable and its default."""
    cells = ["`sample_interval`", "`--sample-interval`", "`PERWATT_SAMPLE_INTERVAL`", "`1s`"]

    rows = [line.strip("| ").split(" | ") for line in document().splitlines()]
    assert cells in [row[:4] for row in rows]
