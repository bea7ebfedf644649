"""Simulated fleet: its pages and its truth."""

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perwatt.simulate.events import PlannedEvent, PlannedKind
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import START_UNIX_SECONDS as START
from perwatt.simulate.plan import FleetPlan, steady_plan
from perwatt.simulate.truth import TruthDimension, TruthItem, truth
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

DAY = 3_600.0
"""A short day, so that much happens in a test."""


@cache
def eventful() -> Fleet:
    return Fleet(FleetPlan(nodes=6, day_seconds=DAY, rates_factor=20.0))


@cache
def steady() -> Fleet:
    return Fleet(steady_plan(6))


def new_eventful(seed: int = 1) -> Fleet:
    return Fleet(FleetPlan(nodes=3, seed=seed, day_seconds=DAY, rates_factor=20.0))


def sums(items: tuple[TruthItem, ...]) -> list[float]:
    amounts = TruthItem.__struct_fields__[1:]
    return [sum(getattr(item, amount) for item in items) for amount in amounts]


class TestPages:
    @pytest.mark.parametrize("number", range(3))
    def test_page_is_the_exporters(self, number: int) -> None:
        """A filled template is, byte for byte, what the exporter writes of the same snapshot."""
        fleet = eventful()
        for turn in range(12):
            unix = START + 1.0 + DAY * turn / 5
            snapshot = fleet.snapshot(number, unix)

            expected = None if snapshot is None else rendered(snapshot)
            assert expected == fleet.page(number, unix)

    def test_full_detail(self) -> None:
        """The page of full detail is the exporter's too, and has all of a core page."""
        plan = FleetPlan(nodes=2, rates_factor=0.0, detail="full")
        snapshot = Fleet(plan).snapshot(1, START + 60.0)
        full, core = (Fleet(one).page(1, START + 60.0) for one in (plan, replace(plan, detail="core")))

        assert snapshot is not None
        assert rendered(snapshot) == full
        assert set((core or b"").splitlines()) < set((full or b"").splitlines())
        assert b"perwatt_gpu_sm_active_ratio{" in (full or b"")

    def test_same_seed_same_pages(self) -> None:
        """Equal plans give equal pages in any order of questions; another seed gives other pages."""
        times = [START + DAY * turn / 7 for turn in range(21)]

        forwards = new_eventful()
        pages = [forwards.page(2, unix) for unix in times]

        backwards = new_eventful()
        assert pages == [backwards.page(2, unix) for unix in reversed(times)][::-1]
        assert pages != [new_eventful(seed=2).page(2, unix) for unix in times]

    def test_page_is_marked(self) -> None:
        """Backend, energy, node meter and UUIDs say that nothing was measured."""
        body = Fleet(steady_plan(1)).page(0, START + 60.0)

        assert body is not None
        assert b'perwatt_backend_info{backend="simulated",' in body
        assert b'gpu="SIM-sim-0000-7"' in body
        assert b'source="counter"' not in body
        assert b'perwatt_node_energy_joules_total{source="simulated"}' in body

    def test_nodes_have_agents_of_their_own(self) -> None:
        """Each page has its own agent and its own GPUs."""
        fleet = Fleet(steady_plan(20))
        snapshots = [fleet.snapshot(number, START + 60.0) for number in range(20)]

        agents = {one.agent.agent for one in snapshots if one is not None and one.agent is not None}
        gpus = {gpu.info.uuid for one in snapshots if one is not None for gpu in one.gpus}

        assert (20, 160) == (len(agents), len(gpus))


class TestCounters:
    @given(st.integers(0, 5), st.floats(0.0, 3 * DAY), st.floats(0.5, 400.0))
    def test_counters_only_rise(self, number: int, seconds: float, step: float) -> None:
        """Within one boot, engine and workload no counter of a page falls."""
        fleet = eventful()
        before, after = (fleet.snapshot(number, START + seconds + gap) for gap in (0.0, step))

        if before is not None and after is not None:
            later = counters(after)
            for key, value in counters(before).items():
                assert value <= later.get(key, value) + 1e-6, key

    @given(st.integers(0, 5), st.floats(0.0, 3 * DAY))
    def test_parts_are_the_board(self, number: int, seconds: float) -> None:
        """Workloads and what is unattributed are the board, but for what waits for the next reading."""
        fleet = steady()
        snapshot = fleet.snapshot(number, START + seconds)

        assert snapshot is not None
        held: dict[str, float] = {}
        for workload in snapshot.workloads:
            for one in workload.energy:
                joules = one.active_joules + one.idle_joules + one.loading_joules
                held[one.gpu] = held.get(one.gpu, 0.0) + joules
        for gpu in snapshot.gpus:
            assert gpu.energy is not None
            assert gpu.unallocated_joules is not None
            waiting = gpu.energy.joules - gpu.unallocated_joules - held.get(gpu.info.uuid, 0.0)
            assert -0.01 <= waiting <= 6.0 * 720.0


