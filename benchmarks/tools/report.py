"""The results as Markdown: what was asked, what was measured, and whether it was reached."""

import math
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import psutil
from msgspec import Struct, field

BEGIN, END = "<!-- benchmarks: written by `make bench` -->", "<!-- end of benchmarks -->"
MATTER = {
    "CPU at rest",
    "CPU a scrape, 1 scraper, each second",
    "p99, 10 scrapers, each second",
    "driver calls a second",
    "RSS, MiB",
    "facts about one GPU",
    "energy error, bursts of 3 in 15 s",
    "one GPU hangs: the page says so after",
}


class Target(Struct, frozen=True):
    """One limit and what was measured; `measured` is None where there was nothing to measure it with."""

    what: str
    limit: float
    measured: float | None
    unit: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None or self.measured != self.measured:
            return "not measured"
        met = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return "met" if met else "**missed**"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        sign = ">=" if self.at_least else "<="
        measured = "-" if self.measured is None else f"{self.measured:.3g} {self.unit}"
        return self.what, f"{sign} {self.limit:.3g} {self.unit}".strip(), measured.strip(), self.verdict


class Ratio(Struct, frozen=True):
    """perwatt over the peer; below 1 perwatt costs less. NaN where there is nothing to divide."""

    what: str
    perwatt: str
    peer: str
    ratio: float

    @property
    def shown(self) -> str:
        return "-" if math.isnan(self.ratio) else f"{self.ratio:.3g}"


class Section(Struct, frozen=True):
    """One benchmark's results; `text` is Markdown, `files` are written beside it, by name."""

    title: str
    text: str
    targets: tuple[Target, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all but the first column are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def verdicts(targets: Iterable[Target]) -> str:
    return table(("Target", "Limit", "Measured", "Verdict"), [target.cells for target in targets])


def ratios(found: Iterable[Ratio], peer: str = "nvitop-exporter") -> str:
    rows = [(one.what, one.perwatt, one.peer, one.shown) for one in found]
    return table((f"perwatt / {peer}", "perwatt", peer, "Ratio"), rows)


def with_summary(readme: str, sections: Sequence[Section]) -> str:
    """The README with the ratios that matter between its two marks."""
    matter = [ratio for section in sections for ratio in section.ratios if ratio.what in MATTER]
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found or not matter:
        return readme
    return f"{before}{BEGIN}\n\n{ratios(matter)}\n\n{END}{after}"


def results(sections: Sequence[Section], versions: dict[str, str], minutes: float, load: float) -> str:
    """The whole page; `load` is the machine's load average before the first benchmark."""
    targets = [target for section in sections for target in section.targets]
    found = [ratio for section in sections for ratio in section.ratios]
    parts = [
        "# Results",
        "Written by `make bench`; do not edit. What is measured and how, and what is fair about it, is in "
        "[README.md](README.md). The GPUs are a fake driver's: these figures say what the software costs and "
        "how true it is, not how true a GPU's sensors are.",
        f"{_machine()} {_software(versions)} {datetime.now(timezone.utc):%Y-%m-%d}, {minutes:.0f} minutes. "
        f"Load average of the machine before the first benchmark: {load:.1f}.",
        "Brackets hold the least and the greatest of the rounds whose median stands before them.",
        "## Targets",
        verdicts(targets),
        "## Against nvitop-exporter",
        "Below 1 perwatt costs less, above 1 it costs more.",
        ratios(found) if found else "nvitop-exporter could not be installed: nothing to compare with.",
        *(f"## {section.title}\n\n{section.text}" for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


def _machine() -> str:
    memory_gib = psutil.virtual_memory().total / 1024**3
    return (
        f"{_processor()}, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"Linux {platform.release().partition('-')[0]}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _software(versions: dict[str, str]) -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"Python {python}", *(f"{name} {version}" for name, version in versions.items())]) + "."
