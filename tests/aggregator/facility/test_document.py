"""docs/facility.md is correct: its examples load, and all names in it exist."""

import re
from pathlib import Path

import pytest

from perwatt_aggregator.api.metrics import FAMILIES
from perwatt_aggregator.config import load_aggregator_config
from perwatt_aggregator.validity.all import NAMES

TEXT = (Path(__file__).parents[3] / "docs" / "facility.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    (?:#.*\n    )?facilit(?:y|ies):\n(?:^     .*\n)+)", TEXT, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_load(block: str, tmp_path: Path) -> None:
    """Every example is a configuration."""
    hours = tmp_path / "carbon.csv"
    hours.write_text("time,grams_co2e_per_kwh\n")
    path = tmp_path / "aggregator.yaml"
    path.write_text(
        re.sub("^    ", "", block, flags=re.MULTILINE).replace("/etc/perwatt/carbon.csv", str(hours))
    )

    assert load_aggregator_config(path, {}, {}).all_facilities


def test_examples_are_found() -> None:
    """Every example is looked at."""
    assert len(BLOCKS) == len(re.findall(r"^    facilit", TEXT, re.MULTILINE)) > 4


def test_metrics_and_reasons() -> None:
    """What is named exists, and every metric of a facility is named."""
    named = set(re.findall(r"`(perwatt_facility_\w+)`", TEXT))
    reasons = set(re.findall(r"\(`(\w+)`\)", TEXT))

    assert {family.name for family in FAMILIES if family.name.startswith("perwatt_facility")} == named
    assert reasons <= set(NAMES)
    assert {name for name in NAMES if name.startswith("pue_")} <= reasons
