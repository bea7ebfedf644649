"""PromQL: whatever a value is, it stays inside its string."""

import pytest

from perwatt_aggregator.prometheus.promql import one_of, quoted, raw


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("chat", '"chat"'),
        ('a"} or up{x="', '"a\\"} or up{x=\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
    ],
)
def test_quoted(value: str, expected: str) -> None:
    """Quotes, backslashes and line ends are escaped."""
    assert expected == quoted(value)


def test_literal_patterns() -> None:
    """Values of a pattern are literal: `.*` is a workload of this name."""
    assert 'workload=~"\\\\.\\\\*|a\\\\|b"' == one_of("workload", ["a|b", ".*"])


@pytest.mark.parametrize("selector", ['{job="gpu"}', '{ job="gpu" , }'])
def test_selector_and_matchers(selector: str) -> None:
    """The configured selector comes after the matchers, in one pair of braces."""
    assert '{a="1",job="gpu"}[90000ms]' == raw(selector, ['a="1"'], 90.0).replace(" ", "")


def test_empty_selector() -> None:
    """A selector without matchers adds nothing."""
    assert '{a="1"}[500ms]' == raw("{}", ['a="1"'], 0.5)
