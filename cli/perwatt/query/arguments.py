"""Arguments of `perwatt query`. What an aggregator alone knows, such as target labels, it checks itself."""

import argparse
import re
from pathlib import Path

from perwatt import options
from perwatt_agent.configfile.value_kinds import URL, duration, number

TOPICS = (
    *("efficiency", "ledger", "compute", "capacity", "history"),
    *("facility", "nodes", "gpus", "workloads"),
)
FILTERS = (
    *("model", "engine", "node", "gpu", "gpu_model", "workload", "group", "facility"),
    *("namespace", "pod", "slurm_job", "systemd_unit"),
)
BOUNDARIES = ("gpu_board", "node", "facility")
LONGEST_WINDOW_SECONDS = 366 * 86400.0
WATCH_SECONDS = 5.0


def add_query_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", choices=TOPICS, help="which figures to show")
    parser.add_argument(
        "--boundary",
        type=options.words(BOUNDARIES),
        metavar="A,B",
        help=f"which boundaries to show, of {', '.join(BOUNDARIES)} [all]",
    )
    _add_output(parser)
    _add_live(parser)
    _add_filters(parser)
    _add_span(parser)
    _add_past(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the answer as JSON")
    form.add_argument("--csv", action="store_true", help="print the items as CSV, with all their fields")
    output.add_argument(
        "--columns",
        type=_names,
        metavar="A,B",
        help="which columns to show: titles of the table, or fields such as tokens.output",
    )
    output.add_argument(
        "--watch",
        type=options.argument(duration(0.5, 3600.0)),
        nargs="?",
        const=WATCH_SECONDS,
        metavar="DURATION",
        help="show the answer again and again, until Ctrl-C [every 5s]",
    )


def _add_live(parser: argparse.ArgumentParser) -> None:
    live = parser.add_argument_group("from an aggregator")
    live.add_argument(
        "--url", type=options.argument(URL), help="address of the aggregator [http://127.0.0.1:9837]"
    )
    window = options.argument(duration(1.0, LONGEST_WINDOW_SECONDS))
    live.add_argument(
        "--window", type=window, metavar="DURATION", help="length of the window, ending now [60s]"
    )
    live.add_argument(
        "--by",
        type=_no_or_more_names,
        metavar="A,B",
        help=f"group by {', '.join(FILTERS)}, or target labels of the aggregator's configuration",
    )
    live.add_argument("--sort", metavar="FIELD", help="sort by a field; --sort=-FIELD: in descending order")
    live.add_argument("--limit", type=options.whole(1, 10_000), metavar="N", help="show at most N items")
    live.add_argument(
        "--kw",
        type=options.argument(number(0.0, 1e6)),
        metavar="KW",
        help="power budget in kilowatts, for capacity",
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("only what has one of these values")
    for name in FILTERS:
        group.add_argument(f"--{name.replace('_', '-')}", metavar="A,B")
    group.add_argument(
        "--where",
        action="append",
        type=_label,
        metavar="LABEL=A,B",
        help="the same for a target label, such as rack=r1 [repeatable]",
    )


def _add_span(parser: argparse.ArgumentParser) -> None:
    times = "RFC 3339 or Unix seconds"
    span = parser.add_argument_group("from the history, or from a recording")
    span.add_argument(
        "--from",
        type=options.instant,
        metavar="TIME",
        help=f"start, {times} [an hour before the end; of a recording the first reading]",
    )
    span.add_argument(
        "--to", type=options.instant, metavar="TIME", help=f"end, {times} [now; the last reading]"
    )
    span.add_argument("--step", metavar="DURATION", help="length of a step of the history, such as 15m [1m]")


def _add_past(parser: argparse.ArgumentParser) -> None:
    past = parser.add_argument_group("from a recording")
    past.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="a file written by perwatt record, or CSV with the header t_unix_s,watts",
    )
    past.add_argument(
        "--pue", type=options.argument(number(1.0, 10.0)), metavar="RATIO", help="PUE of the facility"
    )
    rate = options.argument(number(0.0, 1e12))
    past.add_argument(
        "--tokens-per-second", type=rate, metavar="X", help="token rate, for a recording without tokens"
    )


def _names(text: str) -> str:
    if not all(name.strip() for name in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected names separated by commas, not {text!r}")
    return text


def _no_or_more_names(text: str) -> str:
    return text and _names(text)


def _label(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
        raise argparse.ArgumentTypeError(f"expected LABEL=VALUES, such as rack=r1, not {text!r}")
    return name, values
