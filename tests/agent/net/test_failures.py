"""Vocabulary of failures: one table of reasons, and subjects that give no other."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from perwatt_agent.discovery.pod_list import POD_LIST_REASONS
from perwatt_agent.engine.engine_page_reader import ENGINE_REASONS
from perwatt_agent.identity.pod_resources import PODS_REASONS
from perwatt_agent.meters.meter import METER_REASONS
from perwatt_agent.net.failures import MEANINGS, TABLE, reasons
from perwatt_agent.net.http_client import FETCH_REASONS
from perwatt_agent.net.prometheus_text import PAGE_REASONS
from perwatt_aggregator.scraping.scraper import SCRAPE_REASONS

ROOT = Path(__file__).parents[3]
SUBSETS = {
    "FetchError": FETCH_REASONS,
    "PageError": PAGE_REASONS,
    "EngineFailure": ENGINE_REASONS,
    "MeterFailure": METER_REASONS,
    "PodListFailure": POD_LIST_REASONS,
    "PodsFailed": PODS_REASONS,
    "ScrapeFailed": SCRAPE_REASONS,
}
"""What each failure may give as its reason."""


def test_every_reason_is_in_the_table_once() -> None:
    assert len(MEANINGS) == len(TABLE)


def test_every_reason_in_the_table_is_given_by_a_subject() -> None:
    assert set().union(*SUBSETS.values()) == MEANINGS.keys()


def test_a_subject_cannot_give_a_reason_that_is_not_in_the_table() -> None:
    with pytest.raises(KeyError, match="no_such_reason"):
        reasons("timeout", "no_such_reason")


@pytest.mark.parametrize("failure", SUBSETS)
def test_a_failure_gives_only_the_reasons_of_its_subject(failure: str) -> None:
    given = set(_literal_reasons(failure))
    assert given
    assert given <= set(SUBSETS[failure])


def _literal_reasons(failure: str) -> Iterator[str]:
    """The reasons that stand as literals where a failure is made, in the agent and the aggregator."""
    return (reason for name, reason in _calls_with_a_literal() if name == failure)


@cache
def _calls_with_a_literal() -> list[tuple[str, str]]:
    """What is called with a literal first: its name and the literal."""
    return [
        (ast.unparse(node.func), str(node.args[0].value))
        for folder in ("agent", "aggregator")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
    ]
