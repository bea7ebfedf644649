"""A real vLLM run, page by page, over a driver whose exact joules are known."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.engines.engine_pages import engine_page, page_server, without_latencies
from support.gpus.fakenvml import Constant, FakeDriver

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import ManualClock
from perwatt_agent.engine.collector import EngineCollector
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_agent.facts.workload import WorkloadInfo, WorkloadSnapshot
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuCollector, Timing
from perwatt_agent.sampling.source import LiveSource
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

GPUS = 2
# Within the second between two sweeps, when pages are read: joules must be told for that very instant.
PAGE_AFTER_SECONDS = 0.3


class Run:
    """An agent over GPUS boards and one engine page; both clocks are moved by hand."""

    def __init__(self, driver: FakeDriver, url: str) -> None:
        self.driver = driver
        self._clock = ManualClock()
        info = WorkloadInfo("chat")
        self._poller = EndpointPoller(Endpoint(info, 8000, "all", EnginePageReader(url)), self._clock, 5.0)
        timing = Timing.for_interval(1.0)
        gpus = Driver(NvmlBackend(self._clock), self._clock, timing.hung_seconds)
        sweeper = GpuCollector(gpus, self._clock, timing)
        self._source = LiveSource(gpus, sweeper, [EngineCollector([self._poller])], self._clock, 1.0)
        self._account = Account(1.0)

    async def second(self, *, read_page: bool = False) -> WorkloadSnapshot | None:
        """Let a second pass, with the page read in it or not, and sweep."""
        self._advance(PAGE_AFTER_SECONDS)
        if read_page:
            await self._poller.poll()
        self._advance(1.0 - PAGE_AFTER_SECONDS)
        workloads = self._account.advance(await self._source.collect()).workloads
        return workloads[0] if workloads else None

    def _advance(self, seconds: float) -> None:
        self.driver.advance(seconds)
        self._clock.advance(seconds)


def joules(workload: WorkloadSnapshot) -> float:
    return sum(gpu.active_joules + gpu.idle_joules + gpu.loading_joules for gpu in workload.energy)


async def test_from_idle_over_warm_to_after(tmp_path: Path) -> None:
    """
    The page's own counts arrive unaltered, and tokens/J over them is that of the exact joules between
    the very instants at which the pages were read, within 0.1 %.
    """
    with FakeDriver.create(tmp_path, gpus=GPUS).install() as driver:
        driver.set_waveform(0, Constant(310.0))
        driver.set_waveform(1, Constant(470.0))
        async with page_server(engine_page("vllm-0.32.0-1-idle")) as server:
            run = Run(driver, server.url)
            await run.second()
            began = driver.now + PAGE_AFTER_SECONDS
            idle = await run.second(read_page=True)
            for _ in range(9):
                await run.second()
            server.page = engine_page("vllm-0.32.0-2-warm")
            await run.second(read_page=True)
            for _ in range(40):
                await run.second()
            server.page = engine_page("vllm-0.32.0-4-after")
            ended = driver.now + PAGE_AFTER_SECONDS
            after = await run.second(read_page=True)

        assert idle is not None
        assert after is not None
        assert idle.counts is not None
        assert (0.0, 0.0) == (idle.counts.output_tokens, idle.counts.requests_ok)
        assert after.counts is not None
        assert expected_counts(after.counts) == without_latencies(after.counts)
        assert buckets(server.page, "vllm:time_to_first_token_seconds") == shown_buckets(after)
        exact = sum(driver.exact_energy_joules(gpu, began, ended) for gpu in range(GPUS))
        tokens_per_joule = after.counts.output_tokens / (joules(after) - joules(idle))  # type: ignore[operator]
        assert 4585 / exact == pytest.approx(tokens_per_joule, rel=1e-3)
        assert ended - began == pytest.approx(after.covered_seconds - idle.covered_seconds, rel=1e-6)


def expected_counts(seen: EngineCounts) -> EngineCounts:
    """What the client and the page say of this run; the start time is the page's own."""
    return EngineCounts(
        model="tiny-llama",
        output_tokens=4585.0,
        prompt_computed_tokens=3854.0,
        prompt_cached_tokens=8832.0,
        effective_output_tokens=4503.0,
        requests_ok=64.0,
        requests_aborted=6.0,
        requests_error=4.0,
        requests_running=0.0,
        requests_waiting=0.0,
        process_start_unix_seconds=seen.process_start_unix_seconds,
        kv_cache_usage_ratio=0.0,
        preemptions=0.0,
        wasted_tokens={"aborted": 82.0},
    )


def shown_buckets(workload: WorkloadSnapshot) -> dict[str, float]:
    """The time to first token on the agent's page."""
    snapshot = Snapshot(0.0, 0.0, BackendStatus("nvml", up=True), workloads=(workload,))
    text = page(Renderer().collected(((family, family.read(snapshot)) for family in ALL), "text"), "text")
    return buckets(text, "perwatt_time_to_first_token_seconds")


def buckets(text: bytes, name: str) -> dict[str, float]:
    """A histogram as an independent reader sees it: its buckets by bound, its count and its sum."""
    samples = [
        sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    ]
    ends = {f"{name}_bucket": "", f"{name}_count": "count", f"{name}_sum": "sum"}
    return {
        ends[sample.name] or sample.labels["le"]: sample.value for sample in samples if sample.name in ends
    }
