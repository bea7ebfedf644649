"""The fleet of one schedule: machines, an aggregator that follows them, and what is true of any window."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from random import Random

from msgspec import Struct

from oracle.clock import DrivenClock, NodeClock
from oracle.engine import TrueEngine
from oracle.gpu import TrueGpu
from oracle.machine import TrueNode
from oracle.truth import following, load
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.node_memory import NodeMemory
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.targets.config import agents_at
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages

SCRAPE_SECONDS = 5.0
WINDOW_SECONDS = 60.0
MODELS = ("chat", "code")


class TrueSource(Struct):
    """A page that the aggregator follows: the node that it is of, and the node that serves it now."""

    host: str
    node: TrueNode
    serves: Callable[[], TrueNode]

    @property
    def name(self) -> str:
        """How the aggregator names the node."""
        return f"{self.host}:9836"


class TrueFleet:
    """Nodes with one or two engines, each on one to three GPUs of its own, and an aggregator over them."""

    def __init__(self, random: Random, folder: Path, seconds: float) -> None:
        self.clock = DrivenClock()
        self._seconds = seconds
        self._memory = NodeMemory()
        self.nodes = [self._node(random, number, folder) for number in range(random.randint(1, 3))]
        self._pages = {node.name: _pages(node) for node in self.nodes}
        self.sources: list[TrueSource] = []
        for node in self.nodes:
            self.add_source(node.name, node)
        self._aggregator = self.start_aggregator()

    def add_source(self, host: str, node: TrueNode) -> None:
        self.sources.append(TrueSource(host, node, lambda: node))

    def start_agents(self) -> None:
        for node in self.nodes:
            node.restart_agent()

    def close(self) -> None:
        for node in self.nodes:
            node.stop_agent()

    def start_aggregator(self) -> Aggregator:
        """A new aggregator in place of the one before."""
        urls = tuple(f"http://{source.name}/metrics" for source in self.sources)
        config = AggregatorConfig(agents_at(*urls), SCRAPE_SECONDS)
        self._aggregator = Aggregator(config, self.clock, self._memory)
        self._readers = [PageReader() for _ in self.sources]
        self._reads: dict[str, list[float]] = {}
        return self._aggregator

    def _node(self, random: Random, number: int, folder: Path) -> TrueNode:
        clock = NodeClock(self.clock)
        start, end = self.clock.monotonic() - 10.0, self.clock.monotonic() + self._seconds
        gpus: list[TrueGpu] = []
        engines: list[TrueEngine] = []
        for place in range(random.randint(1, 2)):
            levels = load(random, start, end)
            own = [
                TrueGpu(f"GPU-{number}-{index}", index, following(levels, random, 80.0, 600.0))
                for index in range(len(gpus), len(gpus) + random.randint(1, 3))
            ]
            rate = following(levels, random, 0.0, len(own) * 1_500.0)
            model = random.choice(MODELS)
            engines.append(TrueEngine(f"engine-{number}-{place}", model, tuple(own), rate, clock))
            gpus += own
        return TrueNode(f"node{number}", gpus, engines, folder / str(number), clock)

    async def second(self) -> None:
        """Let a second pass; every fifth is scraped."""
        await self.clock.advance(1.0)
        for node in self.nodes:
            await node.tick()
        if round(self.clock.monotonic()) % SCRAPE_SECONDS == 0:
            self._scrape()

    def _scrape(self) -> None:
        for source, followed, reader in zip(self.sources, self._aggregator.nodes, self._readers, strict=True):
            node = source.serves()
            if not (node.is_alive and node.answers):
                followed.fail("timeout")
                continue
            reads = self._reads.setdefault(source.name, [])
            if node is source.node:
                reads.append(self.clock.monotonic())
            else:
                reads.clear()
            page = self._pages[node.name].body("text", "identity")
            followed.add(reader.read(page, self.clock.monotonic()), self.clock.unix())

    def items(self, seconds: float = WINDOW_SECONDS) -> Iterable[EfficiencyItem]:
        """All figures that are held against the truth."""
        for by in ((), ("model",), ("node",), ("workload",)):
            yield from self._aggregator.efficiency(seconds, by, ("gpu_board", "node")).items

    def true_tokens_per_joule(self, item: EfficiencyItem, seconds: float = WINDOW_SECONDS) -> float | None:
        """What the item of a window of *seconds* should be; None where it has no such figure."""
        if item.window is None:
            return None
        start, end = (self._monotonic(text) for text in (item.window.start, item.window.end))
        of_sources = [source.node for source in self.sources if source.name == item.group.get("node")]
        nodes = of_sources or self.nodes
        engines = [
            engine
            for node in nodes
            for engine in node.engines
            if item.group.get("model") in (None, engine.model)
            and item.group.get("workload") in (None, *_workloads(node, engine))
        ]
        by_owner = "model" in item.group or "workload" in item.group
        if by_owner:
            # Groups of work are those of the work that was read: of configured pages, on nodes that answered.
            nodes = [node for node in nodes if self._was_read(node, seconds)]
            engines = [engine for node in nodes for engine in node.engines if engine in engines]
            engines = [engine for engine in engines if self._is_configured(engine)]
        tokens = sum(engine.rate.between(start, end) for engine in engines)
        joules = 0.0
        for node in nodes:
            held = {gpu.uuid: gpu for engine in engines if engine in node.engines for gpu in engine.gpus}
            boards = held.values() if by_owner else node.gpus
            own = sum(gpu.watts.between(start, end) for gpu in boards)
            joules += own * (node.factor(start, end) if item.boundary == "node" else 1.0)
        return tokens / joules if joules else None

    def _was_read(self, node: TrueNode, seconds: float) -> bool:
        """Whether an address of the node has lately shown it, and twice in a row: else nothing increased."""
        found = [self._reads.get(source.name, []) for source in self.sources if source.node is node]
        return any(len(reads) > 1 and self.clock.monotonic() - reads[-1] < seconds for reads in found)

    def _is_configured(self, engine: TrueEngine) -> bool:
        return any(engine in node.pages.values() for node in self.nodes)

    def _monotonic(self, instant: str) -> float:
        return self.clock.monotonic_at(datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp())


def _workloads(node: TrueNode, engine: TrueEngine) -> list[str]:
    """The names under which an engine is configured."""
    return [name for name, of_page in node.pages.items() if of_page is engine]


def _pages(node: TrueNode) -> Pages:
    return Pages(lambda: node.snapshot_with_meter, ALL)
