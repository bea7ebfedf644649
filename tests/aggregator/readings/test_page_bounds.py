"""Bounds of an agent's page: how many series, GPUs and workloads, and which values."""

import re

import pytest
from support.fleet.agents import serving_machine

from perwatt_agent.net.prometheus_text import SLICE_LINES, PageError
from perwatt_aggregator.readings.facts import MAX_FACT, MAX_GPUS, MAX_WORKLOADS, BadValue
from perwatt_aggregator.readings.node_ring import TooManySeries
from perwatt_aggregator.readings.page_reader import MAX_LINES, MAX_PAGE_SERIES, MAX_UNIX_SECONDS, PageReader
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page


def good_page() -> str:
    snapshot = serving_machine().snapshot()
    return page(
        Renderer().collected(((family, family.read(snapshot)) for family in ALL), "text"), "text"
    ).decode()


def with_family(name: str, lines: list[str]) -> bytes:
    """The page with a family of *lines*."""
    return "".join((good_page(), f"# TYPE {name} gauge\n", *lines)).encode()


@pytest.mark.parametrize(
    ("name", "labels", "count"),
    [
        pytest.param("perwatt_gpu_up", 'gpu="{}"', MAX_GPUS, id="GPUs"),
        pytest.param("perwatt_gpu_power_watts", 'gpu="{}"', MAX_GPUS, id="GPUs without a name"),
        pytest.param("perwatt_workload_up", 'workload="{}"', MAX_WORKLOADS, id="workloads"),
        pytest.param("perwatt_requests_running", 'workload="{}"', MAX_PAGE_SERIES, id="facts"),
        pytest.param("perwatt_work_total", 'workload="{}",unit="u"', MAX_PAGE_SERIES, id="counters"),
    ],
)
def test_too_many(name: str, labels: str, count: int) -> None:
    """More of them than any machine has are refused as a whole."""
    lines = [f"{name}{{{labels.format(number)}}} 1\n" for number in range(count)]

    with pytest.raises(TooManySeries):
        PageReader().read(with_family(name, lines), 0.0)


def test_too_many_lines() -> None:
    """A long page is refused before its lines are read."""
    reader = PageReader()
    with pytest.raises(PageError) as refused:
        next(reader.slices(b"x 1\n" * (MAX_LINES + 1), 0.0))

    assert "too_many_lines" == refused.value.reason


def test_slices() -> None:
    """A long page is read in slices, which give the sample of the whole."""
    lines = [f'perwatt_work_total{{workload="{number}",unit="u"}} {number}\n' for number in range(5000)]
    whole = with_family("perwatt_work_total", lines)
    *before, sample = PageReader().slices(whole, 0.0)

    assert PageReader().read(whole, 0.0) == sample
    assert [None] * len(before) == before
    assert 5000 // SLICE_LINES <= len(before)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"(perwatt_snapshot_timestamp_seconds) \S+", -1.0),
        (r"(perwatt_snapshot_timestamp_seconds) \S+", 10 * MAX_UNIX_SECONDS),
        (r"(perwatt_snapshot_timestamp_seconds) \S+", 1e300),
        (r'(perwatt_gpus\{state="ok"\}) \S+', -5),
        (r'(perwatt_gpus\{state="ok"\}) \S+', MAX_GPUS + 1),
        (r'(perwatt_gpus\{state="ok"\}) \S+', 1e300),
        (r"(perwatt_gpu_power_watts\{[^}]*\}) \S+", 10 * MAX_FACT),
        (r"(perwatt_gpu_power_watts\{[^}]*\}) \S+", -1e308),
    ],
)
def test_bad_value(pattern: str, value: float) -> None:
    """A value that no answer could show is refused with the page, where it enters."""
    changed = re.sub(pattern, rf"\g<1> {value!r}", good_page())
    assert changed != good_page()

    with pytest.raises(BadValue):
        PageReader().read(changed.encode(), 0.0)


@pytest.mark.parametrize("index", ["9" * 30, "9" * 5000, "-1", "x", ""])
def test_index(index: str) -> None:
    """An index that is no small number is not known."""
    changed = re.sub(r'index="\d+"', f'index="{index}"', good_page())

    assert [None] == [gpu.index for gpu in PageReader().read(changed.encode(), 0.0).gpus.values()]
