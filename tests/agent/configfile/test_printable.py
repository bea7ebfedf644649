"""Text of others: what a terminal would obey is shown, and secrets of URLs are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.configfile.printable import escaped, escaped_items, escaped_json, without_secrets


@given(st.text())
def test_escaped(text: str) -> None:
    """Whatever the text, it stays on its line and moves no cursor; printable text is unchanged."""
    shown = escaped(text)

    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json(value: object) -> None:
    """JSON means the same, and only its own line ends are not printable."""
    document = escaped_json(value, indent=2)

    assert value == json.loads(document)
    assert document.replace("\n", "").isprintable()


def test_items() -> None:
    """Texts are escaped at every depth, keys included; numbers stay numbers."""
    assert [{"a\\n": ["\\x1b[2J", 1, None]}] == escaped_items([{"a\n": ["\x1b[2J", 1, None]}])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://gpu1:9836/metrics", "http://gpu1:9836/metrics"),
        ("http://a/m?node=1&token=t0p", "http://a/m?node=1&token=***"),
        ("http://a/m?access_token=t0p&x=1", "http://a/m?access_token=***&x=1"),
        ("http://a/m?API-KEY=t0p#x", "http://a/m?API-KEY=***#x"),
        ("cannot read http://user:t0p@a/m: refused", "cannot read http://***@a/m: refused"),
        ("http://user:t0p@x@a/m", "http://***@a/m"),
        ("http://user:t0p/@a/m", "http://***@a/m"),
    ],
)
def test_secrets(text: str, shown: str) -> None:
    """Passwords and tokens are hidden, all else of a URL stays."""
    assert shown == without_secrets(text)
