"""What an exporter costs its node: 8 GPUs, a reading a second, scraped by 1, 10 and 100."""

import math
import time
from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from benchmarks.peers.exporters import Exporter, Running, perwatt, side_by_side, started
from benchmarks.tools.harness import MIB, Plan, measured, median, quantile, rss_bytes, spread
from benchmarks.tools.report import Ratio, Section, Target, table
from benchmarks.tools.scraping import Scrapes, page, scrape

GPUS = 8
SETTLE_SECONDS = 17.0  # what happens once after the start is over
ENOUGH_FOR_P99, ENOUGH_FOR_P999 = 200, 1000
ONE = "1 scraper, each second"
TEN = "10 scrapers, each second"
LOADS = {
    TEN: (10, True),
    "100 scrapers, each second": (100, True),
    "10 scrapers without pause": (10, False),
}


class Load(Struct):
    """One way of being scraped, round by round, in seconds."""

    cpu_per_scrape: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    scrapes: int = 0
    failures: int = 0

    def add(self, scrapes: Scrapes, cpu_seconds: float) -> None:
        """Take in a round; `cpu_seconds` is what it cost beyond being at rest."""
        self.scrapes += len(scrapes.seconds)
        self.failures += scrapes.failures
        self.cpu_per_scrape.append(cpu_seconds / max(1, len(scrapes.seconds)))
        self.seconds += scrapes.seconds
        self.p50.append(quantile(scrapes.seconds, 0.5))
        self.p99.append(quantile(scrapes.seconds, 0.99))

    @property
    def p999(self) -> float | None:
        """Of all rounds together; None where there were too few scrapes to tell."""
        return quantile(self.seconds, 0.999) if len(self.seconds) >= ENOUGH_FOR_P999 else None


class Cost(Struct):
    """What was measured of one exporter; `rest_cpu` is a share of one core."""

    first_page_seconds: list[float] = field(default_factory=list)
    rest_cpu: list[float] = field(default_factory=list)
    calls_per_second: list[float] = field(default_factory=list)
    rss_start: int = 0
    rss_end: int = 0
    series: int = 0
    facts: int = 0
    page_bytes: int = 0
    wire_bytes: int = 0
    loads: dict[str, Load] = field(default_factory=dict)


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """As each ships."""
    costs = _measure(plan, exporters)
    return Section(
        "What a node pays: 8 GPUs, one reading a second",
        _text(plan, [exporter.name for exporter in exporters], costs),
        (*_absolute(plan, costs[0], calls=80), *_relative(costs)),
        _ratios(*costs) if len(costs) == 2 else (),
    )


