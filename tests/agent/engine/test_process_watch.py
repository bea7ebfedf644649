"""One page that several processes serve in turn: refused while it lasts. A restart is not that."""

import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, kind_named, page_server

from perwatt_agent.clock import ManualClock
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller, EngineFailure
from perwatt_agent.engine.engine_page_reader import ENGINE_REASONS, EnginePageReader
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.process_watch import CALM_PAGES
from perwatt_agent.facts.workload import WorkloadInfo


class Process:
    """One engine process: its start, its tokens, and how many it makes between two pages."""

    def __init__(self, start: int, tokens: int, step: int, model: str = "m") -> None:
        self.start, self.tokens, self.step, self.model = start, tokens, step, model

    def page(self, *, shows_start: bool = True, prefix: str = "vllm:") -> str:
        self.tokens += self.step
        start = f"process_start_time_seconds {self.start}\n" if shows_start else ""
        return (
            f'{prefix}generation_tokens_total{{engine="0",model_name="{self.model}"}} {self.tokens}\n{start}'
        )


def reasons(engine: Engine, pages: list[str]) -> list[str]:
    """The reason why each page was refused, empty if it counted."""
    found = []
    for page in pages:
        try:
            engine.read(page)
        except EngineFailure as failure:
            found.append(failure.reason)
        else:
            found.append("")
    return found


SEVERAL = "several_processes"


class TestInTurn:
    @pytest.mark.parametrize("shows_start", [True, False])
    @pytest.mark.parametrize("first", [100_000, 900, 500])
    @pytest.mark.parametrize("second", [20, 100, 90_000])
    @pytest.mark.parametrize("step", [0, 5])
    def test_alternating(self, first: int, second: int, step: int, shows_start: bool) -> None:
        """From the return to the first process on, at the latest after eight pages, no page counts."""
        one, other = Process(1000, first, step), Process(2000, second, step)
        pages = [(one, other)[turn % 2].page(shows_start=shows_start) for turn in range(40)]

        found = reasons(Engine(VLLM), pages)

        assert [SEVERAL] * 32 == found[8:]
        assert SEVERAL == found[2] or not shows_start

    def test_chance(self) -> None:
        """A load balancer's choice is refused for as long as it goes on, by the counts alone."""
        chance = random.Random(1)
        both = Process(1000, 10_000, 3), Process(2000, 400, 2)
        found = reasons(Engine(VLLM), [chance.choice(both).page(shows_start=False) for _ in range(2000)])

        assert {SEVERAL} == set(found[found.index(SEVERAL) :])
        assert found.index(SEVERAL) < 10

    def test_busy(self) -> None:
        """Two busy engines whose counts jump about are refused after a few falls."""
        one, other = Process(1, 1000, 300), Process(2, 10, 390)
        found = reasons(Engine(VLLM), [(one, other)[turn % 2].page(shows_start=False) for turn in range(20)])

        assert [SEVERAL] * 10 == found[10:]

    def test_three(self) -> None:
        """Three processes are several too."""
        three = [Process(start, 1000 * start, 5) for start in (1, 2, 3)]

        assert SEVERAL == reasons(Engine(VLLM), [three[turn % 3].page() for turn in range(5)])[-1]

    def test_models(self) -> None:
        """Two engines of different models behind one address are several processes."""
        one, other = Process(1, 1000, 5, "a"), Process(2, 10, 5, "b")
        pages = [(one, other)[turn % 2].page(shows_start=False) for turn in range(5)]

        assert SEVERAL == reasons(Engine(VLLM), pages)[-1]

    @pytest.mark.parametrize("name", ["ray", "aphrodite"])
    def test_other_engines(self, name: str) -> None:
        """The same of engines that never show a process start."""
        one, other = Process(1, 1000, 5), Process(2, 10, 5)
        prefix = {"ray": "ray_vllm_", "aphrodite": "aphrodite:"}[name]
        pages = [(one, other)[turn % 2].page(shows_start=False, prefix=prefix) for turn in range(5)]

        assert SEVERAL == reasons(Engine(kind_named(name)), pages)[-1]