class TestTruth:
    @pytest.mark.parametrize("by", [("model",), ("node",), ("gpu", "workload"), ("facility", "engine")])
    def test_groups_add_up(self, by: tuple[TruthDimension, ...]) -> None:
        """Whatever the grouping, the sums are those of the whole."""
        fleet = eventful()
        begin, end = START + 100.0, START + 2 * DAY

        whole = sums(truth(fleet, begin, end).items)

        assert pytest.approx(whole, rel=1e-9) == sums(truth(fleet, begin, end, by).items)

    @pytest.mark.slow
    @given(st.lists(st.floats(0.0, 3 * DAY), min_size=3, max_size=5))
    def test_times_add_up(self, seconds: list[float]) -> None:
        """The truth of a time is the sum of the truth of its parts."""
        fleet = eventful()
        times = sorted(START + one for one in seconds)

        whole = sums(truth(fleet, times[0], times[-1]).items)
        parts = [sums(truth(fleet, early, late).items) for early, late in pairwise(times)]

        assert pytest.approx(whole, rel=1e-9, abs=1e-3) == [sum(part) for part in zip(*parts, strict=True)]

    def test_board_is_its_parts(self) -> None:
        """Board joules are the active, idle, loading and unallocated ones."""
        for item in truth(eventful(), START, START + DAY, ("workload",)).items:
            parts = item.active_joules + item.idle_joules + item.loading_joules + item.unallocated_joules
            assert pytest.approx(parts) == item.gpu_board_joules

    def test_models_differ(self) -> None:
        """Each model has its own tokens per joule."""
        items = truth(Fleet(steady_plan(30)), START, START + 600.0, ("model",)).items

        ratios = {
            round(item.output_tokens / item.gpu_board_joules, 2) for item in items if item.group["model"]
        }
        assert 4 == len(ratios)


EVENTS: list[tuple[PlannedKind, str]] = [
    ("reboot", "reboot"),
    ("agent_restart", "agent_restart"),
    ("engine_restart", "engine_restart"),
    ("replace", "birth"),
    ("gpu_lost", "gpu_lost"),
    ("straggler", "straggler"),
    ("pause", "pause_end"),
    ("slow", "slow"),
]


class TestEvents:
    @pytest.mark.parametrize(("kind", "seen"), EVENTS)
    def test_events_are_in_the_truth(self, kind: PlannedKind, seen: str) -> None:
        """What was planned happened, and the truth lists it."""
        event = PlannedEvent(START + 50.0, kind, 0, seconds=30.0, factor=0.5)
        fleet = Fleet(steady_plan(1, 8, 1, event))

        happened = truth(fleet, START, START + 300.0).events

        assert seen in {one.kind for one in happened}

    def test_reboot(self) -> None:
        """A node that boots has no page, then counters that begin again and workloads of other names."""
        fleet = Fleet(steady_plan(1, 8, 1, PlannedEvent(START + 50.0, "reboot", 0, seconds=30.0)))
        before, after = fleet.snapshot(0, START + 49.0), fleet.snapshot(0, START + 200.0)

        assert fleet.page(0, START + 60.0) is None
        assert before is not None
        assert after is not None
        assert before.gpus[0].energy is not None
        assert after.gpus[0].energy is not None
        assert 120.0 == pytest.approx(after.gpus[0].energy.covered_seconds, abs=1.0)
        assert not names(before) & names(after)

    def test_rollout(self) -> None:
        """All workloads of one model are replaced one after another; births count from 0."""
        fleet = Fleet(FleetPlan(nodes=12, rates_factor=0.0, day_seconds=DAY))

        events = fleet.events(START, START + DAY)

        ends = [one for one in events if one.kind == "end"]
        births = [one for one in events if one.kind == "birth"]
        assert len(ends) == len(births) > 0
        assert not {one.workload for one in ends} & {one.workload for one in births}
        tokens = truth(fleet, START, START + DAY, ("workload",)).items
        assert {one.workload for one in births} <= {item.group["workload"] for item in tokens}

    def test_straggler_makes_fewer_tokens(self) -> None:
        """A straggler makes its share of the tokens, and as much heat."""
        plain = Fleet(steady_plan(1))
        slowed = Fleet(steady_plan(1, 8, 1, PlannedEvent(START, "straggler", 0, seconds=1_000.0, factor=0.5)))

        one, other = (truth(fleet, START, START + 100.0, ("workload",)).items[0] for fleet in (plain, slowed))

        assert 0.5 == pytest.approx(other.output_tokens / one.output_tokens)
        assert one.gpu_board_joules == pytest.approx(other.gpu_board_joules)

    def test_bursts(self) -> None:
        """Between pauses a workload works as ever; in them it makes no token, and its joules are idle."""
        pauses = [PlannedEvent(START + 20.0 * turn, "pause", 0, seconds=15.0) for turn in range(5)]
        bursts, plain = Fleet(steady_plan(1, 8, 1, *pauses)), Fleet(steady_plan(1))

        one, other = (truth(fleet, START, START + 100.0, ("workload",)).items[0] for fleet in (bursts, plain))

        assert 0.25 == pytest.approx(one.output_tokens / other.output_tokens, rel=0.01)
        assert one.idle_joules > 5 * 15.0 * 100.0 * 0.9
        assert 0.0 == truth(bursts, START + 1.0, START + 14.0, ("workload",)).items[0].output_tokens


def rendered(snapshot: Snapshot) -> bytes:
    return page(Renderer(ALL).snapshot(snapshot, "text"), "text")


def names(snapshot: Snapshot) -> set[str]:
    return {workload.info.workload for workload in snapshot.workloads}


def counters(snapshot: Snapshot) -> dict[tuple[object, ...], float]:
    """Counters of a snapshot, by what they count since when."""
    start = snapshot.agent.start_unix_seconds if snapshot.agent else 0.0
    found: dict[tuple[object, ...], float] = {}
    for gpu in snapshot.gpus:
        if gpu.energy is not None and gpu.unallocated_joules is not None:
            found[start, gpu.info.uuid, "board"] = gpu.energy.joules
            found[start, gpu.info.uuid, "unallocated"] = gpu.unallocated_joules
    for workload in snapshot.workloads:
        found[workload.info.workload, "covered"] = workload.covered_seconds
        for one in workload.energy:
            found[workload.info.workload, one.gpu, "active"] = one.active_joules
            found[workload.info.workload, one.gpu, "loading"] = one.loading_joules
    return found
