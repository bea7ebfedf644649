"""A real Prometheus on a free loopback port, for tests that ask what an operator's Prometheus would say."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

Labels = dict[str, str]
Samples = list[tuple[Labels, float]]
Series = list[tuple[Labels, list[tuple[float, float]]]]

START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1

# Loopback must never go through a proxy of the environment.
_open = build_opener(ProxyHandler({})).open


class Prometheus:
    """A running server, at `url`; made by `run`. Times are Unix seconds, `at` defaults to now."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, at: float | None = None) -> Samples:
        """Evaluate at one instant: (labels, value) of each series; an empty list when there is none."""
        parameters = {"query": expression} | ({} if at is None else {"time": repr(at)})
        data = self.get("query", parameters)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(row["metric"], float(row["value"][1])) for row in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step_seconds: float) -> Series:
        """Evaluate from `start` to `end`: (labels, [(time, value), ...]) of each series."""
        parameters = {"query": expression, "start": repr(start), "end": repr(end), "step": repr(step_seconds)}
        data = self.get("query_range", parameters)
        return [
            (row["metric"], [(float(at), float(value)) for at, value in row["values"]])
            for row in data["result"]
        ]

    def wait_for(
        self,
        expression: str,
        accept: Callable[[Samples], bool] = bool,
        timeout_seconds: float = 60.0,
    ) -> Samples:
        """Query until `accept` takes the samples (default: until there are any), or raise AssertionError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            samples = self.query(expression)
            if accept(samples):
                return samples
            if time.monotonic() > deadline:
                raise AssertionError(f"{expression}: last answer {samples}; targets: {self.targets()}")
            time.sleep(POLL_SECONDS)

    def targets(self) -> list[tuple[str, str, str]]:
        """Scrape URL, health and last error of each target."""
        active = self.get("targets", {"state": "active"})["activeTargets"]
        return [(target["scrapeUrl"], target["health"], target["lastError"]) for target in active]

    def get(self, path: str, parameters: dict[str, str]) -> Any:
        """The `data` of one call of the HTTP API. Raises HTTPError when Prometheus refuses the call."""
        with _open(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as response:
            return json.load(response)["data"]


@contextmanager
def run(
    directory: Path,
    targets: Sequence[str],
    scrape_interval: str = "1s",
    rules: Sequence[Path] = (),
    job: str = "perwatt",
) -> Iterator[Prometheus]:
    """
    Scrape `targets` ("host:port", their /metrics) and evaluate the rule files, each `scrape_interval`.

    All that it writes goes under `directory`, its log to `prometheus.log`. Raises RuntimeError with
    the log when it does not become ready.
    """
    home = directory / "prometheus"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "prometheus.yml"
    config.write_text(json.dumps(configuration(targets, scrape_interval, rules, job)))
    log = home / "prometheus.log"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--storage.remote.flush-deadline=1s",  # else a vanished remote holds the exit back for a minute
        "--log.format=json",
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield Prometheus(_ready_url(process, log))
        finally:
            _stop(process)


def configuration(
    targets: Sequence[str], scrape_interval: str, rules: Sequence[Path], job: str
) -> dict[str, object]:
    """A Prometheus configuration; JSON is YAML."""
    return {
        "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
    }


def _ready_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        messages = [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1] if line.startswith(b"{")]
        addresses = [row["address"] for row in messages if row.get("msg") == "Listening on"]
        if addresses and any("ready to receive" in row.get("msg", "") for row in messages):
            return f"http://{addresses[0]}"
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"prometheus did not become ready:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
