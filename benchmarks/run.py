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
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the fake driver and its helpers are the tests' own

from benchmarks.parts import (
    churn,
    depth,
    discovery_round,
    engine_page,
    fleet,
    growth,
    history,
    large_fleet,
    many_engines,
    micro,
    node_cost,
    simulator,
    slow_driver,
    soak,
    survival,
    tokens,
    truth,
)
from benchmarks.peers.exporters import Exporter, given, nvitop_exporter, perwatt
from benchmarks.tools.harness import LONG, SHORT, Plan, compile_packages
from benchmarks.tools.report import Section, ratios, results, verdicts, with_summary
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
    "large_fleet": large_fleet.run,
    "churn": churn.run,
    "history": history.run,
    "simulator": simulator.run,
    "micro": micro.run,
}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = _arguments()
    compile_packages()
    if arguments.store:
        micro.store()
        return
    own, peer = perwatt(__version__), _peer(arguments)
    exporters = [own] if peer is None else [own, peer]
    begun, load = time.monotonic(), os.getloadavg()[0]
    sections = []
    for name in arguments.only or BENCHMARKS:
        print(f"{name} ...", flush=True)
        section = BENCHMARKS[name](LONG if arguments.long else SHORT, exporters)
        sections.append(section)
        beside = ratios(section.ratios, peer.name if peer else "no peer")
        print(section.text, verdicts(section.targets), beside, sep="\n\n", flush=True)
    if not arguments.only and not arguments.peer_command:
        versions = {exporter.name: exporter.version for exporter in exporters}
        _write(sections, results(sections, versions, (time.monotonic() - begun) / 60, load))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="hours, not minutes: flatness, less noise")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="print this part, write nothing")
    parser.add_argument("--store", action="store_true", help="measure `micro` and write baseline.json")
    peer = parser.add_argument_group("an exporter of yours in place of nvitop-exporter; writes nothing")
    peer.add_argument("--peer-command", help="how it is started; {port} stands for its port on 127.0.0.1")
    peer.add_argument("--peer-power", help="its metric of a GPU's power: one series a GPU")
    peer.add_argument("--peer-gpu-label", default="uuid", help="its label of a GPU's UUID (default: uuid)")
    arguments = parser.parse_args()
    if arguments.peer_command and not arguments.peer_power:
        parser.error("--peer-command needs --peer-power: a page is whole once it has the power of every GPU")
    return arguments


def _peer(arguments: argparse.Namespace) -> Exporter | None:
    if arguments.peer_command:
        return given(arguments.peer_command, arguments.peer_power, arguments.peer_gpu_label)
    return nvitop_exporter()


def _write(sections: Sequence[Section], page: str) -> None:
    """Write RESULTS.md, its charts, and the summary in the README."""
    (HERE / "RESULTS.md").write_text(page)
    readme = ROOT / "README.md"
    readme.write_text(with_summary(readme.read_text(), sections))
    for section in sections:
        for name, text in section.files.items():
            (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
