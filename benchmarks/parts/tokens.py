"""
How true tokens per joule are through bursts, restarts and aborts: perwatt, and three ways to do it in PromQL.

A node is simulated by the second: the agent's own code over a fake driver, an engine's page with vLLM's
names, an aggregator that reads the agent's pages. What was on both pages is given to a real Prometheus as
its history, so that a quarter of an hour takes seconds. The truth is what the engine made and the exact
integral of the power.
"""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from support.agent.rig import ALONE
from support.gpus.fakenvml import Constant, FakeDriver
from support.servers import prometheus

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.engine_sim import SCENARIOS, SimulatedEngine, SimulatedReader
from benchmarks.tools.hand_clock import HandClock
from benchmarks.tools.hand_clock import second as pass_second
from benchmarks.tools.harness import Plan, median
from benchmarks.tools.report import Section, Target, table
from perwatt.run.bootstrap import build_sampler
from perwatt_agent.config import AgentConfig
from perwatt_agent.engine.endpoint_poller import Endpoint
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.sampling.sampler import Sampler
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.targets.config import agents_at
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages

SECONDS = 900
WINDOW_SECONDS = 300
SCRAPE_SECONDS = 15
AGENT_PHASE, ENGINE_PHASE = 3, 10  # Prometheus gives each target a phase of its own
ASK_SECONDS = 7  # how often the figure is asked for, at every phase of the scrapes
TOKENS, JOULES, WATTS = "vllm:generation_tokens_total", "perwatt_gpu_energy_joules_total", "gpu_power_usage_W"
SHOWN = (TOKENS, JOULES)
NAIVE = "rate / rate"
TRUE_ENOUGH = 1e-4
QUERIES = {
    NAIVE: f"sum(rate({TOKENS}[5m])) / sum(rate({JOULES}[5m]))",
    "rate / mean watts": f"sum(rate({TOKENS}[5m])) / sum(avg_over_time({WATTS}[5m]))",
    "mean of ratios": (
        f"avg_over_time((sum(rate({TOKENS}[1m])) / sum(rate({JOULES}[1m])))[5m:{SCRAPE_SECONDS}s])"
    ),
}
PERWATT, OWN, EFFECTIVE = "perwatt", "perwatt, over its window", "perwatt, effective"
COLUMNS = (PERWATT, OWN, EFFECTIVE, *QUERIES)


class Told(Struct, frozen=True):
    """What was answered at one instant, and the truth of each answer, in tokens per joule."""

    truth: dict[str, float]
    answers: dict[str, float | None]
    valid: bool


