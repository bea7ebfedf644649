"""The meter: it counts, it reports, and whatever is wrong with the agent, the job goes on."""

import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from perwatt.work import Meter, visible_gpu

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_SECONDS = 30.0


class Agent:
    """Stand-in for the agent that keeps the reports it gets; `status` is its answer."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.status = 200
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert ("/v1/work", "application/json") == (self.path, self.headers["Content-Type"])
                agent.reports.append(json.loads(body))
                self.send_response(agent.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    thread = threading.Thread(target=agent.server.serve_forever)
    thread.start()
    yield agent
    agent.server.shutdown()
    thread.join()
    agent.server.server_close()


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def meter(agent: Agent, **options: Any) -> Meter:
    return Meter("train", interval_seconds=0.01, **{"url": agent.url, **options})


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_nothing_heavy() -> None:
    """A job gets Python's own library and nothing that costs it memory or could clash with its own."""
    heavy = (
        "msgspec",
        "asyncio",
        "uvicorn",
        "uvloop",
        "prometheus_client",
        "fastapi",
        "pynvml",
        "perwatt_agent",
    )
    code = f"import sys, perwatt.work; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == result.stdout


class TestReports:
    def test_life(self, agent: Agent) -> None:
        """The first report has no work, so that the joules from here on are the job's; the last ends it."""
        with meter(agent, unit="samples", gpus=[0, "GPU-b"], model="llama") as counting:
            wait_until(lambda: agent.reports)
            for _ in range(5):
                counting.add(3)
        first, last = agent.reports[0], agent.reports[-1]

        facts = {
            "job": "train",
            "unit": "samples",
            "gpus": [0, "GPU-b"],
            "model": "llama",
            "pid": os.getpid(),
        }
        assert {**facts, "total": 0.0} == first
        assert {**facts, "total": 15.0, "done": True} == last
        assert (15.0, 0) == (counting.total, counting.dropped)

    def test_only_what_is_new(self, agent: Agent) -> None:
        """An unchanged total is not reported repeatedly."""
        with meter(agent) as counting:
            for amount in (1, 2):
                counting.add(amount)
                wait_until(lambda: agent.reports and agent.reports[-1]["total"] == counting.total)
            time.sleep(0.3)
            told = [report["total"] for report in agent.reports]

        assert sorted(set(told)) == told

    def test_rank(self, agent: Agent) -> None:
        """A rank reports its number."""
        with meter(agent, rank=3, world_size=4, gpus="all"):
            pass

        last = agent.reports[-1]
        assert ("rank", 3, "all") == (last["scope"], last["rank"], last["gpus"])

    def test_set(self, agent: Agent) -> None:
        """Totals are reported from the given start: a checkpoint's work was done before."""
        with meter(agent, start=1000.0) as counting:
            counting.set(1000.0)
            counting.set(1007.0)

        assert 7.0 == agent.reports[-1]["total"]


class TestNeverHurts:
    @pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "many", None, 1 << 5000])
    def test_no_amount(self, agent: Agent, amount: Any) -> None:
        """What is no amount is dropped and counted; the count goes on."""
        with meter(agent) as counting:
            counting.add(5)
            counting.add(amount)
            counting.set(amount)
            counting.add(2)

        assert (7.0, 2, 7.0) == (counting.total, counting.dropped, agent.reports[-1]["total"])

    def test_nobody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without an agent the job goes on as fast as ever, lost reports are counted, one line is logged."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        counting = Meter("train", url=f"http://127.0.0.1:{port}", interval_seconds=0.01)
        wait_until(lambda: counting.dropped)
        for _ in range(100_000):
            counting.add(1)
        counting.close(PATIENCE_SECONDS)

        assert 100_000.0 == counting.total
        assert counting.dropped >= 2, "the first report and the last"
        assert ["WARNING"] == [record.levelname for record in caplog.records]
        assert "is not measured at present" in caplog.text

    def test_an_agent_that_hangs(self) -> None:
        """An agent that takes the connection and never answers holds up neither the job nor its end."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            counting = Meter("train", url=f"http://127.0.0.1:{sock.getsockname()[1]}")
            for _ in range(1000):
                counting.add(1)
            counting.close(timeout=0.01)

        assert 1000.0 == counting.total

    def test_refused(self, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
        """A refusal is logged once, with the agent's own words; a later report may be accepted."""
        caplog.set_level(logging.INFO)
        agent.status = 429
        counting = meter(agent)
        wait_until(lambda: counting.dropped)
        agent.status = 200
        counting.add(5)
        counting.close(PATIENCE_SECONDS)

        assert 5.0 == agent.reports[-1]["total"]
        assert 1 == len(caplog.records)
        assert "the agent refused the report: 429" in caplog.text

    @pytest.mark.slow
    def test_comes_back(self, agent: Agent) -> None:
        """After an outage the next report holds all that was lost."""
        agent.status = 503
        counting = meter(agent)
        counting.add(5)
        wait_until(lambda: counting.dropped)
        agent.status = 200
        counting.add(2)
        wait_until(lambda: agent.reports[-1]["total"] == 7.0)
        counting.close(PATIENCE_SECONDS)

        assert 7.0 == counting.total

    def test_forgotten(self, agent: Agent) -> None:
        """A meter that is never closed does not keep its process alive."""
        code = f"from perwatt.work import Meter; Meter('train', url={agent.url!r}).add(1)"

        subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "options",
    [
        {"job": ""},
        {"job": "a", "unit": ""},
        {"job": "a", "rank": 4, "world_size": 4},
        {"job": "a", "url": "https://127.0.0.1:9836"},
        {"job": "a", "url": "127.0.0.1:9836"},
        {"job": "a", "url": "http://127.0.0.1:9836/v1/work"},
    ],
)
def test_loud_at_the_start(options: dict[str, Any]) -> None:
    """Wrong arguments raise at once, before the job runs."""
    with pytest.raises(ValueError):
        Meter(**options)


