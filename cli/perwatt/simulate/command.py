"""The command `simulate`: a fleet's pages from one process, until a signal."""

import argparse
import asyncio
import resource
import socket
import time
from pathlib import Path

import msgspec
import uvloop
from msgspec.structs import replace

from perwatt.errors import CommandError
from perwatt.run.daemon import address, listen, run_daemon
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import DAY_SECONDS, FAULTS, SKEWED_SHARE, START_UNIX_SECONDS, FleetPlan, Rollout
from perwatt.simulate.serving.app import FleetApp
from perwatt.simulate.serving.clock import FleetClock
from perwatt.simulate.serving.targets import targets
from perwatt_exporter.http.connection import LIMITS
from perwatt_exporter.http.server import serve

DEFAULT_AGE_SECONDS = 3_600.0
SPARE_CONNECTIONS = 512
MAX_PORT = 65_536
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def run_simulate(arguments: argparse.Namespace) -> int:
    """Serve the fleet of the command line. Raises CommandError."""
    check_addresses(arguments)
    sock = listen(arguments.listen_address, "--web.listen-address")
    host = sock.getsockname()[0]
    plan = plan_of(arguments, time.time())
    fleet = Fleet(plan)
    clock = FleetClock(
        None if arguments.clock == "manual" else time.time, plan.start_unix_seconds + DEFAULT_AGE_SECONDS
    )
    allow_files()
    of_nodes = listen_for_nodes(host, arguments.first_port, plan.nodes)
    if arguments.file_sd is not None:
        write_targets(fleet, address(sock), arguments.file_sd, arguments.first_port)

    async def main(stop: asyncio.Event) -> int:
        print(
            f"perwatt simulate: {plan.nodes} nodes x {plan.gpus} GPUs, all of it simulated: "
            f"http://{address(sock)}/",
            flush=True,
        )
        limits = replace(LIMITS, connections=plan.nodes + SPARE_CONNECTIONS)
        app = FleetApp(fleet, clock, arguments.first_port, stop)
        await serve(app, sock, *of_nodes, stop=stop, limits=limits)
        return 0

    return run_daemon(main, uvloop.run)


def check_addresses(arguments: argparse.Namespace) -> None:
    """Raises CommandError where a clock could be moved by others, or where there are not enough ports."""
    host = arguments.listen_address.rpartition(":")[0]
    if arguments.clock == "manual" and host not in LOOPBACK:
        raise CommandError("--clock manual lets clients move the clock; listen on 127.0.0.1 only")
    if arguments.first_port is not None and arguments.first_port + arguments.nodes > MAX_PORT:
        raise CommandError(
            f"--first-port {arguments.first_port} leaves no room for {arguments.nodes} nodes below {MAX_PORT}"
        )


def plan_of(arguments: argparse.Namespace, now: float) -> FleetPlan:
    """The plan that the command line asks for; the fleet started an hour before *now*."""
    start = START_UNIX_SECONDS if arguments.clock == "manual" else float(round(now - DEFAULT_AGE_SECONDS))
    is_quiet = arguments.faults == "none"
    return FleetPlan(
        nodes=arguments.nodes,
        gpus=arguments.gpus,
        seed=arguments.seed,
        start_unix_seconds=start if arguments.start is None else arguments.start,
        day_seconds=DAY_SECONDS / arguments.speed,
        rates_factor=FAULTS[arguments.faults],
        detail=arguments.detail,
        rollout=None if is_quiet else Rollout(),
        facilities=arguments.facilities,
        skewed_share=0.0 if is_quiet else SKEWED_SHARE,
    )


def listen_for_nodes(host: str, first_port: int | None, nodes: int) -> list[socket.socket]:
    """A listening socket for each node, where each has its port."""
    if first_port is None:
        return []
    host = f"[{host}]" if ":" in host else host
    return [listen(f"{host}:{first_port + number}", "--first-port") for number in range(nodes)]


def allow_files() -> None:
    """Allow as many open files as the system does: each scraper keeps a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write_targets(fleet: Fleet, own_address: str, path: Path, first_port: int | None = None) -> None:
    """Write the targets for file_sd; whoever reads the file sees all of it or the one before."""
    whole = path.with_name(f".{path.name}.new")
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(targets(fleet, own_address, first_port))))
    whole.replace(path)
