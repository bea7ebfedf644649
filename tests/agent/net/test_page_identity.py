"""Identity of a page: every spelling of a URL is one page, and what only looks alike is not."""

from itertools import combinations, product

import pytest

from perwatt_agent.net.page_identity import page_identity

HOSTS = ("localhost", "LocalHost", "127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "0.0.0.0")
ENDS = ("/metrics", "/metrics/", "/metrics?", "/metrics#top")
PORTS = (("http", ""), ("http", ":80"), ("https", ":80"))
SPELLINGS = [f"{scheme}://{host}{port}{end}" for (scheme, port), host, end in product(PORTS, HOSTS, ENDS)]
DIFFERENT = (
    "http://127.0.0.1/metrics",
    "http://127.0.0.2/metrics",
    "http://10.0.0.1/metrics",
    "http://node/metrics",
    "http://127.0.0.1:8000/metrics",
    "https://127.0.0.1/metrics",
    "http://127.0.0.1/",
    "http://127.0.0.1/Metrics",
    "http://127.0.0.1/v1/metrics",
    "http://127.0.0.1/metrics?model=a",
    "http://127.0.0.1/metrics?model=b",
)
"""Each another page than all others: another host, port, path or query."""


@pytest.mark.parametrize("url", SPELLINGS)
def test_spelling(url: str) -> None:
    """Loopback, the default port, upper case and what ends a URL do not make another page."""
    assert page_identity("http://127.0.0.1:80/metrics") == page_identity(url)


@pytest.mark.parametrize(("one", "other"), list(combinations(DIFFERENT, 2)))
def test_looks_alike(one: str, other: str) -> None:
    """Another host, port, path or query is another page."""
    assert page_identity(one) != page_identity(other)


@pytest.mark.parametrize(
    ("expected", "host"),
    [(True, host) for host in (*HOSTS, "127.0.0.2")] + [(False, "node"), (False, "10.0.0.1")],
)
def test_address(expected: bool, host: str) -> None:
    """The address of a page is its host and port, whatever the path; loopback has several addresses."""
    page = page_identity(f"http://{host}:8000/v1/metrics")

    assert expected == page.is_loopback
    assert page.address == page_identity(f"https://{host}:8000/?a=b").address


def test_query() -> None:
    """The order of a query does not matter, nor what perwatt adds to it."""
    assert page_identity("http://a/metrics?model=x&b=1") == page_identity(
        "http://A./metrics?b=1&autoload=false&model=x"
    )
