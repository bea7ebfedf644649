"""
Target lists in Prometheus's format: `[{"targets": ["host:port"], "labels": {...}}]`, as JSON or YAML.

The labels `__address__`, `__scheme__`, `__metrics_path__` and `__param_<name>` give the URL of a page, as in
Prometheus. Other labels that start with `__` are dropped.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from perwatt_agent.configfile.value_kinds import URL
from perwatt_aggregator.targets.config import GroupConfig, access_of
from perwatt_aggregator.targets.target import Target, node_name

MAX_TARGETS = 20_000
MAX_LABELS = 64
MAX_LABEL_LENGTH = 1024
MAX_LIST_BYTES = 16 * 1024 * 1024

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PARAMETER = "__param_"
_Labels = Mapping[str, str]


class BadList(Exception):
    """The document is not a list of targets. The message says where, and what was expected."""


class _Group(Struct):
    targets: list[str]
    labels: dict[str, str] | None = None


def parse_json(document: bytes, config: GroupConfig) -> tuple[Target, ...]:
    """The targets of a JSON document. Raises BadList."""
    try:
        groups = msgspec.json.decode(document, type=list[_Group])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadList(f"expected a JSON list of targets: {error}") from None
    return _targets(groups, config)


def parse_yaml(document: bytes, config: GroupConfig) -> tuple[Target, ...]:
    """The targets of a YAML document, of which JSON is a form. Raises BadList."""
    import yaml  # only where a file is configured

    try:
        found: Any = yaml.load(document, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        groups = msgspec.convert(found if found is not None else [], type=list[_Group], strict=False)
    except (yaml.YAMLError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadList(f"expected a YAML list of targets: {' '.join(str(error).split())}") from None
    return _targets(groups, config)


def target_at(address: str, labels: _Labels, config: GroupConfig) -> Target:
    """
    The target at *address*, host and port, with *labels* over those of *config*. Raises BadList.

    A port that is missing is the scheme's, as in Prometheus.
    """
    merged = {**config.labels, **labels}
    address = merged.get("__address__", address)
    scheme = merged.get("__scheme__", "http")
    path = merged.get("__metrics_path__", "/metrics")
    parameters = {
        name.removeprefix(_PARAMETER): value for name, value in merged.items() if name.startswith(_PARAMETER)
    }
    url = f"{scheme}://{address}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
    try:
        if "/" in address or not path.startswith("/"):
            raise ValueError
        URL.read(url)
    except ValueError:
        raise BadList(f"expected a target such as host:9836, not {address[:200]!r}") from None
    return Target(node_name(url), url, dict(_kept(merged)), access_of(config))


def _targets(groups: list[_Group], config: GroupConfig) -> tuple[Target, ...]:
    if sum(len(group.targets) for group in groups) > MAX_TARGETS:
        raise BadList(f"expected at most {MAX_TARGETS} targets")
    return tuple(
        target_at(address, group.labels or {}, config) for group in groups for address in group.targets
    )


def _kept(labels: _Labels) -> Iterator[tuple[str, str]]:
    if len(labels) > MAX_LABELS:
        raise BadList(f"expected at most {MAX_LABELS} labels of a target")
    for name, value in labels.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_LABEL_LENGTH or len(value) > MAX_LABEL_LENGTH:
            raise BadList(f"expected label names of letters, digits and _, not {name[:100]!r}")
        if value and not name.startswith("__"):
            yield name, value
