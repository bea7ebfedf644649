"""Every panel over a real Prometheus that scrapes a simulated node with a workload, and an aggregator."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import perwatt_dashboard
import pytest
from support.servers import prometheus, promql
from support.servers.prometheus import Prometheus

pytestmark = pytest.mark.slow

WINDOW = "10s"
SCRAPES = 13  # one a second: the window is full

# Series and how much they grow a second: 100 tokens/s over 200 W of 250 W held and 400 W at the boards.
COUNTERS = {
    'perwatt_gpu_energy_joules_total{gpu="SIM-n1-0",source="simulated"}': 400.0,
    'perwatt_workload_energy_joules_total{workload="chat",model="m",gpu="SIM-n1-0",state="active"}': 200.0,
    'perwatt_workload_energy_joules_total{workload="chat",model="m",gpu="SIM-n1-0",state="idle"}': 50.0,
    'perwatt_gpu_unattributed_energy_joules_total{gpu="SIM-n1-0",cause="unallocated"}': 120.0,
    'perwatt_gpu_unattributed_energy_joules_total{gpu="SIM-n1-0",cause="unknown"}': 30.0,
    'perwatt_node_energy_joules_total{source="redfish"}': 500.0,
    'perwatt_output_tokens_total{workload="chat",model="m"}': 100.0,
    'perwatt_prompt_tokens_total{workload="chat",model="m",source="computed"}': 300.0,
    'perwatt_requests_total{workload="chat",model="m",outcome="ok"}': 2.0,
}
GAUGES = {
    'perwatt_build_info{version="0"}': 1.0,
    'perwatt_backend_info{backend="simulated",driver_version="",nvml_version=""}': 1.0,
    "perwatt_backend_up": 1.0,
    'perwatt_gpus{state="ok"}': 1.0,
    'perwatt_gpus{state="lost"}': 0.0,
    'perwatt_gpu_up{gpu="SIM-n1-0"}': 1.0,
    'perwatt_gpu_energy_divergence_ratio{gpu="SIM-n1-0"}': -0.01,
    'perwatt_collector_success{collector="gpu"}': 1.0,
    'perwatt_workload_up{workload="chat"}': 1.0,
    'perwatt_facility_pue_ratio{facility="default"}': 1.25,
    'perwatt_output_tokens_per_joule{model="m",boundary="node",window="60s",provenance="simulated"}': 0.2,
}

# What they make of a target: exact where scrape times cancel, rough where the machine's haste shows.
EXACT = {
    ("Simulated nodes", "A"): 1.0,
    ("Output tokens per joule", "A"): 100 / 250,
    ("Attributed energy", "A"): 250 / 400,
    ("GPUs not ok", "A"): 0.0,
    ("By model, GPU board", "A"): 100 / 250,
    ("By model, GPU board", "B"): 100 / 200,
    ("All models, node and facility", "A"): 100 / 500,
    ("All models, node and facility", "B"): 100 / 625,
}
ROUGH = {
    ("GPU power", "A"): 400.0,
    ("Output tokens", "A"): 100.0,
    ("Power without work", "A"): 50.0,
    ("Idle energy by model", "A"): 50.0 * 10.0,
}
EXPECTED = {target: pytest.approx(figure) for target, figure in EXACT.items()} | {
    target: pytest.approx(figure, rel=0.25) for target, figure in ROUGH.items()
}

TARGETS = [
    (panel["title"], target["refId"], target["expr"])
    for panel in perwatt_dashboard.build()["panels"]
    for target in panel.get("targets", [])
]


class Page(BaseHTTPRequestHandler):
    """A page whose counters grow with time."""

    started = time.time() - 3600  # far from zero, where rate() would extrapolate less

    def do_GET(self) -> None:
        now = time.time()
        samples = GAUGES | {series: growth * (now - self.started) for series, growth in COUNTERS.items()}
        samples["perwatt_snapshot_timestamp_seconds"] = now
        body = "".join(f"{series} {value!r}\n" for series, value in samples.items()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
        """Scrapes are not news."""


@contextmanager
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_page_is_of_the_contract() -> None:
    """What the panels are tried on has the very labels that the families of both daemons have."""
    page = {
        selector.name or "": {matcher.name for matcher in selector.matchers.matchers}
        for series in GAUGES | COUNTERS
        for selector in promql.selectors(series)
    }

    assert {name: set(promql.LABELS[name]) for name in page} == page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with page() as target, prometheus.run(tmp_path_factory.mktemp("panels"), [target]) as server:
        server.wait_for(
            "count_over_time(perwatt_snapshot_timestamp_seconds[5m])",
            lambda samples: bool(samples) and samples[0][1] >= SCRAPES,
            timeout_seconds=120,
        )
        yield server


@pytest.mark.parametrize(("title", "reference", "expression"), TARGETS, ids=lambda part: part[:40])
def test_every_target_answers(server: Prometheus, title: str, reference: str, expression: str) -> None:
    """With everything selected, each target gives finite figures, and the predictable ones are right."""
    expression = expression.replace("$__rate_interval", WINDOW)
    for variable in ("$job", "$instance"):
        expression = expression.replace(variable, ".+")
    samples = server.query(expression)

    assert samples
    assert all(math.isfinite(value) for _, value in samples)
    if (title, reference) in EXPECTED:
        assert [EXPECTED[title, reference]] == [value for _, value in samples]


def test_nothing_chosen_is_no_data(server: Prometheus) -> None:
    """Where nothing is scraped no panel invents a figure: absent stays absent."""
    expressions = [expression.replace("$__rate_interval", WINDOW) for _, _, expression in TARGETS]
    answers = [
        server.query(expression.replace("$job", "none").replace("$instance", "none"))
        for expression in expressions
    ]

    assert [[]] * len(TARGETS) == answers


def test_every_expectation_names_a_target() -> None:
    """A renamed panel does not lose its expected figure unseen."""
    assert set() == EXPECTED.keys() - {(title, reference) for title, reference, _ in TARGETS}
