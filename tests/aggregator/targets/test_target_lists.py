"""Target lists in Prometheus's format: what each label does to a target, and what is no list."""

import json

import pytest

from perwatt_aggregator.targets.config import FileSdConfig
from perwatt_aggregator.targets.target import Target, named
from perwatt_aggregator.targets.target_lists import BadList, parse_json, parse_yaml

CONFIG = FileSdConfig("*.yaml", labels={"cluster": "one"})


def test_json_and_yaml() -> None:
    """Both forms give the same targets: host and port, the default path, and the labels of group and file."""
    groups = [
        {"targets": ["gpu-1:9836", "[::1]:9836"], "labels": {"rack": "r1"}},
        {"targets": ["gpu-2:9836"]},
    ]
    yaml = "- targets: ['gpu-1:9836', '[::1]:9836']\n  labels: {rack: r1}\n- targets: [\"gpu-2:9836\"]\n"

    expected = [
        ("gpu-1:9836", "http://gpu-1:9836/metrics", {"cluster": "one", "rack": "r1"}),
        ("[::1]:9836", "http://[::1]:9836/metrics", {"cluster": "one", "rack": "r1"}),
        ("gpu-2:9836", "http://gpu-2:9836/metrics", {"cluster": "one"}),
    ]
    for targets in (parse_json(json.dumps(groups).encode(), CONFIG), parse_yaml(yaml.encode(), CONFIG)):
        assert expected == [(one.node, one.url, one.labels) for one in targets]


def test_labels_that_prometheus_gives_a_meaning() -> None:
    """They make the URL; no label that starts with `__` and no empty one is a label of the node."""
    labels = {
        "__scheme__": "https",
        "__metrics_path__": "/gpu/metrics",
        "__param_part": "a b",
        "__meta_datacenter": "x",
        "rack": "r2",
        "cluster": "",
    }
    (target,) = parse_json(json.dumps([{"targets": ["gpu-1"], "labels": labels}]).encode(), CONFIG)

    assert ("https://gpu-1/gpu/metrics?part=a+b", {"rack": "r2"}) == (target.url, target.labels)


def test_address_label() -> None:
    """`__address__` replaces the target, as in Prometheus."""
    (target,) = parse_yaml(b"- targets: [a:1]\n  labels: {__address__: 'b:2'}", CONFIG)

    assert "http://b:2/metrics" == target.url


@pytest.mark.parametrize("empty", [b"", b"[]", b"# nothing\n"])
def test_empty_lists(empty: bytes) -> None:
    """An empty list is a list: there are no targets."""
    assert () == parse_yaml(empty, CONFIG)


@pytest.mark.parametrize(
    "document",
    [
        b"- targets: ['gpu-1:9836', 'gpu-",
        b"targets: [a:1]",
        b"- targets: a:1",
        b"- target: [a:1]",
        b"- targets: ['http://a:1/metrics']",
        b"- targets: ['a b:1']",
        b"- targets: ['a:0']",
        b"- targets: ['user:password@a:1']",
        b"- targets: [a:1]\n  labels: {__metrics_path__: metrics}",
        b"- targets: [a:1]\n  labels: {a-b: c}",
        b"- targets: [a:1]\n  labels: {rack: [1]}",
        b"\xff\xff",
        b"[" * 5000,
        b"&a [*a, *a]",
    ],
)
def test_what_is_no_list(document: bytes) -> None:
    """It is refused as a whole, with one line that says what was expected."""
    with pytest.raises(BadList) as refused:
        parse_yaml(document, CONFIG)
    assert "expected" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("document", [b"", b"{}", b'[{"targets": ["a:1"', b'[{"targets": [1]}]', b"\xff"])
def test_what_is_no_json_list(document: bytes) -> None:
    """An answer that was cut, and one of another form, are refused."""
    with pytest.raises(BadList, match="expected a JSON list"):
        parse_json(document, CONFIG)


def test_names() -> None:
    """One page counts once, however it is spelt; agents at one address have their paths in their names."""
    urls = ("http://a:80/metrics", "http://A/metrics?", "http://b:1/x/metrics", "http://b:1/y/metrics")

    assert ["a:80", "b:1/x/metrics", "b:1/y/metrics"] == [
        one.node for one in named(Target("", url) for url in urls)
    ]