@pytest.mark.parametrize(
    ("visible", "index", "gpu"),
    [(None, 2, 2), ("", 2, 2), ("4,5", 1, 5), ("GPU-a, GPU-b", 1, "GPU-b")],
)
def test_visible_gpu(visible: str | None, index: int, gpu: int | str) -> None:
    """CUDA's number is not the driver's where some GPUs are hidden."""
    assert gpu == visible_gpu(index, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})


def test_invisible_gpu() -> None:
    """A GPU that CUDA does not show cannot be named."""
    with pytest.raises(ValueError):
        visible_gpu(2, {"CUDA_VISIBLE_DEVICES": "0,1"})


class TestExamples:
    """Over stand-ins with the attributes that the real ones have; no torch or transformers is needed."""

    @pytest.mark.parametrize(
        ("seen", "unit", "totals"),
        [
            pytest.param("all", "tokens", [0.0, 100.0, 200.0], id="tokens"),
            pytest.param(True, "tokens", [0.0, 100.0, 200.0], id="tokens as older releases say it"),
            pytest.param("no", "samples", [0.0, 64.0, 128.0], id="samples"),
            pytest.param(False, "samples", [0.0, 64.0, 128.0], id="samples as older releases say it"),
        ],
    )
    def test_hugging_face(self, agent: Agent, seen: str | bool, unit: str, totals: list[float]) -> None:
        """Each rank reports its share of each step, from the checkpoint on, and ends with the training."""
        callback = example("huggingface_trainer").PerwattCallback(
            "train", gpus=[1], url=agent.url, interval_seconds=0.01
        )
        args = SimpleNamespace(
            include_num_input_tokens_seen=seen,
            process_index=1,
            world_size=2,
            train_batch_size=16,
            gradient_accumulation_steps=4,
        )
        state = SimpleNamespace(global_step=10, num_input_tokens_seen=5000)
        callback.on_train_begin(args, state, None, model=None)
        for total in totals[1:]:
            state.global_step += 1
            state.num_input_tokens_seen += 200
            callback.on_step_end(args, state, None)
            assert total == callback.meter.total
        callback.on_train_end(args, state, None)

        last = agent.reports[-1]
        assert (unit, totals[-1], [1], 1, True) == (
            last["unit"],
            last["total"],
            last["gpus"],
            last["rank"],
            last["done"],
        )

    def test_loop(self, agent: Agent) -> None:
        """A batch counts once its step is done."""
        steps: list[float] = []
        with meter(agent, unit="samples") as counting:
            example("pytorch_loop").train(
                [[1] * 32] * 3, lambda batch: steps.append(counting.total), counting
            )

        assert ([0.0, 32.0, 64.0], 96.0) == (steps, agent.reports[-1]["total"])

    def test_torch(self) -> None:
        """The whole loop, where torch is installed."""
        pytest.importorskip("torch")

        assert 96.0 == example("pytorch_loop").main(steps=3).total

    def test_transformers(self) -> None:
        """The callback is one of the Trainer's, where transformers is installed."""
        transformers = pytest.importorskip("transformers")

        assert issubclass(example("huggingface_trainer").PerwattCallback, transformers.TrainerCallback)
