"""The API for a client: answers, errors, and a document that is right about both."""

import json
import re
from datetime import datetime
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed
from support.servers.asgi import ask

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.api.parameters import number_pattern, seconds_of, window_pattern
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.fleet.groups import EVERYTHING, Where
from perwatt_aggregator.schema.common import BOUNDARIES, DIMENSIONS

CONTRACT = json.loads("""
    {"group": {"model": "llama-3-70b"}, "boundary": "node",
     "window": {"start": "2026-11-21T10:00:00.1Z", "end": "2026-11-21T10:01:00.1Z", "seconds": 60.0},
     "tokens": {"output": 60000, "prompt_computed": 9000, "prompt_cached": 1000, "effective_output": 59000},
     "requests": {"ok": 200, "aborted": 1, "error": 0}, "work": {},
     "energy_joules": 12000.0, "energy_idle_joules": 900.0, "power_watts": 200.0,
     "output_tokens_per_second": 1000.0, "tokens_per_joule": 5.0, "joules_per_token": 0.2,
     "effective_tokens_per_joule": 4.92, "tokens_per_joule_active": 5.41,
     "watt_hours_per_million_tokens": 55.6, "joules_per_request": 60.0,
     "pue": {"ratio": 1.25, "kind": "static", "age_seconds": null},
     "coverage_ratio": 1.0, "explained_ratio": 0.99, "largest_gap_seconds": 1.0, "age_seconds": 0.8,
     "provenance": ["counter"], "valid": true, "reasons": []}
""")
"""One item with the keys of the contract."""


def fleet() -> Followed:
    followed = Followed([serving_machine(gpus=2, workloads=2), serving_machine(prefix="B")], FACILITY)
    followed.look()
    followed.run(60.0, node_watts=900.0)
    followed.aggregator.nodes[1].fail("timeout")
    return followed


@pytest.fixture
def app() -> Any:
    return create_app(fleet().aggregator)


class TestEfficiency:
    async def test_answer(self, app: Any) -> None:
        """The keys of the contract, in its order, with the figures of the default window."""
        answer = (await ask(app, "/v1/efficiency?by=model&boundary=node")).json()
        (item,) = answer["items"]

        assert {"schema_version": 1, "by": ["model"]} == {
            key: answer[key] for key in ("schema_version", "by")
        }
        assert CONTRACT.keys() <= item.keys()
        for key, promised in CONTRACT.items():
            assert type(promised) is type(item[key]), key
            if isinstance(promised, dict):
                assert list(promised) == list(item[key])[: len(promised)]
        assert [18000, 36000, 9000, 16200] == list(item["tokens"].values())[:4]
        assert {"ratio": 1.25, "kind": "static", "age_seconds": None} == item["pue"]
        start, end = (datetime.fromisoformat(item["window"][edge][:-1]) for edge in ("start", "end"))
        assert item["window"]["seconds"] == (end - start).total_seconds() == 60.0

    async def test_defaults(self, app: Any) -> None:
        """One minute, no grouping, all boundaries."""
        answer = (await ask(app, "/v1/efficiency")).json()

        assert [(boundary, {}) for boundary in BOUNDARIES] == [
            (item["boundary"], item["group"]) for item in answer["items"]
        ]

    async def test_groups_named_twice(self, app: Any) -> None:
        """A dimension counts once, in the order in which it was named."""
        answer = (await ask(app, "/v1/efficiency?by=node,model,node")).json()

        assert ["node", "model"] == answer["by"]


