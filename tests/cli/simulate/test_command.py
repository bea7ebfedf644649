"""The command `perwatt simulate`: its flags, and the process that serves."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from support.agent.process import free_port, get

from perwatt.main import build_parser, main
from perwatt.simulate.command import plan_of
from perwatt.simulate.plan import FleetPlan

OPEN = build_opener(ProxyHandler({})).open


def plan(*flags: str) -> FleetPlan:
    given = ["simulate", *flags]
    return plan_of(build_parser(given).parse_args(given), 1_800_003_600.4)


def test_plan_of_flags() -> None:
    """Flags make a plan: an hour old, a day as long as the speed makes it."""
    one = plan("--nodes", "1000", "--gpus", "4", "--seed", "7", "--speed", "60", "--faults", "many")

    assert (1000, 4, 7) == (one.nodes, one.gpus, one.seed)
    assert (1_800_000_000.0, 1_440.0, 20.0) == (one.start_unix_seconds, one.day_seconds, one.rates_factor)


def test_no_faults_is_quiet() -> None:
    """Without faults nothing happens to the fleet, and all clocks are right."""
    one = plan("--faults", "none", "--start", "1700000000")

    assert (0.0, None, 0.0, 1.7e9) == (
        one.rates_factor,
        one.rollout,
        one.skewed_share,
        one.start_unix_seconds,
    )


@pytest.mark.parametrize("flags", [["--nodes", "0"], ["--gpus", "65"], ["--speed", "0.5"], ["--seed", "-1"]])
def test_numbers_out_of_range(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A number out of range is a usage error that states the range."""
    assert 2 == main(["simulate", *flags])

    assert "expected a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--clock", "manual", "--web.listen-address", "0.0.0.0:0"], "listen on 127.0.0.1 only"),
        (["--web.listen-address", "127.0.0.1:0", "--first-port", "65530"], "leaves no room for 10 nodes"),
    ],
)
def test_what_cannot_be_served(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that others could move, and ports that do not exist, are errors."""
    assert 1 == main(["simulate", *flags])

    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_process(tmp_path: Path) -> None:
    """One line says that all is simulated; pages, targets, truth and clock answer; a signal ends it."""
    port, targets = free_port(), tmp_path / "targets.json"
    command = [sys.executable, "-m", "perwatt.main", "simulate", "--nodes", "4", "--clock", "manual"]
    command += ["--web.listen-address", f"127.0.0.1:{port}", "--file-sd", str(targets)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{port}"
            expected = f"perwatt simulate: 4 nodes x 8 GPUs, all of it simulated: {url}/\n"
            assert expected == process.stdout.readline()
            assert "perwatt_agent_info{" in get(f"{url}/node/3/metrics")
            assert 4 == len(json.loads(targets.read_text())) == len(json.loads(get(f"{url}/targets")))
            before = json.loads(get(f"{url}/clock"))["unix_seconds"]
            with OPEN(Request(f"{url}/clock?advance=30", method="POST"), timeout=10.0) as response:
                assert before + 30.0 == json.load(response)["unix_seconds"]
            assert json.loads(get(f"{url}/truth?from={before}&to={before + 30}"))["items"]
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(10.0)
        finally:
            process.kill()
