"""Target: one agent's page, the labels of its node, and the name by which answers know the node."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.net.page_identity import page_identity
from perwatt_aggregator.targets.config import AccessConfig

NO_LABELS: Mapping[str, str] = MappingProxyType({})
OPEN = AccessConfig()
"""Access to a page that asks for nothing."""


class Target(Struct, frozen=True):
    """
    The URL of an agent's page, and the name of its node: host and port, like `instance` in Prometheus.

    `labels` are those of the source that named it. `access` is how to reach the page.
    """

    node: str
    url: str
    labels: Mapping[str, str] = NO_LABELS
    access: AccessConfig = OPEN


def node_name(url: str) -> str:
    """The name of the node whose agent is at *url*: host and port, like `instance` in Prometheus."""
    return urlsplit(url).netloc.rpartition("@")[2]


def named(targets: Iterable[Target]) -> Iterator[Target]:
    """
    *targets* without a second one of the same page, each with its name.

    Agents at one host and port have their paths in their names.
    """
    pages = {page_identity(target.url): target for target in reversed(tuple(targets))}
    unique = tuple(reversed(pages.values()))
    names = Tally(node_name(target.url) for target in unique)
    for target in unique:
        name = node_name(target.url)
        yield replace(target, node=name if names[name] == 1 else name + urlsplit(target.url).path)
