"""Measure perwatt beside what one would install instead, and write RESULTS.md."""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # the fake driver and its helpers are the tests' own

import depth
import discovery_round
import engine_page
import fleet
import growth
import many_engines
import micro
import node_cost
import slow_driver
import soak
import survival
import tokens
import truth
from exporters import Exporter, nvitop_exporter, perwatt
from harness import LONG, SHORT, Plan
from report import Section, ratios, results, verdicts, with_summary

from perwatt_agent import __version__

Benchmark = Callable[[Plan, Sequence[Exporter]], Section]
BENCHMARKS: dict[str, Benchmark] = {
    "node_cost": node_cost.run,
    "node_cost_core": node_cost.run_core,
    "truth": truth.run,
    "tokens": tokens.run,
    "survival": survival.run,
    "slow_driver": slow_driver.run,
    "growth": growth.run,
    "depth": depth.run,
    "soak": soak.run,
    "engine_page": engine_page.run,
    "many_engines": many_engines.run,
    "discovery_round": discovery_round.run,
    "fleet": fleet.run,
    "micro": micro.run,
}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="hours, not minutes: flatness, less noise")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="print this one, write nothing")
    arguments = parser.parse_args()
    own, peer = perwatt(__version__), nvitop_exporter()
    exporters = [own] if peer is None else [own, peer]
    begun, load = time.monotonic(), os.getloadavg()[0]
    sections = []
    for name in arguments.only or BENCHMARKS:
        print(f"{name} ...", flush=True)
        section = BENCHMARKS[name](LONG if arguments.long else SHORT, exporters)
        sections.append(section)
        print(section.text, verdicts(section.targets), ratios(section.ratios), sep="\n\n", flush=True)
    if not arguments.only:
        versions = {exporter.name: exporter.version for exporter in exporters}
        page = results(sections, versions, (time.monotonic() - begun) / 60, load)
        (HERE / "RESULTS.md").write_text(page)
        readme = HERE.parent / "README.md"
        readme.write_text(with_summary(readme.read_text(), sections))
        for section in sections:
            for name, text in section.files.items():
                (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
