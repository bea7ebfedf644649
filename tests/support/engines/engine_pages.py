"""Pages of real engines, as recorded (tiny models on a CPU), and ways to bend and to read them."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.engine_counter import EngineCounter
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import Role
from perwatt_agent.net.prometheus_text import PageParser

ENGINE_PAGES = Path(__file__).parents[2] / "data" / "engines"


def engine_page(name: str) -> bytes:
    """Return the page *name*, such as "vllm-0.32.0-4-after"."""
    return (ENGINE_PAGES / f"{name}.prom").read_bytes()


def all_engine_pages() -> list[Path]:
    return sorted(ENGINE_PAGES.glob("*.prom"))


def without(page: bytes, *names: str) -> bytes:
    """Return *page* less the samples of the metrics *names*."""
    pattern = "|".join(re.escape(name) for name in names)
    return re.sub(rf"^(?:{pattern})[{{ ].*\n".encode(), b"", page, flags=re.MULTILINE)


def changed(page: bytes, series: str, value: str) -> bytes:
    """Return *page* with *value* for the one sample whose line begins with *series*."""
    pattern = rb"^(" + re.escape(series.encode()) + rb"(?:\{.*\})? ).*$"
    page, times = re.subn(pattern, rb"\g<1>" + value.encode(), page, flags=re.MULTILINE)
    assert times == 1, f"{series} is there {times} times"
    return page


def like_vllm_0_9(page: bytes) -> bytes:
    """
    Return *page* with the names that vLLM 0.9.2 had: no prompt tokens by source or from outside, prefix cache
    hits under their older name, three reasons to finish.
    """
    page = without(
        page,
        "vllm:prompt_tokens_by_source_total",
        "vllm:prompt_tokens_cached_total",
        "vllm:prompt_tokens_cached_by_source_total",
        "vllm:external_prefix_cache_hits_total",
        "vllm:external_prefix_cache_queries_total",
    )
    page = re.sub(
        rb'^vllm:request_success_total\{.*"(?:error|repetition)".*\n', b"", page, flags=re.MULTILINE
    )
    return page.replace(b"vllm:prefix_cache_", b"vllm:gpu_prefix_cache_")


def without_latencies(counts: EngineCounts) -> EngineCounts:
    """Return *counts* less the histograms."""
    return replace(counts, time_to_first_token=None, time_per_output_token=None, inter_token_latency=None)


class PageServer:
    """Serves `page`, as it is at the moment, to whoever asks on loopback and has the `token`, if any."""

    def __init__(self) -> None:
        self.page = b""
        self.token = b""
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        status, page = b"200 OK", self.page
        if self.token and b"Authorization: Bearer %s\r\n" % self.token not in self.requests[-1]:
            status, page = b"401 Unauthorized", b""
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(page)) + page)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def page_server(page: bytes = b"", tls: ssl.SSLContext | None = None) -> AsyncIterator[PageServer]:
    server = PageServer()
    server.page = page
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/metrics"
    yield server
    listener.close()
    await listener.wait_closed()


class Engine:
    """One engine of a *kind*, read page by page without a network."""

    def __init__(
        self, kind: EngineKind, model: str | None = None, role: Role = "mixed", *, shares_kv: bool = False
    ) -> None:
        self._kind = kind
        self._model = model
        self._parser = PageParser(kind.families())
        self._counter = EngineCounter(role, shares_kv=shares_kv)

    @property
    def role(self) -> Role:
        return self._counter.role

    @property
    def faults(self) -> list[str]:
        """What of the latest page was left out."""
        return list(map(str, self._counter.faults))

    def read(self, page: bytes | str) -> EngineCounts:
        samples = self._parser.parse(page if isinstance(page, bytes) else page.encode())
        return self._counter.counts(self._kind, EngineMetricsPage(self._kind, samples, self._model))


def kind_named(name: str) -> EngineKind:
    """The row of the table that has this name."""
    return next(kind for kind in ENGINES if kind.name == name)
