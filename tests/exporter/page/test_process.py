"""Process metrics: what the agent shows of itself, held against prometheus_client's own collectors."""

from pathlib import Path
from typing import Any

import pytest

from perwatt_exporter.page.client_process import ClientProcessMetrics
from perwatt_exporter.page.process import ProcessMetrics

STAT = (
    b"4711 (a) b (c)) S 1 4711 4711 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 123456 50331648 2560 "
    b"18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A kernel that shows one process whose name has brackets, with three descriptors."""
    (tmp_path / "self/fd").mkdir(parents=True)
    for descriptor in range(3):
        (tmp_path / f"self/fd/{descriptor}").touch()
    (tmp_path / "self/stat").write_bytes(STAT)
    (tmp_path / "self/limits").write_text("Max open files            1024      4096      files\n")
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1790000000\n")
    return tmp_path


def shown(metrics: ProcessMetrics | ClientProcessMetrics) -> dict[str, tuple[Any, ...]]:
    return {
        family.name: (family.kind, family.help, family.labels, list(samples)) for family, samples in metrics()
    }


def test_as_prometheus_client_shows_them(proc: Path) -> None:
    """Names, kinds, help, labels, values and order are those of prometheus_client."""
    expected, actual = shown(ClientProcessMetrics(str(proc))), shown(ProcessMetrics(proc))
    limit = expected.pop("process_max_fds"), actual.pop("process_max_fds")

    assert list(expected) == list(actual)
    assert expected == actual
    assert limit[0][:3] == limit[1][:3]


def test_limit_is_that_of_this_process() -> None:
    """The greatest number of descriptors is what the kernel shows in `limits`."""
    assert shown(ClientProcessMetrics())["process_max_fds"] == shown(ProcessMetrics())["process_max_fds"]


def test_absent_where_the_kernel_shows_nothing(tmp_path: Path) -> None:
    """Without /proc there is no series of the process, and no figure of 0 in its place."""
    samples = {name: one[3] for name, one in shown(ProcessMetrics(tmp_path)).items()}

    assert ["python_info"] == [name for name, found in samples.items() if found]