def run_core(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """With perwatt told to read no more than efficiency stands on."""
    core = perwatt(exporters[0].version, "--gpu.detail", "core", name="perwatt, gpu.detail: core")
    exporters = (core, *exporters[1:])
    costs = _measure(plan, exporters)
    absolute = _absolute(plan, costs[0], calls=60)
    return Section(
        "What a node pays with gpu.detail: core",
        _text(plan, [exporter.name for exporter in exporters], costs),
        tuple(replace(target, what=f"gpu.detail: core, {target.what}") for target in absolute),
    )


def _measure(plan: Plan, exporters: Sequence[Exporter]) -> list[Cost]:
    """Measure all exporters in turns, or at once where only their CPU time is asked for."""
    costs = [Cost() for _ in exporters]
    for _ in range(plan.starts):
        for exporter, cost in zip(exporters, costs, strict=True):
            with started(exporter, GPUS) as running:
                cost.first_page_seconds.append(running.first_page_seconds)
    with side_by_side(exporters, GPUS) as all_running:
        time.sleep(SETTLE_SECONDS)
        for cost, running in zip(costs, all_running, strict=True):
            _look_at(running, cost)
        for _ in range(plan.rounds):
            _rest(plan, all_running, costs)
            _soak(plan, all_running, costs)
        for name, (scrapers, paced) in LOADS.items():
            for _ in range(plan.rounds):
                for running, cost in zip(all_running, costs, strict=True):
                    _load(plan, running, cost, name, scrapers, paced=paced)
    return costs


def _look_at(running: Running, cost: Cost) -> None:
    answer = page(running.port)
    lines = [line for line in answer.body.splitlines() if line and not line.startswith(b"#")]
    cost.series, cost.page_bytes, cost.wire_bytes = len(lines), len(answer.body), answer.wire_bytes
    cost.facts = running.exporter.facts(answer.body, running.driver.uuid(0))
    cost.rss_start = rss_bytes(running.pid)


def _rest(plan: Plan, all_running: Sequence[Running], costs: Sequence[Cost]) -> None:
    calls = [running.driver.calls() for running in all_running]
    with measured(*(running.pid for running in all_running)) as spans:
        time.sleep(plan.rest_seconds / plan.rounds)
    for running, cost, span, before in zip(all_running, costs, spans, calls, strict=True):
        cost.rest_cpu.append(span.share)
        cost.calls_per_second.append((running.driver.calls() - before) / span.seconds)


def _soak(plan: Plan, all_running: Sequence[Running], costs: Sequence[Cost]) -> None:
    """One scraper on each, against the rest that was measured just before."""
    with measured(*(running.pid for running in all_running)) as spans:
        heard = scrape([running.port for running in all_running], 1, plan.soak_seconds / plan.rounds)
    for running, cost, span, scrapes in zip(all_running, costs, spans, heard, strict=True):
        cost.rss_end = rss_bytes(running.pid)
        load = cost.loads.setdefault(ONE, Load())
        load.add(scrapes, span.cpu_seconds - cost.rest_cpu[-1] * span.seconds)


def _load(plan: Plan, running: Running, cost: Cost, name: str, scrapers: int, *, paced: bool) -> None:
    """Paced scrapers for as long as it takes that the p99 is not the slowest scrape but one."""
    seconds = max(plan.block_seconds, ENOUGH_FOR_P99 / scrapers) if paced else plan.block_seconds
    with measured(running.pid) as (span,):
        (scrapes,) = scrape([running.port], scrapers, seconds, paced=paced)
    cost.loads.setdefault(name, Load()).add(scrapes, span.cpu_seconds - median(cost.rest_cpu) * span.seconds)


def _text(plan: Plan, names: Sequence[str], costs: Sequence[Cost]) -> str:
    rows: list[tuple[str, list[str]]] = [
        ("first page with every GPU's power, ms", [spread(c.first_page_seconds, 1e3, 0) for c in costs]),
        ("CPU at rest, % of a core", [spread(c.rest_cpu, 100, 3) for c in costs]),
        ("driver calls a second", [spread(c.calls_per_second, 1, 1) for c in costs]),
        ("RSS before scraping, MiB", [f"{c.rss_start / MIB:.1f}" for c in costs]),
        (f"RSS after {plan.soak_seconds:.0f} s of scraping, MiB", [f"{c.rss_end / MIB:.1f}" for c in costs]),
        ("series on the page", [str(c.series) for c in costs]),
        ("facts about one GPU that have a number", [str(c.facts) for c in costs]),
        ("page, bytes (over the wire)", [f"{c.page_bytes} ({c.wire_bytes})" for c in costs]),
    ]
    scraped = [
        (name, exporter, cost.loads[name])
        for name in costs[0].loads
        for exporter, cost in _pairs(names, costs)
    ]
    return "\n\n".join(
        (
            table(("", *names), [(what, *values) for what, values in rows]),
            table(
                (
                    "Scraped by",
                    "exporter",
                    "CPU a scrape, ms",
                    "p50, ms",
                    "p99, ms",
                    "p99.9, ms",
                    "scrapes",
                    "failed",
                ),
                [
                    (name, exporter, *_scraped(load), load.scrapes, load.failures)
                    for name, exporter, load in scraped
                ],
            ),
            _equal_content(names, costs),
            "CPU a scrape is the process tree's CPU time beyond what it takes at rest, over the scrapes. "
            "With one scraper it is a small difference of two large figures: read it with its spread. "
            "p99.9 is of "
            f"all rounds together, where there were {ENOUGH_FOR_P999} scrapes.",
        )
    )


def _equal_content(names: Sequence[str], costs: Sequence[Cost]) -> str:
    """The same figures per series and per fact."""
    per = [
        ("CPU at rest, us a second and series", [1e6 * median(c.rest_cpu) / c.series for c in costs]),
        ("CPU at rest, us a second and fact", [1e6 * median(c.rest_cpu) / (GPUS * c.facts) for c in costs]),
        ("CPU a scrape, us a series", [1e6 * median(c.loads[ONE].cpu_per_scrape) / c.series for c in costs]),
        ("bytes over the wire, a series", [c.wire_bytes / c.series for c in costs]),
    ]
    return (
        "Equal content cannot be had: nvitop-exporter cannot be told what to show, and each shows facts "
        "that the other does not. So here is the same by what is on each page:\n\n"
        + table(("", *names), [(what, *(f"{value:.2f}" for value in values)) for what, values in per])
    )


def _pairs(names: Sequence[str], costs: Sequence[Cost]) -> list[tuple[str, Cost]]:
    return list(zip(names, costs, strict=True))


def _scraped(load: Load) -> tuple[str, ...]:
    rare = "-" if load.p999 is None else f"{1e3 * load.p999:.2f}"
    return spread(load.cpu_per_scrape, 1e3), spread(load.p50, 1e3), spread(load.p99, 1e3), rare


def _absolute(plan: Plan, own: Cost, *, calls: int) -> tuple[Target, ...]:
    one, growth = own.loads[ONE], (own.rss_end - own.rss_start) / MIB
    return (
        Target("RSS", 40, own.rss_end / MIB, "MiB"),
        Target(f"RSS growth in {plan.soak_seconds:.0f} s of scraping", 0.5, growth, "MiB"),
        Target("CPU at rest", 0.5, 100 * median(own.rest_cpu), "% of a core"),
        Target("CPU a scrape", 1.0, 1e3 * median(one.cpu_per_scrape), "ms"),
        Target("scrape p50", 2.0, 1e3 * median(one.p50), "ms"),
        Target("first page after start", 0.3, median(own.first_page_seconds), "s"),
        Target("driver calls", calls, median(own.calls_per_second), "a second"),
    )


def _relative(costs: Sequence[Cost]) -> tuple[Target, ...]:
    """Against the peer; without one nothing is measured, and the targets say so."""
    by_name = {ratio.what: ratio.ratio for ratio in _ratios(*costs)} if len(costs) == 2 else {}
    peer_facts = costs[1].facts if len(costs) == 2 else 0
    return (
        Target("CPU at rest / nvitop-exporter's", 1 / 4, by_name.get("CPU at rest")),
        Target("CPU a scrape / nvitop-exporter's", 1 / 8, by_name.get(f"CPU a scrape, {ONE}")),
        Target("p99 of 10 scrapers / nvitop-exporter's", 1 / 8, by_name.get(f"p99, {TEN}")),
        Target("driver calls / nvitop-exporter's", 1 / 2, by_name.get("driver calls a second")),
        Target("facts about a GPU, against nvitop-exporter", peer_facts, costs[0].facts, at_least=True),
    )


def _ratios(own: Cost, peer: Cost) -> tuple[Ratio, ...]:
    return (
        _ratio("RSS, MiB", own.rss_end / MIB, peer.rss_end / MIB),
        _paired("CPU at rest", own.rest_cpu, peer.rest_cpu, 100, "%"),
        _paired("driver calls a second", own.calls_per_second, peer.calls_per_second),
        _ratio("first page", median(own.first_page_seconds), median(peer.first_page_seconds), " s"),
        _ratio("facts about one GPU", own.facts, peer.facts),
        _ratio("bytes over the wire", own.wire_bytes, peer.wire_bytes),
        *(_of_load(f"CPU a scrape, {name}", own, peer, name, "cpu_per_scrape") for name in own.loads),
        *(_of_load(f"p50, {name}", own, peer, name, "p50") for name in own.loads),
        *(_of_load(f"p99, {name}", own, peer, name, "p99") for name in own.loads),
    )


def _of_load(what: str, own: Cost, peer: Cost, name: str, figure: str) -> Ratio:
    ours, theirs = (getattr(cost.loads[name], figure) for cost in (own, peer))
    return _paired(what, ours, theirs, 1e3, "ms")


def _paired(
    what: str, own: Sequence[float], peer: Sequence[float], scale: float = 1.0, unit: str = ""
) -> Ratio:
    """The median of the rounds' ratios, pair by pair; infinite where the peer costs nothing."""
    ratio = median([one / other if other else math.inf for one, other in zip(own, peer, strict=True)])
    ours, theirs = (f"{scale * median(values):.3g} {unit}".strip() for values in (own, peer))
    return Ratio(what, ours, theirs, ratio)


def _ratio(what: str, own: float, peer: float, unit: str = "") -> Ratio:
    return Ratio(what, f"{own:.3g}{unit}", f"{peer:.3g}{unit}", own / peer if peer else math.inf)