class TestListings:
    async def test_nodes(self, app: Any) -> None:
        """A node that fails has the reason, and its last readings."""
        first, second = (await ask(app, "/v1/nodes")).json()["items"]

        assert (True, None, "node0:9836") == (first["up"], first["failure"], first["node"])
        assert (False, "timeout", 1) == (second["up"], second["failure"], second["gpus"]["ok"])
        assert (600.0, 900.0) == (first["gpu_power_watts"], pytest.approx(first["node_power_watts"]))

    async def test_gpus(self, app: Any) -> None:
        """Every GPU with its node, its energy and its holders."""
        items = (await ask(app, "/v1/gpus")).json()["items"]

        assert [("GPU-0", "ok", ["chat-0"]), ("GPU-1", "ok", ["chat-1"]), ("B-0", "ok", ["chat-0"])] == [
            (item["gpu"], item["state"], item["workloads"]) for item in items
        ]
        assert {18000.0} == {item["energy_joules"] for item in items}

    async def test_old_readings_are_not_of_now(self) -> None:
        """Gauges of a node that is not read any more are null; what was counted stays."""
        followed = fleet()
        followed.clock.advance(20.0)
        item = (await ask(create_app(followed.aggregator), "/v1/gpus")).json()["items"][0]

        assert (None, None, 18000.0) == (
            item["power_watts"],
            item["memory_used_bytes"],
            item["energy_joules"],
        )

    async def test_workloads(self, app: Any) -> None:
        """Every workload with its work and its joules by state."""
        item = (await ask(app, "/v1/workloads")).json()["items"][0]

        assert ("chat-0", "llama", "vllm", ["GPU-0"], 6000) == (
            item["workload"],
            item["model"],
            item["engine"],
            item["gpus"],
            item["tokens"]["output"],
        )
        assert (18000.0, 0.0, 0.0, 300.0) == (
            item["energy_active_joules"],
            item["energy_idle_joules"],
            item["energy_loading_joules"],
            item["power_watts"],
        )

    async def test_before_the_first_reading(self) -> None:
        """An aggregator that has read nothing yet answers, with nothing."""
        app = create_app(Aggregator(AggregatorConfig(), ManualClock()))
        node = (await ask(app, "/v1/nodes")).json()["items"][0]
        fleet_wide = (await ask(app, "/v1/efficiency?boundary=gpu_board")).json()["items"][0]

        assert (False, None, None) == (node["up"], node["failure"], node["age_seconds"])
        assert (None, None, False) == (fleet_wide["window"], fleet_wide["energy_joules"], fleet_wide["valid"])
        assert {"no_energy", "node_unreachable"} <= set(fleet_wide["reasons"])
        assert [] == (await ask(app, "/v1/gpus")).json()["items"]


class TestErrors:
    @pytest.mark.parametrize(
        ("target", "method", "status"),
        [
            ("/v1/nowhere", "GET", 404),
            ("/v1/history", "GET", 503),
            ("/v1/efficiency", "POST", 405),
            ("/v1/efficiency?window=9s", "GET", 422),
            ("/v1/efficiency?window=16m", "GET", 422),
            ("/v1/efficiency?window=60", "GET", 422),
            ("/v1/efficiency?by=modle", "GET", 422),
            ("/v1/efficiency?boundary=", "GET", 422),
            ("/v1/efficiency?windows=60s", "GET", 422),
            ("/v1/efficiency?by=model&by=node", "GET", 422),
            ("/v1/compute?by=gpus", "GET", 422),
            ("/v1/compute?window=1h", "GET", 422),
            ("/v1/compute?boundary=node", "GET", 422),
        ],
    )
    async def test_problem(self, app: Any, target: str, method: str, status: int) -> None:
        """Every error is a problem of RFC 9457 with its cause."""
        reply = await ask(app, target, method)

        assert (status, "application/problem+json") == (reply.status, reply.headers["content-type"])
        assert (status, "about:blank") == (reply.json()["status"], reply.json().get("type", "about:blank"))
        assert reply.json()["detail"]

    async def test_what_was_wrong(self, app: Any) -> None:
        """A parameter that cannot be used is named."""
        reply = await ask(app, "/v1/efficiency?windows=60s")

        assert ["windows"] == [error["parameter"] for error in reply.json()["errors"]]

    async def test_allow(self, app: Any) -> None:
        """A 405 answer lists the allowed methods."""
        assert "GET, HEAD" == (await ask(app, "/v1/nodes", "DELETE")).headers["allow"]

    @pytest.mark.parametrize(
        ("topic", "range_"),
        [
            ("efficiency", "10s to 900s, with a history up to 731d"),
            *((topic, "10s to 900s") for topic in ("ledger", "compute", "facility", "nodes", "gpus")),
        ],
    )
    async def test_range_of_windows(self, app: Any, topic: str, range_: str) -> None:
        """A window that is refused comes with those that are not."""
        reply = await ask(app, f"/v1/{topic}?window=1h")

        expected = f"These parameters are not valid: window. Length of the window: {range_}."
        assert (422, expected) == (reply.status, reply.json()["detail"])

    async def test_head(self, app: Any) -> None:
        """HEAD is answered wherever GET is, with the same head and no body."""
        described = (await ask(app, "/openapi.json")).json()["paths"]
        paths = [path for path, methods in described.items() if "get" in methods]
        for path in (*paths, "/openapi.json", "/nowhere", "/v1/nodes?window=1h"):
            got, head = await ask(app, path), await ask(app, path, "HEAD")
            assert (got.status, got.headers.keys(), b"") == (head.status, head.headers.keys(), head.body)
        assert {"/", "/metrics", "/v1/efficiency"} <= set(paths)

    async def test_failure_of_our_own(self) -> None:
        """Even a defect is answered with a problem, and goes on to the server's log."""

        class Broken(Aggregator):
            def node_answer(self, seconds: float = 60.0, where: Where = EVERYTHING) -> Any:
                raise RuntimeError("broken on purpose")

        app = create_app(Broken(AggregatorConfig(), ManualClock()))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/v1/nodes", "query_string": b"", "headers": []}
        with pytest.raises(RuntimeError, match="on purpose"):
            await app(scope, None, send)
        assert 500 == sent[0]["status"]
        assert (b"content-type", b"application/problem+json") in sent[0]["headers"]


