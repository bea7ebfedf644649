"""What eight engines on eight GPUs cost the agent, and whether one that is stuck delays the others."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from support.agent.process import Page, free_port
from support.engines.engine_pages import engine_page

from benchmarks.parts.engine_page import TOKENS_PER_SECOND, served
from benchmarks.peers.exporters import Exporter, Running, perwatt, side_by_side, started
from benchmarks.tools.harness import MIB, Plan, measured, rss_bytes, wait_until
from benchmarks.tools.report import Section, Target, table
from benchmarks.tools.scraping import page

GPUS = 8
SETTLE_SECONDS = 4.0
LOOK_SECONDS = 0.1
STUCK = "stuck"
PAGES = ("vllm-0.32.0-3-underload-4", "sglang-0.5.23-2-underload-4")
_TOKENS = re.compile(
    rb'^((?:vllm:generation_tokens_total|sglang:realtime_tokens_total\{[^}]*mode="decode")[^}]*\}) \S+$',
    re.MULTILINE,
)


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """The plain agent and one with eight engines over the same time; then one of the engines is stuck."""
    version = exporters[0].version
    bodies = [engine_page(PAGES[number % len(PAGES)]) for number in range(GPUS)]
    with served(*(growing(body) for body in bodies)) as port:
        urls = {f"engine-{number}": f"http://127.0.0.1:{port}/{number}/metrics" for number in range(GPUS)}
        reading = perwatt(version, *flags(urls), name="eight engines")
        with side_by_side([perwatt(version, name="plain"), reading]) as all_running:
            time.sleep(SETTLE_SECONDS)
            with measured(*(running.pid for running in all_running)) as spans:
                time.sleep(plan.rest_seconds)
            rss = [rss_bytes(running.pid) for running in all_running]
        with stuck() as stuck_port:
            urls["engine-0"] = f"http://127.0.0.1:{stuck_port}/metrics"
            with started(perwatt(version, *flags(urls), name=STUCK)) as running:
                gaps, snapshots = largest_gaps(running, [*urls][1:], plan.survival_seconds)
    shares = [100 * span.share for span in spans]
    rows = [
        (running.exporter.name, f"{share:.3f}", f"{size / MIB:.1f}")
        for running, share, size in zip(all_running, shares, rss, strict=True)
    ]
    text = (
        "Eight engines, one a GPU, each page read every second: four of vLLM 0.32.0 "
        f"({len(bodies[0])} bytes) and four of SGLang 0.5.23 ({len(bodies[1])} bytes), as recorded, with "
        "tokens that grow.\n\n"
        + table(("perwatt agent, 8 GPUs", "CPU, % of a core", "RSS, MiB"), rows)
        + "\n\nThen the first engine takes connections and never answers. The greatest time in which the "
        f"tokens of another one stood still: {gaps:.2f} s; in which no new snapshot came: {snapshots:.2f} s."
    )
    targets = (
        Target("8 engines x 8 GPUs, a page a second, CPU in all", 3.0, shares[1], "% of a core"),
        Target("tokens of the others beside a stuck engine", 3.0, gaps, "s old"),
        Target("snapshots beside a stuck engine", 2.0, snapshots, "s old"),
    )
    return Section("What eight engines cost", text, targets)


def flags(urls: Mapping[str, str]) -> list[str]:
    """The arguments for these engines, by workload, each on a GPU of its own."""
    endpoints = [f"url={url},workload={name},gpus={gpu}" for gpu, (name, url) in enumerate(urls.items())]
    found = [argument for endpoint in endpoints for argument in ("--engine", endpoint)]
    return [*found, "--engines.interval", "1s"]


def growing(body: bytes) -> Callable[[], bytes]:
    """A page with the tokens of an engine that has been at work all the time."""
    assert _TOKENS.search(body)
    return lambda: _TOKENS.sub(rb"\g<1> %.1f" % (TOKENS_PER_SECOND * time.monotonic()), body)


def largest_gaps(running: Running, workloads: Sequence[str], seconds: float) -> tuple[float, float]:
    """The greatest time in which the tokens of one of *workloads* stood still, and snapshots did."""
    names = ("perwatt_snapshot_timestamp_seconds", *workloads)
    wait_until(lambda: None not in _watched(running, workloads))
    values, moved = _watched(running, workloads), [time.monotonic()] * len(names)
    gaps = [0.0] * len(names)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        now, seen = time.monotonic(), _watched(running, workloads)
        for index, (before, after) in enumerate(zip(values, seen, strict=True)):
            gaps[index] = max(gaps[index], now - moved[index])
            moved[index] = now if after != before else moved[index]
        values = seen
    return max(gaps[1:]), gaps[0]


def _watched(running: Running, workloads: Sequence[str]) -> list[float | None]:
    shown = Page(page(running.port).body.decode())
    tokens = (shown.value("perwatt_output_tokens_total", workload=workload) for workload in workloads)
    return [shown.value("perwatt_snapshot_timestamp_seconds"), *tokens]


@contextmanager
def stuck() -> Iterator[int]:
    """A server that takes connections and says nothing."""
    loop, port = asyncio.new_event_loop(), free_port()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with ExitStack() as stack:
        listener = loop.run_until_complete(asyncio.start_server(be_silent, "127.0.0.1", port))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        stack.callback(listener.close)
        yield port
