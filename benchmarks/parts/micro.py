"""The parts of one second's work, one by one, beside the figures of `baseline.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import Plan, median, spread
from benchmarks.tools.report import Section, table
from benchmarks.tools.run_works import available, instructions, times

REPEATS = 15
BASELINE = Path(__file__).parents[1] / "baseline.json"


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Times of a fresh process on warm caches; the least of the repeats is the least disturbed one."""
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    seconds = times(REPEATS)
    counted = instructions() if available() else {}
    rows = [
        (name, spread(took, 1e3, 3), f"{1e3 * min(took):.3f}", *_counts(counted.get(name), stored.get(name)))
        for name, took in seconds.items()
    ]
    text = (
        f"CPU time, the median of {REPEATS} repeats and the least; and instructions, by callgrind"
        + ("" if available() else " (valgrind is not installed: not counted)")
        + ", with their ratio to those of `baseline.json`. `make bench-compare A=COMMIT B=COMMIT` compares "
        "two commits.\n\n"
    )
    head = ("Work", "ms", "least, ms", "1000 instructions", "/ baseline")
    return Section("Part by part", text + table(head, rows))


def _counts(counted: float | None, stored: Mapping[str, float] | None) -> tuple[str, str]:
    if counted is None:
        return "-", "-"
    before = stored.get("instructions") if stored else None
    return f"{counted / 1e3:.0f}", f"{counted / before:.3f}" if before else "-"


def store() -> None:
    """Measure, and write the figures to `baseline.json`."""
    counted = instructions() if available() else {}
    figures = {
        name: {"seconds": round(median(took), 7), "instructions": counted.get(name)}
        for name, took in times(REPEATS).items()
    }
    BASELINE.write_text(json.dumps(figures, indent=2) + "\n")