class TestParameters:
    @pytest.mark.parametrize(
        ("low", "high"), [(0, 0), (7, 7), (10, 900), (1, 15), (95, 1007), (19, 21), (100, 999)]
    )
    def test_number_pattern(self, low: int, high: int) -> None:
        """The pattern takes the numbers of its range and nothing else."""
        pattern = re.compile(f"(?:{number_pattern(low, high)})")

        assert list(range(low, high + 1)) == [n for n in range(3000) if pattern.fullmatch(str(n))]
        assert not pattern.fullmatch(f"0{high}")

    def test_window_pattern(self) -> None:
        """What the pattern takes lies within the window's bounds, in any unit."""
        pattern = re.compile(window_pattern(7200))
        texts = [f"{number}{unit}" for number in range(8000) for unit in "smh"]

        assert {text for text in texts if pattern.match(text)} == {
            text for text in texts if 10 <= seconds_of(text) <= 7200
        }


class TestService:
    async def test_metrics(self, app: Any) -> None:
        """The valid headline by model and boundary, the facility, and the targets."""
        text = (await ask(app, "/metrics", accept="application/openmetrics-text;version=1.0.0")).body.decode()
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        headline = {"model": "llama", "window": "60s", "boundary": "gpu_board", "provenance": "counter"}

        assert 1 / 3 == pytest.approx(
            samples["perwatt_output_tokens_per_joule", tuple(sorted(headline.items()))]
        )
        assert 1.25 == samples["perwatt_facility_pue_ratio", (("facility", "default"),)]
        assert 0.10 / 3.6e6 == pytest.approx(
            samples["perwatt_facility_energy_price_per_joule", (("currency", "USD"), ("facility", "default"))]
        )
        assert 0.0 == samples["perwatt_aggregator_target_up", (("node", "node1:9836"),)]
        assert (
            1.0
            == samples[
                "perwatt_aggregator_target_failures_total", (("node", "node1:9836"), ("reason", "timeout"))
            ]
        )

    async def test_no_headline_while_not_valid(self) -> None:
        """A figure that is not valid is absent from the metrics, not zero."""
        followed = Followed([serving_machine()], FACILITY)
        followed.look()
        followed.run(20.0)

        assert (
            b"perwatt_output_tokens_per_joule"
            not in (await ask(create_app(followed.aggregator), "/metrics")).body
        )

    @pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
    async def test_health(self, app: Any, path: str) -> None:
        """Health is the process's, whatever the agents do."""
        assert 200 == (await ask(app, path)).status

    async def test_page_loads_nothing_from_elsewhere(self, app: Any) -> None:
        """The page is one file, and the browser is told to load nothing else."""
        reply = await ask(app, "/")

        assert reply.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert [] == re.findall(rb"(?:src|href)=\"(?:https?:)?//", reply.body)


class TestDocument:
    async def test_parameters(self, app: Any) -> None:
        """Each operation has an id, a tag, a summary, and its errors."""
        document = (await ask(app, "/openapi.json")).json()
        operations = [one for path in document["paths"].values() for one in path.values()]

        assert len(operations) == len({one["operationId"] for one in operations}) == 15
        for one in operations:
            assert one["tags"]
            assert one["summary"]
            unchanged = {"304"} if one["tags"] == ["answers"] else set()
            assert {"200", "405", "422", "500", "default"} | unchanged == one["responses"].keys()

    async def test_dimensions_are_listed(self, app: Any) -> None:
        """The document names every value that a list may hold."""
        document = (await ask(app, "/openapi.json")).json()
        parameters = document["paths"]["/v1/efficiency"]["get"]["parameters"]
        by = next(one["schema"]["pattern"] for one in parameters if one["name"] == "by")

        assert all(dimension in by for dimension in DIMENSIONS)