class TestRecovery:
    @pytest.mark.parametrize("shows_start", [True, False])
    def test_after(self, shows_start: bool) -> None:
        """Once one process alone serves the page, it counts after the stated number of pages."""
        one, other = Process(1, 1000, 5), Process(2, 10, 5)
        engine = Engine(VLLM)
        reasons(engine, [(one, other)[turn % 2].page(shows_start=shows_start) for turn in range(10)])
        found = reasons(engine, [other.page(shows_start=shows_start) for _ in range(CALM_PAGES + 10)])

        assert {SEVERAL} == set(found[: CALM_PAGES - 1])
        assert {""} == set(found[CALM_PAGES:])
        assert other.tokens + 5 == engine.read(other.page(shows_start=shows_start)).output_tokens

    def test_again(self) -> None:
        """It is refused again if it begins again."""
        one, other = Process(1, 1000, 5), Process(2, 10, 5)
        engine = Engine(VLLM)
        turns = [one, other] * 3 + [other] * (CALM_PAGES + 2) + [one, other, one]

        assert SEVERAL == reasons(engine, [process.page() for process in turns])[-1]


class TestRestart:
    @pytest.mark.parametrize("shows_start", [True, False])
    def test_single(self, shows_start: bool) -> None:
        """A restarted engine counts at once, also when it passes its earlier count."""
        before, after = Process(1, 900, 30), Process(2, 0, 30)
        pages = [before.page(shows_start=shows_start) for _ in range(5)]
        pages += [after.page(shows_start=shows_start) for _ in range(100)]

        assert {""} == set(reasons(Engine(VLLM), pages))

    @given(
        st.booleans(),
        st.lists(st.tuples(st.integers(8, 40), st.integers(50, 100)), min_size=1, max_size=5),
    )
    def test_any_restarts(self, shows_start: bool, runs: list[tuple[int, int]]) -> None:
        """An engine that is restarted now and then, each time from 0, is one process at a time."""
        pages = []
        for start, (length, step) in enumerate(runs):
            process = Process(start + 1, 0, step)
            pages += [process.page(shows_start=shows_start) for _ in range(length)]

        assert {""} == set(reasons(Engine(VLLM), pages))

    @given(
        st.booleans(),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
        st.integers(0, 50),
        st.lists(st.booleans(), min_size=30, max_size=60),
    )
    def test_any_turns(
        self, shows_start: bool, first: int, second: int, step: int, turns: list[bool]
    ) -> None:
        """With a start time, any return is seen at once, and nothing counts from then on."""
        both = Process(1, first, step), Process(2, second, step)
        found = reasons(Engine(VLLM), [both[turn].page(shows_start=shows_start) for turn in turns])
        changes = [place for place in range(1, len(turns)) if turns[place] != turns[place - 1]]

        if shows_start and len(changes) > 1:
            assert found == [""] * changes[1] + [SEVERAL] * (len(turns) - changes[1])
        if SEVERAL in found:
            assert len(changes) > 1
            assert {SEVERAL} == set(found[found.index(SEVERAL) :])


async def test_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """The endpoint fails with its own reason, and the log says once what to do."""
    clock, both = ManualClock(), (Process(1, 1000, 5), Process(2, 10, 5))
    async with page_server() as server:
        endpoint = Endpoint(WorkloadInfo("chat"), 8000, "all", EnginePageReader(server.url))
        poller = EndpointPoller(endpoint, clock, 5.0)
        with caplog.at_level(logging.WARNING):
            for turn in range(10):
                server.page = both[turn % 2].page().encode()
                await poller.poll()
        samples = poller.drain(())

    assert ["", "", *[SEVERAL] * 8] == [sample.failure for sample in samples]
    assert 1 == len(caplog.messages)
    assert "give each process an endpoint" in caplog.text
    assert SEVERAL in ENGINE_REASONS


class TestFall:
    def test_without_a_restart(self) -> None:
        """Counts that fall while the process goes on are no restart, but of another process."""
        process, engine = Process(1, 5_000, 10), Engine(VLLM)
        reasons(engine, [process.page() for _ in range(5)])
        process.tokens, before = 0, process.tokens
        found = reasons(engine, [process.page() for _ in range(5)])
        process.tokens = before
        found += reasons(engine, [process.page()])

        assert ["bad_value"] * 5 + [SEVERAL] == found

    def test_that_lasts(self) -> None:
        """Counts that stay low for five minutes are believed again."""
        process, engine = Process(1, 5_000, 10), Engine(VLLM)
        reasons(engine, [process.page() for _ in range(5)])
        process.tokens = 0
        found = reasons(engine, [process.page() for _ in range(CALM_PAGES + 5)])

        assert ["bad_value"] * CALM_PAGES + [""] * 5 == found
