"""
From the board to the bill with real processes: 300 W of boards, 700 W at the wall, a PUE of 1.25.

Answers are held against each other and against the meter, then the meter is pulled away.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.agent.process import PerwattProcess, get, perwatt
from support.engines.steady_engine import steady_engine
from support.gpus.fakenvml import Constant, FakeDriver
from support.meters.growing_csv import GrowingCsv, growing_csv

BOARD_WATTS, WALL_WATTS, PUE = 300.0, 700.0, 1.25
PER_KWH, GRAMS_PER_KWH, JOULES_PER_KWH = 0.2, 400.0, 3.6e6
WINDOW_SECONDS = 12
# Board and meter are read at instants of their own, which a busy machine draws apart.
TOLERANCE_RATIO = 0.1
DEADLINE_SECONDS = 120.0

Json = dict[str, Any]


class Site:
    """One node with a meter at its wall, and the aggregator over it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        driver = stack.enter_context(FakeDriver.create(folder, gpus=1, real_time=True))
        driver.set_waveform(0, Constant(BOARD_WATTS))
        driver.set(0, utilization_percent=80)
        engine = stack.enter_context(steady_engine(1000.0))
        self.meter: GrowingCsv = stack.enter_context(growing_csv(folder / "wall.csv", WALL_WATTS))
        flags: tuple[str, ...] = ("--engines.interval", "1s", "--engine", f"url={engine.url},workload=chat")
        flags += ("--meters.discover", "false", "--meter", f"kind=csv,source=pdu,file={self.meter.path}")
        agent = stack.enter_context(perwatt(folder, "agent", *flags, environment=driver.environment()))
        agent.wait_for(lambda page: page.values("perwatt_node_energy_joules_total"))
        facility: tuple[str, ...] = ("--facility.pue.ratio", f"{PUE}", "--facility.price.currency", "EUR")
        facility += ("--facility.price.per-kwh", f"{PER_KWH}")
        facility += ("--facility.carbon.grams-co2e-per-kwh", f"{GRAMS_PER_KWH}")
        follow = ("--scrape-interval", "1s", "--agent", f"http://{agent.address}/metrics")
        self.aggregator: PerwattProcess = stack.enter_context(
            perwatt(folder, "aggregator", *follow, *facility)
        )
        self.aggregator.wait_for(lambda page: page.samples)

    def ask(self, path: str) -> list[Json]:
        answer = json.loads(get(f"http://{self.aggregator.address}/v1/{path}?window={WINDOW_SECONDS}s"))
        return list(answer["items"])

    def boundaries(self) -> dict[str, Json]:
        return {item["boundary"]: item for item in self.ask("efficiency")}

    def until(self, accept: Callable[[dict[str, Json]], bool]) -> dict[str, Json]:
        """Ask until it is so; whatever is called valid meanwhile must be right."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not accept(items := self.boundaries()):
            for place, watts in (("node", WALL_WATTS), ("facility", WALL_WATTS * PUE)):
                if items and items[place]["valid"]:
                    assert watts == pytest.approx(items[place]["power_watts"], rel=TOLERANCE_RATIO)
            assert time.monotonic() < deadline, items
            time.sleep(0.5)
        return items


def leaves(entry: Json) -> Iterator[Json]:
    if not entry["children"]:
        yield entry
    for child in entry["children"]:
        yield from leaves(child)


def check_efficiency(board: Json, node: Json, facility: Json) -> None:
    for item, watts in ((board, BOARD_WATTS), (node, WALL_WATTS), (facility, WALL_WATTS * PUE)):
        assert watts == pytest.approx(item["power_watts"], rel=TOLERANCE_RATIO)
        assert item["tokens"]["output"] / item["energy_joules"] == pytest.approx(item["tokens_per_joule"])
    joules = facility["energy_joules"]
    assert PUE * node["energy_joules"] == pytest.approx(joules, rel=1e-9)
    assert joules / JOULES_PER_KWH * PER_KWH == pytest.approx(facility["cost"]["amount"], rel=1e-9)
    assert joules / JOULES_PER_KWH * GRAMS_PER_KWH == pytest.approx(facility["carbon"]["grams_co2e"])
    assert [None, None] == [item[key] for item, key in ((board, "cost"), (node, "carbon"))]


def check_ledger(tree: Json) -> None:
    told = [one for one in leaves(tree["tree"]) if one["energy_joules"] is not None]
    joules = tree["energy_joules"]
    by_name = {one["name"]: one["energy_joules"] for one in told}

    assert ("facility", True) == (tree["boundary"], tree["valid"])
    assert joules == pytest.approx(sum(by_name.values()), rel=1e-9)
    assert joules / JOULES_PER_KWH * PER_KWH == pytest.approx(sum(one["cost"] for one in told), rel=1e-9)
    assert (PUE - 1.0) / PUE * joules == pytest.approx(by_name["facility_overhead"], rel=1e-9)
    watts = {name: own / tree["window"]["seconds"] for name, own in by_name.items()}
    assert WALL_WATTS * PUE == pytest.approx(sum(watts.values()), rel=TOLERANCE_RATIO)
    assert WALL_WATTS - BOARD_WATTS == pytest.approx(watts["psu_and_rest"], rel=TOLERANCE_RATIO)


def check_facility(item: Json) -> None:
    node, overhead = item["node_energy_joules"], item["overhead_joules"]

    assert (PUE - 1.0) * node == pytest.approx(overhead, rel=1e-9)
    assert node + overhead == pytest.approx(item["facility_energy_joules"], rel=1e-9)
    assert WALL_WATTS == pytest.approx(node / item["window"]["seconds"], rel=TOLERANCE_RATIO)
    assert ("static", PER_KWH) == (item["pue"]["kind"], pytest.approx(item["price"]["per_kwh"]))


def test_joules_and_money(tmp_path: Path) -> None:
    """
    Parts sum to the whole, a facility is node x PUE, cost is kWh x price, and all answers agree; without
    the meter the node and the facility are null and say why, and the boards go on.
    """
    with ExitStack() as stack:
        site = Site(tmp_path, stack)
        items = site.until(lambda items: all(one["valid"] for one in items.values()))
        check_efficiency(*items.values())
        check_ledger(*site.ask("ledger"))
        check_facility(*site.ask("facility"))

        site.meter.pull()
        items = site.until(lambda items: items["node"]["energy_joules"] is None)
        board, node, facility = items.values()
        assert (True, "no_node_meter" in node["reasons"]) == (board["valid"], not node["valid"])
        assert [None] * 3 == [facility[key] for key in ("energy_joules", "cost", "carbon")]
        assert "no_node_meter" in facility["reasons"]
        (tree,) = site.ask("ledger")
        assert ("gpu_board", None) == (tree["boundary"], tree["tree"]["energy_joules"])
        (hall,) = site.ask("facility")
        assert (None, PUE) == (hall["facility_energy_joules"], hall["pue"]["ratio"])
