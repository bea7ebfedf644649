"""Two roads to a reading: over the agent's page, and straight from its snapshot."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, Workload, serving_machine

from perwatt_agent.facts.engine_counts import Histogram
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.net.prometheus_text import PageError, PageParser
from perwatt_aggregator.readings.objectives import Objectives, SloConfig
from perwatt_aggregator.readings.page_reader import (
    WANTED,
    NotAnAgent,
    PageReader,
    families,
    sample_of_snapshot,
)
from perwatt_aggregator.readings.sample import BUCKETS, OUTPUT_TOKENS, WORK, Counter
from perwatt_exporter.families.all import ALL
from perwatt_exporter.http.negotiate import Format
from perwatt_exporter.page.render import Renderer, page

GOLDEN = Path(__file__).parents[2] / "golden"


def written(snapshot: Snapshot, form: Format = "text") -> bytes:
    return page(Renderer().collected(((family, family.read(snapshot)) for family in ALL), form), form)


def machines() -> dict[str, Machine]:
    sick = serving_machine(gpus=2, workloads=2)
    sick.gpus[1].state = "hung"
    odd = Machine([Gpu('GPU-"0"\\\n', joules=1e12 + 0.1, calibration_ratio=1.01)])
    odd.workloads.append(Workload("a b{}", model="org/ü, model", output=123456789.0))
    metered = serving_machine()
    metered.run(5.0, node_watts=777.7)
    return {"plain": serving_machine(gpus=8, workloads=8), "sick": sick, "odd": odd, "metered": metered}


@pytest.mark.parametrize("form", ["text", "openmetrics"])
@pytest.mark.parametrize("machine", [pytest.param(machine, id=name) for name, machine in machines().items()])
def test_both_roads_say_the_same(machine: Machine, form: Format) -> None:
    """A page of a snapshot and the snapshot give one and the same sample."""
    snapshot = machine.snapshot()

    assert sample_of_snapshot(snapshot) == PageReader().read(
        written(snapshot, form), snapshot.monotonic_seconds
    )


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.metrics")), ids=lambda path: path.stem)
def test_nothing_wanted_is_passed_over(path: Path) -> None:
    """Reading only the families of interest finds what reading every line finds."""
    heads = {
        head
        for family in families(Objectives([SloConfig(time_to_first_token=1.0)]))
        for head in (family.name, family.stem)
    }
    page = path.read_bytes()

    assert PageParser(WANTED).parse(page) == PageParser(WANTED, families=heads).parse(page)


@pytest.mark.parametrize("form", ["text", "openmetrics"])
def test_buckets_by_both_roads(form: Format) -> None:
    """Of a histogram the buckets next to the objective are kept, by either road the same."""
    machine = serving_machine()
    machine.workloads[0].first_token = Histogram((0.1, 0.25, 2.0), (1, 2, 3), 4, 5.5)
    snapshot = machine.snapshot()
    objectives = Objectives([SloConfig(time_to_first_token=0.2)])
    sample = sample_of_snapshot(snapshot, objectives)

    assert sample == PageReader(objectives).read(written(snapshot, form), snapshot.monotonic_seconds)
    assert {"0.1": 1, "0.25": 2, "+Inf": 4} == {
        counter.part: value for counter, value in sample.counters.items() if counter.name in BUCKETS
    }


def test_hostile_buckets() -> None:
    """Bounds that are no numbers, and histograms that do not count all, are not kept."""
    name = b'perwatt_time_to_first_token_seconds_bucket{workload="w",model="m",le="%s"} 5\n'
    plain = written(serving_machine().snapshot())
    objectives = Objectives([SloConfig(time_to_first_token=0.2)])
    page = plain + name % b"soon" + name % b"0.1" + name % b"NaN" + name % b"-Inf"

    assert PageReader(objectives).read(plain, 0.0) == PageReader(objectives).read(page, 0.0)


def test_who_a_workload_is_may_come_later() -> None:
    """A workload whose identity is not final counts, under its name alone."""
    snapshot = serving_machine().snapshot()
    early = msgspec.structs.replace(snapshot.workloads[0], info_is_final=False)
    sample = sample_of_snapshot(msgspec.structs.replace(snapshot, workloads=(early,)))

    assert ("", True) == (sample.workloads["chat-0"].engine, sample.workloads["chat-0"].up)
    assert 1_000.0 == sample.counters[Counter(OUTPUT_TOKENS, workload="chat-0", model="llama")]


def test_other_units_of_work() -> None:
    """Declared units of work are read as they stand on the page."""
    line = b'perwatt_work_total{workload="train",unit="steps"} 12\n'
    sample = PageReader().read(written(serving_machine().snapshot()) + line, 0.0)

    assert 12.0 == sample.counters[Counter(WORK, workload="train", part="steps")]


def test_numbers_that_are_none() -> None:
    """What is not a number, infinite, negative or beyond any count is refused, never 0."""
    values = (b"NaN", b"+Inf", b"-1", b"1e308")
    lines = b"".join(
        b'perwatt_output_tokens_total{workload="w",model="%d"} %s\n' % (place, value)
        for place, value in enumerate(values)
    )
    plain = written(serving_machine().snapshot())
    sample = PageReader().read(plain + lines, 0.0)

    assert PageReader().read(plain, 0.0) == replace(sample, refused=frozenset())
    assert {(OUTPUT_TOKENS, str(place)) for place in range(len(values))} == {
        (counter.name, counter.model) for counter in sample.refused
    }


def test_a_page_of_someone_else() -> None:
    """A page of metrics without our timestamp is no agent's."""
    with pytest.raises(NotAnAgent):
        PageReader().read(b"vllm:generation_tokens_total 5\n", 0.0)


def test_no_page_at_all() -> None:
    """HTML is refused as such."""
    with pytest.raises(PageError):
        PageReader().read(b"<html>", 0.0)


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_period_of_a_source(order: int) -> None:
    """The parts of a source may be read more often than its node meter, whatever stands first on the page."""
    page = written(serving_machine().snapshot(), "text").decode()
    periods = [
        'perwatt_node_meter_period_seconds{meter="simulated/package/0"} 1.0',
        'perwatt_node_meter_period_seconds{meter="simulated"} 10.0',
    ]
    head = [line for line in page.splitlines() if not line.startswith("perwatt_node_meter_period_seconds{")]

    sample = PageReader().read("\n".join([*head, *periods[::order], ""]).encode(), 0.0)

    assert {"simulated": 10.0} == sample.meter_periods