class Asked(Struct, frozen=True):
    """What perwatt's aggregator answered, for which window in seconds of driver time; None is no figure."""

    at: float
    begin: float
    end: float
    output: float | None
    effective: float | None
    valid: bool


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Every scenario, each on a node of its own."""
    if shutil.which("promtool") is None or shutil.which("prometheus") is None:
        return Section("How true tokens per joule are", "prometheus is not installed: not measured.")
    found = {name: asyncio.run(_tell(build())) for name, build in SCENARIOS.items()}
    rows = [(name, *(_cell(told, who) for who in COLUMNS)) for name, told in found.items()]
    text = (
        f"{SECONDS // 60} minutes of driver time, one GPU, one engine; the figure of the last "
        f"{WINDOW_SECONDS // 60} minutes is asked for every {ASK_SECONDS} s. The agent's page and the "
        f"engine's are scraped every {SCRAPE_SECONDS} s, each at a phase of its own, by perwatt's "
        f"aggregator and by Prometheus {_version()}. The error in percent: the median of its size, and the "
        "greatest. All are held against the output tokens that were made and the joules that were drawn "
        "in the minutes that were asked for; perwatt, whose answers name their own window, also against "
        "those of that window, and its effective tokens against those of requests that ended well, which "
        "no query here knows. Figures that perwatt says are not valid count like the others; in brackets, "
        "how many those or missing answers were. What an engine made after its page was last read and "
        "before it died, nobody can count: the agent reads it every 5 s.\n\n"
        + table(("Error, %", *COLUMNS), rows)
        + "\n\n"
        + "\n".join(f"- {name}: `{query}`" for name, query in QUERIES.items())
    )
    return Section("How true tokens per joule are", text, tuple(_targets(found)))


async def _tell(engine: SimulatedEngine) -> list[Told]:
    begun_unix = float(int(time.time()) - 2 * SECONDS)
    clock = HandClock(begun_unix)
    with (
        tempfile.TemporaryDirectory() as name,
        FakeDriver.create(Path(name), gpus=1).install() as driver,
    ):
        for seconds, watts in engine.watts():
            driver.set_waveform(0, Constant(watts), at_seconds=seconds)
        node = Node(Path(name), driver, engine, clock)
        await node.run()
        with _history(Path(name), node.history) as server:
            return [_told(asked, engine, driver, server, begun_unix) for asked in node.asked]


class Node:
    """One simulated node; `history` is what Prometheus scraped, `asked` what the aggregator answered when."""

    def __init__(self, folder: Path, driver: FakeDriver, engine: SimulatedEngine, clock: HandClock) -> None:
        self._driver, self._engine, self._clock = driver, engine, clock
        info = WorkloadInfo("chat", engine="vllm")
        endpoint = Endpoint(info, 8000, "all", SimulatedReader(engine, clock.monotonic))
        config = AgentConfig(state_dir=folder, data_dir=folder / "data", **ALONE)
        self._sampler: Sampler = build_sampler(config, clock, endpoints=[endpoint])
        self._pages = Pages(lambda: self._sampler.latest, ALL, lambda: ())
        sources = agents_at("http://node:9836/metrics")
        self._aggregator = Aggregator(AggregatorConfig(sources, SCRAPE_SECONDS), clock)
        self._reader = PageReader()
        self.history: list[tuple[float, bytes]] = []
        self.asked: list[Asked] = []

    async def run(self) -> None:
        running = asyncio.create_task(self._sampler.run())
        try:
            for second in range(1, SECONDS + 1):
                await pass_second(self._sampler, self._driver, self._clock)
                self._scraped(second)
                if second > WINDOW_SECONDS + 2 * SCRAPE_SECONDS and second % ASK_SECONDS == 0:
                    self.asked.append(self._ask())
        finally:
            running.cancel()

    def _scraped(self, second: int) -> None:
        if second % SCRAPE_SECONDS == AGENT_PHASE:
            page = self._pages.body("text", "identity")
            node = self._aggregator.nodes[0]
            node.add(self._reader.read(page, self._clock.monotonic()), self._clock.unix())
            watts = [gpu.reading.power_watts for gpu in self._sampler.latest.gpus if gpu.reading]
            gauge = b"".join(b"%b %f\n" % (WATTS.encode(), each) for each in watts if each is not None)
            self.history.append((self._clock.unix(), page + gauge))
        if second % SCRAPE_SECONDS == ENGINE_PHASE and (page := self._engine.page(self._clock.monotonic())):
            self.history.append((self._clock.unix(), page))

    def _ask(self) -> Asked:
        items = self._aggregator.efficiency(WINDOW_SECONDS, ("model",), ("gpu_board",)).items
        now = self._clock.monotonic()
        if not items:
            return Asked(now, now - WINDOW_SECONDS, now, None, None, valid=False)
        item = items[0]
        begin, end = (
            _seconds(edge) - self._clock.unix() + now for edge in (item.window.start, item.window.end)
        )
        return Asked(
            now, begin, end, item.tokens_per_joule, item.effective_tokens_per_joule, valid=item.valid
        )


def _told(
    asked: Asked,
    engine: SimulatedEngine,
    driver: FakeDriver,
    server: prometheus.Prometheus,
    begun_unix: float,
) -> Told:
    answers = {PERWATT: asked.output, OWN: asked.output, EFFECTIVE: asked.effective}
    for name, query in QUERIES.items():
        samples = server.query(query, begun_unix + asked.at)
        answers[name] = samples[0][1] if samples else None

    def truth(of: Callable[[float], float], begin: float, end: float) -> float:
        return (of(end) - of(begin)) / driver.exact_energy_joules(0, begin, end)

    made = truth(engine.tokens, asked.at - WINDOW_SECONDS, asked.at)
    own = truth(engine.tokens, asked.begin, asked.end)
    useful = truth(engine.effective_tokens, asked.begin, asked.end)
    return Told(
        dict.fromkeys(QUERIES, made) | {PERWATT: made, OWN: own, EFFECTIVE: useful}, answers, asked.valid
    )


def _seconds(instant: str | datetime) -> float:
    return (instant if isinstance(instant, datetime) else datetime.fromisoformat(instant)).timestamp()


@contextmanager
def _history(folder: Path, scraped: Sequence[tuple[float, bytes]]) -> Iterator[prometheus.Prometheus]:
    """A Prometheus that has scraped these pages."""
    text = folder / "history.txt"
    text.write_text(_open_metrics(scraped))
    blocks = folder / "prometheus" / "data"
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks)]
    subprocess.run(command, check=True, capture_output=True)
    with prometheus.run(folder, []) as server:
        yield server


def _open_metrics(scraped: Sequence[tuple[float, bytes]]) -> str:
    """The shown series with the instants of their scrapes, family by family as OpenMetrics has it."""
    kinds: dict[str, Callable[[str], str]] = {
        TOKENS: lambda name: f"# TYPE {name.removesuffix('_total')} counter",
        JOULES: lambda name: f"# TYPE {name.removesuffix('_total')} counter",
        WATTS: lambda name: f"# TYPE {name} gauge",
    }
    lines = []
    for name, head in kinds.items():
        lines.append(head(name))
        for unix_seconds, page in scraped:
            samples = (
                line for line in page.decode().splitlines() if line.startswith((name + "{", name + " "))
            )
            lines += [f"{sample} {unix_seconds:.3f}" for sample in samples]
    return "\n".join([*lines, "# EOF\n"])


def _errors(told: Sequence[Told], who: str) -> list[float]:
    pairs = ((one.answers[who], one.truth[who]) for one in told)
    return [abs(answer / truth - 1) for answer, truth in pairs if answer is not None]


def _cell(told: Sequence[Told], who: str) -> str:
    errors = _errors(told, who)
    if not errors:
        return "no answer"
    cell = f"{100 * median(errors):.2f}, at most {100 * max(errors):.2f}"
    missing = len(told) - len(errors) if who != PERWATT else sum(not one.valid for one in told)
    return f"{cell} ({missing} of {len(told)})" if missing else cell


def _targets(found: dict[str, list[Told]]) -> Iterator[Target]:
    """Against the naive query, where that errs at all."""
    for name, told in found.items():
        own, naive = (median(_errors(told, who)) for who in (PERWATT, NAIVE))
        if naive > TRUE_ENOUGH:
            yield Target(f"error of tokens per joule / that of rate / rate: {name}", 1.0, own / naive)


def _version() -> str:
    said = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    return (said.stdout or said.stderr).split("version ", 1)[1].split(None, 1)[0].rstrip(",")
