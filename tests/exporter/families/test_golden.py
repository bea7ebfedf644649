"""Whole pages, byte for byte; see tests/golden/README.md."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.exposition.samples import SAMPLES

from perwatt_agent import __version__
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages
from perwatt_exporter.page.process import ProcessMetrics

GOLDEN = Path(__file__).parents[2] / "golden"

# These tell of the process, its version or its clock: left out of the golden pages, asserted here.
CHANGING = {
    *("perwatt_build_info", "python_info"),
    *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds"),
    *("process_cpu_seconds_total", "process_open_fds", "process_max_fds"),
}


def page(name: str) -> str:
    snapshot = SAMPLES[name]()
    return Pages(lambda: snapshot, ALL, ProcessMetrics()).body("text", "identity").decode()


def family_of(line: str) -> str:
    return line.split()[2] if line.startswith("#") else line.split("{")[0].split()[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_golden(name: str, update_golden: bool) -> None:
    """A snapshot gives exactly the page that was reviewed."""
    golden = GOLDEN / f"{name}.metrics"
    shown = "".join(line for line in page(name).splitlines(keepends=True) if family_of(line) not in CHANGING)
    if update_golden:
        golden.write_text(shown)

    assert golden.read_text() == shown


def test_no_other_golden_pages() -> None:
    """Every golden page belongs to a sample: none is left behind unread."""
    assert set(SAMPLES) == {path.stem for path in GOLDEN.glob("*.metrics")}


def test_changing_families() -> None:
    """What the golden pages leave out is there, once, and plausible."""
    shown = {sample.name: sample for family in parse_text(page("zero_gpus")) for sample in family.samples}

    assert set(shown) >= CHANGING
    assert {"version": __version__} == shown["perwatt_build_info"].labels
    assert all(shown[name].value > 0 for name in CHANGING)
