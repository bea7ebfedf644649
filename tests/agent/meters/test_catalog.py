"""The catalog of meter kinds: one row makes a kind known, and nothing else in the packages names one."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.meters.meter_benches import BENCHES

from pages.meters import table
from perwatt_agent.clock import Clock, ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters import kinds
from perwatt_agent.meters.build import build_meter, find_meters
from perwatt_agent.meters.catalog import METERS, rank_of, source_labels
from perwatt_agent.meters.checks import check_meter
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.kind import MeterKind

ROOT = Path(__file__).parents[3]
ROWS = Path(kinds.__file__).parent
PACKAGES = [ROOT / "agent", ROOT / "exporter", ROOT / "aggregator", ROOT / "cli"]

OTHER_MEANINGS = {
    ("json", "agent/perwatt_agent/net/failures.py"): "a page that is JSON in place of metrics",
    ("json", "agent/perwatt_agent/net/prometheus_text.py"): "a page that is JSON in place of metrics",
    ("json", "agent/perwatt_agent/engine/engine_page_reader.py"): "a page that is JSON in place of metrics",
    ("json", "agent/perwatt_agent/discovery/pod_list.py"): "a list of pods that is no JSON",
    ("json", "cli/perwatt/logs.py"): "a format of the log",
    ("csv", "agent/perwatt_agent/recording/recording.py"): "a recording in CSV, whose source is its format",
    ("model", "*"): "the model that an engine serves",
}
"""Words that are also the name of a kind, by the file in which they mean something else."""

IMPORTS_OF_A_ROW = {
    ("model", "agent/perwatt_agent/accounting/host_meters.py"): "accounting is the meter of this kind",
    ("rapl", "aggregator/perwatt_aggregator/attribution/node_parts.py"): "the uncertainty of a host's parts",
}
"""Files that need one kind and name it by importing its row."""


class ToyMeter:
    """A meter of 7 watts."""

    def __init__(self, clock: Clock, name: str = "toy", interval_seconds: float = 3.0) -> None:
        self.name = name
        self.interval_seconds = interval_seconds
        self._clock = clock

    async def read(self) -> Sequence[MeterSample]:
        return [MeterSample("toy", self._clock.monotonic(), 7.0)]


TOY = MeterKind(
    name="toy",
    rank=15,
    measures="nothing",
    boundary="the wall (AC)",
    limits="a toy",
    uncertainty_ratio=0.5,
    uncertainty_basis="this test",
    interval_seconds=3.0,
    needs=("url",),
    build=lambda config, clock, interval_seconds: ToyMeter(clock, config.label, interval_seconds),
    find=ToyMeter,
)
WITH_TOY = (*METERS, TOY)


class TestToyMeter:
    """A row, passed to each reader of rows, is all that makes a kind known."""

    def test_configuration(self) -> None:
        """Its keys are checked by its row, and its name may be a source."""
        needed = ("m.url", "expected, but it is missing: kind toy requires it")
        surplus = ("m.query", "expected nothing: kind toy does not use it")

        assert [] == problems(MeterConfig(kind="toy", url="http://toy"))
        assert [needed, surplus] == problems(MeterConfig(kind="toy", query="q"))
        assert [] == problems(MeterConfig(kind="toy", url="http://toy", source="toy"))
        assert "toy" in source_labels(WITH_TOY)

    async def test_reading(self, clock: ManualClock) -> None:
        """It is built with its own interval, and read."""
        meter = build_meter(MeterConfig(kind="toy", url="http://toy", name="mine"), clock, WITH_TOY)
        (sample,) = await meter.read()

        assert ("mine", 3.0, 7.0) == (meter.name, meter.interval_seconds, sample.power_watts)

    def test_finding(self, clock: ManualClock) -> None:
        """It is found on a machine, but not beside a configured one."""
        toy = MeterConfig(kind="toy", url="http://toy", name="mine")

        assert "toy" in [meter.name for meter in find_meters(clock, (), WITH_TOY)]
        assert "toy" not in [meter.name for meter in find_meters(clock, (toy,), WITH_TOY)]

    def test_document(self) -> None:
        """Its line in docs/meters.md is written from the row."""
        given = "found on the machine; `kind: toy` with `url`"

        assert (
            f"| `toy` | {given} | nothing | the wall (AC) | 50 % | 3s | a toy |"
            in table(WITH_TOY).splitlines()
        )


def problems(config: MeterConfig) -> list[tuple[str, str]]:
    return list(check_meter(config, "m", lambda path: True, WITH_TOY))


@pytest.mark.parametrize("file", sorted(ROWS.glob("[a-z]*.py")), ids=lambda file: file.stem)
def test_every_file_of_rows(file: Path) -> None:
    """A file beside the other rows is in the catalog, under the name of its kind, without registration."""
    assert file.stem in [kind.name for kind in METERS]


def test_trust() -> None:
    """Whom to believe first: what somebody chose, the controller, the kernel, at last an estimate."""
    expected = "pdu prometheus json csv redfish ipmi rapl grace hwmon model"

    assert expected.split() == [kind.name for kind in METERS]
    assert rank_of("csv") < rank_of("something recorded") < rank_of("redfish")
    assert len(METERS) == len({kind.rank for kind in METERS})


@pytest.mark.parametrize("kind", METERS, ids=lambda kind: kind.name)
async def test_every_meter_has_a_bench(clock: ManualClock, kind: MeterKind) -> None:
    """Every kind that is read has a bench, on which every fault is tried; it measures what its row says."""
    assert (kind.name in BENCHES) == (kind.is_configured or kind.find is not None)
    if kind.name in BENCHES:
        async with BENCHES[kind.name](clock) as bench:
            assert bench.scope in kind.scopes


def test_named_in_its_row_only() -> None:
    """Code outside the rows spells no kind of meter and imports no row."""
    names = {kind.name for kind in METERS}
    allowed = OTHER_MEANINGS.keys() | IMPORTS_OF_A_ROW.keys()
    found = {
        (word, str(file.relative_to(ROOT)))
        for package in PACKAGES
        for file in package.rglob("*.py")
        if ROWS not in file.parents
        for word in _texts_and_rows(file)
        if word in names
    }

    assert set() == {(word, file) for word, file in found if not {(word, file), (word, "*")} & allowed}


def _texts_and_rows(file: Path) -> Iterator[str]:
    """Every text in a file's code, and every row that it imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(kinds.__name__):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)
