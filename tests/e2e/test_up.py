"""`perwatt up` as a new user types it, on a machine without a GPU."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent.process import PerwattProcess, free_port, get, perwatt
from support.servers.browser import CHROMIUM


class Machine:
    """A running `perwatt up` and where its two pages are."""

    def __init__(self, process: PerwattProcess, port: int) -> None:
        self.process = process
        self.page = f"http://127.0.0.1:{port}"

    def efficiency(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(get(f"{self.page}/v1/efficiency?window=60s"))["items"]
        return items

    def wait_for(self, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until the figure at the boards is accepted."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for item in self.efficiency():
                if item["boundary"] == "gpu_board" and accept(item):
                    return item
            time.sleep(0.5)
        raise AssertionError(f"{self.efficiency()}\n{self.process.log}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("up")
    port = free_port()
    arguments = ("up", "--aggregator.web.listen-address", f"127.0.0.1:{port}", "--scrape-interval", "1s")
    with perwatt(folder, *arguments, "--engines.interval", "1s") as process:
        process.wait_for(lambda page: page.value("perwatt_backend_up") == 1)
        yield Machine(process, port)


class TestUp:
    def test_a_figure_that_says_it_is_simulated(self, machine: Machine) -> None:
        """Soon there is a figure; it is labelled simulated, here and in the metrics."""
        item = machine.wait_for(lambda item: item["tokens_per_joule"] is not None)
        assert ["simulated"] == item["provenance"]
        assert 0.1 < item["tokens_per_joule"] < 20.0

        page = machine.process.page()
        assert 1 == page.value("perwatt_backend_info", backend="simulated")
        assert 2 == len(page.values("perwatt_gpu_energy_joules_total", source="simulated"))
        assert all('gpu="SIM-' in line for line in page.text.splitlines() if "{" in line and "gpu=" in line)

    def test_it_becomes_valid(self, machine: Machine) -> None:
        """Once its window is filled, the figure is valid."""
        assert "simulated" in machine.wait_for(lambda item: bool(item["valid"]))["provenance"]

    def test_the_boundaries_that_cannot_be_had(self, machine: Machine) -> None:
        """Without a meter and a PUE, node and facility are null and say why."""
        machine.wait_for(lambda item: item["tokens_per_joule"] is not None)
        items = {item["boundary"]: item for item in machine.efficiency()}
        assert (None, None) == (items["node"]["tokens_per_joule"], items["facility"]["tokens_per_joule"])
        assert "no_node_meter" in items["node"]["reasons"]
        assert "no_pue" in items["facility"]["reasons"]

    def test_the_page_in_a_browser(self, machine: Machine, tmp_path: Path) -> None:
        """A real browser shows the figure and that it is simulated."""
        machine.wait_for(lambda item: item["tokens_per_joule"] is not None)
        command = [*CHROMIUM, f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000", "--dump-dom"]
        result = subprocess.run(
            [*command, f"{machine.page}/"], capture_output=True, text=True, timeout=120, check=True
        )
        text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", result.stdout, flags=re.DOTALL)
        assert re.search(r"simulated", text, re.IGNORECASE)
        assert re.search(r"\d\.\d\d? *tokens ?(/|per) ?(J|joule)", text), text

    def test_query(self, machine: Machine) -> None:
        """The command prints the same figure as a table, and says what it is."""
        result = _run("query", "efficiency", "--by", "model", "--url", machine.page)
        assert 0 == result.returncode, result.stderr
        assert "SIMULATED" in result.stdout
        assert "simulated-llama" in result.stdout

    def test_status_and_end(self, tmp_path: Path) -> None:
        """It prints both URLs and then a status line a second; Ctrl-C ends it with exit code 0."""
        port = free_port()
        other = ("--aggregator.web.listen-address", f"127.0.0.1:{free_port()}")
        with perwatt(tmp_path, "up", *other, port=port) as process:
            process.wait_for(lambda page: page.value("perwatt_backend_up") == 1)
            time.sleep(3)
            code, seconds = process.stop(signal.SIGINT)
            assert process.process.stdout is not None
            lines = process.process.stdout.read().decode().splitlines()
        assert (0, True) == (code, seconds < 5.0)
        assert "SIMULATED" in lines[0]
        assert [f"http://127.0.0.1:{port}/metrics"] == [
            line.split()[-1] for line in lines if "metrics" in line
        ]
        assert sum("tokens/J at the GPU boards" in line for line in lines) >= 2


class TestRecord:
    def test_record_and_replay(self, tmp_path: Path) -> None:
        """What was recorded can be asked offline and replayed; simulated stays simulated."""
        recording = tmp_path / "node.jsonl"
        command = [sys.executable, "-m", "perwatt.main", "record", "--output", str(recording)]
        options = ["--backend", "simulated", "--sample-interval", "200ms", "--engines.interval", "1s"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE) as process:
            time.sleep(8)
            process.send_signal(signal.SIGINT)
            assert 0 == process.wait(30)

        asked = _run("query", "efficiency", "--recording", str(recording), "--json")
        (board, *_) = json.loads(asked.stdout)["items"]
        assert ["simulated"] == board["provenance"]
        assert board["tokens_per_joule"] > 0

        with perwatt(tmp_path, "agent", "--backend", f"replay:{recording}") as agent:
            page = agent.wait_for(lambda page: page.values("perwatt_output_tokens_total"))
            assert 2 == len(page.values("perwatt_gpu_energy_joules_total", source="simulated"))
            ended = agent.wait_for(lambda page: page.value("perwatt_backend_up") == 0)
            assert not ended.values("perwatt_gpu_energy_joules_total")

    def test_cut_recording(self, tmp_path: Path) -> None:
        """A recording whose end is missing is refused with one line, exit code 1."""
        recording = tmp_path / "cut.jsonl"
        command = [sys.executable, "-m", "perwatt.main", "record", "--output", str(recording)]
        with subprocess.Popen([*command, "--backend", "simulated"], stdout=subprocess.PIPE) as process:
            time.sleep(4)
            process.kill()
        for arguments in (
            ("query", "efficiency", "--recording", str(recording)),
            ("agent", "--backend", f"replay:{recording}", "--web.listen-address", "127.0.0.1:0"),
        ):
            result = _run(*arguments)
            assert (1, 1) == (result.returncode, len(result.stderr.splitlines())), result.stderr


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "perwatt.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
