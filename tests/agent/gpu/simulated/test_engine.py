"""A simulated engine's page is one that perwatt reads, and its counts keep vLLM's identities."""

import asyncio
from urllib.parse import urlsplit

import pytest
from msgspec.structs import asdict
from prometheus_client.parser import text_string_to_metric_families

from perwatt_agent.clock import ManualClock
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.gpu.simulated.backend import SimulatedBackend
from perwatt_agent.gpu.simulated.engine import SimulatedEngine
from perwatt_agent.gpu.simulated.load import Load
from perwatt_agent.gpu.simulated.serving import OUTPUT_TOKENS_PER_REQUEST, Serving
from perwatt_agent.gpu.simulated.vllm_page import MODEL
from perwatt_agent.net.http_client import FetchError, fetch

RUN_SECONDS = 3600


async def counts_over_a_run(clock: ManualClock, step_seconds: float) -> list[EngineCounts]:
    """What the reader says of the engine, over an hour of all moods."""
    engine = SimulatedEngine(Load(clock))
    await engine.start()
    reader = EnginePageReader(engine.url, timeout_seconds=30)
    counts = []
    for _ in range(round(RUN_SECONDS / step_seconds)):
        counts.append(await reader.read())
        clock.advance(step_seconds)
    await engine.close()
    return counts


class TestCounts:
    async def test_read_by_the_reader(self, clock: ManualClock) -> None:
        """The page is recognised as vLLM's; every count but FLOPs is there; its model says simulated."""
        engine = SimulatedEngine(Load(clock))
        await engine.start()
        reader = EnginePageReader(engine.url)
        clock.advance(600.0)
        counts = await reader.read()
        await engine.close()

        assert ("vllm", MODEL) == (reader.engine, counts.model)
        assert "simulated" in counts.model
        assert clock.unix() - 600.0 == counts.process_start_unix_seconds
        assert ["flops_per_gpu"] == [fact for fact, count in asdict(counts).items() if count is None]

    @pytest.mark.slow
    async def test_monotone(self, clock: ManualClock) -> None:
        """Counters count whole things and never fall; at times nobody asks for anything."""
        counters = (
            "output_tokens",
            "prompt_computed_tokens",
            "prompt_cached_tokens",
            "effective_output_tokens",
            "requests_ok",
            "requests_aborted",
            "requests_error",
        )
        run = await counts_over_a_run(clock, 9.7)
        for counter in counters:
            values = [getattr(counts, counter) for counts in run]

            assert sorted(values) == values
            assert all(value == int(value) for value in values)
            assert values[0] == 0 < values[-1]

        assert {0.0, True} <= {counts.requests_running and counts.requests_running > 0 for counts in run}

    async def test_derived_aborts(self, clock: ManualClock) -> None:
        """The aborts that the reader derives are those that happened, at every instant."""
        load = Load(clock)
        serving, engine = Serving(load, 2), SimulatedEngine(load)
        await engine.start()
        reader = EnginePageReader(engine.url)
        for _ in range(100):
            clock.advance(13.0)
            served, counts = serving.now(), await reader.read()

            assert served.aborted == counts.requests_aborted
            assert served.running == counts.requests_running
            assert served.finished * OUTPUT_TOKENS_PER_REQUEST == counts.effective_output_tokens

        await engine.close()
        assert served.aborted > 10

    def test_tokens_follow_the_level(self, clock: ManualClock) -> None:
        """Output is the integral of a rate that follows the load: while the level is 0 it stands still."""
        load = Load(clock)
        serving, level = Serving(load, 1), load.curve(float)
        quiet = busy = 0
        for second in range(7200):
            before = serving.now().output_tokens
            clock.advance(1.0)
            rate = serving.now().output_tokens - before
            mean_level = level.mean(second + 1.0, 1.0)

            assert 2600 * mean_level == pytest.approx(rate, abs=1.0)
            quiet, busy = quiet + (rate == 0), busy + (rate > 2000)

        assert quiet > 60
        assert busy > 60


class TestTokensPerJoule:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_plausible(self, seed: int) -> None:
        """Over hours a board gives between 1 and 10 tokens a joule, the same for equal seeds."""
        ratios = []
        for _ in range(2):
            clock = ManualClock()
            load = Load(clock, seed)
            serving, gpus = Serving(load, 2), SimulatedBackend(clock, load=load, seed=seed).open().devices
            clock.advance(4 * 3600.0)
            ratios.append(serving.now().output_tokens / sum(gpu.read().energy_joules for gpu in gpus))

        assert 1.0 < ratios[0] < 10.0
        assert ratios[0] == ratios[1]


class TestServer:
    async def test_page_is_whole(self, clock: ManualClock) -> None:
        """prometheus_client reads the page too, and every family says that it is simulated."""
        engine = SimulatedEngine(Load(clock))
        clock.advance(100.0)
        families = list(text_string_to_metric_families(engine.page().decode()))

        assert {"Simulated."} == {family.documentation for family in families}
        assert {"counter", "gauge", "histogram"} == {family.type for family in families}

    async def test_other_paths(self, clock: ManualClock) -> None:
        """There is nothing but the page."""
        engine = SimulatedEngine(Load(clock))
        await engine.start()
        with pytest.raises(FetchError) as failure:
            await fetch(engine.url.replace("/metrics", "/v1/models"), timeout_seconds=30)
        await engine.close()

        assert "status" == failure.value.reason

    async def test_close(self, clock: ManualClock) -> None:
        """Closing does not wait for a client that says nothing, and leaves no task behind."""
        tasks = asyncio.all_tasks()
        engine = SimulatedEngine(Load(clock))
        await engine.start()
        port = urlsplit(engine.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /met")
        await writer.drain()
        await fetch(engine.url, timeout_seconds=30)
        await engine.close()

        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await writer.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)
        assert tasks == asyncio.all_tasks()
