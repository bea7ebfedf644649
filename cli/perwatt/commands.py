"""The commands: arguments of each, and the function that runs it. Heavy imports happen only then."""

import argparse
import gc
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from perwatt import options
from perwatt.logs import set_up_logging
from perwatt.query.arguments import add_query_arguments
from perwatt_agent.configfile.value_kinds import number


class Command(Struct, frozen=True):
    """One command: `add_arguments` declares its flags, `run` returns its exit code."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _add_agent(parser: argparse.ArgumentParser) -> None:
    options.add_file_argument(parser, "--config", "the agent's configuration file (YAML)")
    options.add_agent_flags(parser)
    options.add_log_flags(parser)


def _add_aggregator(parser: argparse.ArgumentParser) -> None:
    options.add_file_argument(parser, "--config", "the aggregator's configuration file (YAML)")
    options.add_aggregator_flags(parser)
    options.add_log_flags(parser)


def _add_up(parser: argparse.ArgumentParser) -> None:
    options.add_file_argument(parser, "--aggregator.config", "the aggregator's configuration file (YAML)")
    _add_agent(parser)
    options.add_aggregator_flags(parser, in_up=True)


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="the file to write")
    _add_agent(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="configuration file of an agent or an aggregator (YAML)"
    )


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    _add_fleet(parser)
    _add_fleet_time(parser)
    _add_serving(parser)


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    numbers = parser.add_argument_group("the fleet")
    numbers.add_argument(
        "--nodes", type=options.whole(1, 100_000), default=10, metavar="N", help="number of nodes [10]"
    )
    numbers.add_argument(
        "--gpus", type=options.whole(1, 64), default=8, metavar="N", help="GPUs of each node [8]"
    )
    numbers.add_argument(
        "--seed",
        type=options.whole(0, 2**63),
        default=1,
        metavar="N",
        help="another seed is another fleet [1]",
    )
    numbers.add_argument(
        "--facilities", type=options.whole(1, 3), default=3, metavar="N", help="number of facilities [3]"
    )
    numbers.add_argument(
        "--faults",
        choices=("none", "normal", "many"),
        default="normal",
        help="how often events happen; none: also no rollouts, all clocks right [normal]",
    )
    numbers.add_argument(
        "--detail", choices=("core", "full"), default="core", help="the agents' `gpu.detail` [core]"
    )


def _add_fleet_time(parser: argparse.ArgumentParser) -> None:
    when = parser.add_argument_group("its time")
    when.add_argument(
        "--speed",
        type=options.argument(number(1.0)),
        default=1.0,
        metavar="X",
        help="how many times faster a day of load and events passes; watts and rates stay as they are [1]",
    )
    when.add_argument(
        "--start", type=options.instant, metavar="TIME", help="when all counters began [an hour ago]"
    )
    when.add_argument(
        "--clock",
        choices=("real", "manual"),
        default="real",
        help="manual: time stands still until POST /clock?advance=SECONDS [real]",
    )


def _add_serving(parser: argparse.ArgumentParser) -> None:
    served = parser.add_argument_group("how it is served")
    served.add_argument(
        "--web.listen-address",
        dest="listen_address",
        default="127.0.0.1:9838",
        metavar="HOST:PORT",
        help="address of all pages [127.0.0.1:9838]",
    )
    served.add_argument(
        "--first-port",
        type=options.whole(1, 65_535),
        metavar="PORT",
        help="serve node N at /metrics of port PORT+N too, for programs that cannot take a path",
    )
    served.add_argument(
        "--file-sd", type=Path, metavar="FILE", help="write the targets there, for Prometheus's file_sd"
    )


def _up(arguments: argparse.Namespace) -> int:
    agent = options.agent_config(arguments, os.environ)
    aggregator = options.aggregator_config(arguments, os.environ, in_up=True)
    # The user watches the status line here: only warnings and errors may interrupt it.
    set_up_logging(options.log_config(arguments, {"PERWATT_LOG_LEVEL": "warning"} | dict(os.environ)))
    from perwatt.run.up import run_up

    return run_up(agent, aggregator)


def _agent(arguments: argparse.Namespace) -> int:
    config = options.agent_config(arguments, os.environ)
    set_up_logging(options.log_config(arguments, os.environ))
    gc.disable()  # what is imported stays: to look for garbage meanwhile takes a tenth of the start
    try:
        from perwatt.run.agent import run_agent
    finally:
        gc.enable()
    return run_agent(config)


def _aggregator(arguments: argparse.Namespace) -> int:
    config = options.aggregator_config(arguments, os.environ)
    set_up_logging(options.log_config(arguments, os.environ))
    from perwatt.run.aggregator import run_aggregator

    return run_aggregator(config, lambda: options.aggregator_config(arguments, os.environ))


def _record(arguments: argparse.Namespace) -> int:
    config = options.agent_config(arguments, os.environ)
    set_up_logging(options.log_config(arguments, os.environ))
    from perwatt.query.record import run_record

    return run_record(config, arguments.output)


def _query(arguments: argparse.Namespace) -> int:
    from perwatt.query.query import run_query, usage_error

    if wrong := usage_error(arguments):
        arguments.refuse(wrong)
    return run_query(arguments)


def _simulate(arguments: argparse.Namespace) -> int:
    from perwatt.simulate.command import run_simulate

    return run_simulate(arguments)


def _check_config(arguments: argparse.Namespace) -> int:
    from perwatt.doctor.config_file import check_config

    print(check_config(arguments.file))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from perwatt.doctor import doctor
    from perwatt.run.meters import build_meters
    from perwatt_agent.clock import SystemClock
    from perwatt_agent.gpu.nvml.backend import NvmlBackend

    config = options.agent_config(arguments, os.environ)
    clock = SystemClock()
    return doctor.report(doctor.examine(config, NvmlBackend(clock), build_meters(config, clock)))


COMMANDS = {
    "up": Command(_add_up, _up),
    "agent": Command(_add_agent, _agent),
    "aggregator": Command(_add_aggregator, _aggregator),
    "query": Command(add_query_arguments, _query),
    "check-config": Command(_add_check, _check_config),
    "doctor": Command(_add_agent, _doctor),
    "record": Command(_add_record, _record),
    "simulate": Command(_add_simulate, _simulate),
}
