"""The query API: filters, order, pages, entity tags, capacity, and targets for Prometheus."""

from typing import Any

import pytest
from msgspec.structs import replace
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import FACILITY
from support.servers.asgi import ask

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.api.paging import Page, paged, sort_fields
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.schema.inventory import NodeItem
from perwatt_aggregator.targets.config import AgentTargetConfig, SourcesConfig


class Racks:
    """Three machines of 2 GPUs in two racks, each GPU held by an engine of its own."""

    def __init__(self, limit_watts: float | None = None) -> None:
        self.limit_watts = limit_watts
        self.clock = ManualClock()
        agents = tuple(
            AgentTargetConfig(f"http://node{index}:9836/metrics", labels={"rack": rack})
            for index, rack in enumerate(("r1", "r1", "r2"))
        )
        config = AggregatorConfig(SourcesConfig(agents), 5.0, FACILITY, labels=("rack", "class"))
        self.aggregator = Aggregator(config, self.clock)
        self.machines: list[Machine] = [serving_machine(2, f"N{index}", 2) for index in range(3)]
        for machine in self.machines:
            machine.workloads[1].model = "qwen, chat"
        self.read()
        for _ in range(12):
            for machine in self.machines:
                machine.run(5.0)
            self.clock.advance(5.0)
            self.read()
        self.app = create_app(self.aggregator)

    def read(self) -> None:
        for node, machine in zip(self.aggregator.nodes, self.machines, strict=True):
            machine.monotonic = self.clock.monotonic()
            sample = sample_of_snapshot(machine.snapshot(), node.objectives)
            gpus = {gpu: replace(one, power_limit_watts=self.limit_watts) for gpu, one in sample.gpus.items()}
            node.add(replace(sample, gpus=gpus), self.clock.unix())

    async def items(self, target: str) -> list[dict[str, Any]]:
        reply = await ask(self.app, target)
        assert 200 == reply.status, reply.body
        return list(reply.json()["items"])


@pytest.fixture(scope="module")
def racks() -> Racks:
    return Racks()


BOARDS = "/v1/efficiency?boundary=gpu_board"


class TestGroups:
    async def test_target_labels(self, racks: Racks) -> None:
        """A label that the configuration names is a dimension; its groups add up to the whole."""
        (whole,) = await racks.items(BOARDS)
        groups = await racks.items(f"{BOARDS}&by=rack")

        assert [{"rack": "r1"}, {"rack": "r2"}] == [item["group"] for item in groups]
        assert whole["energy_joules"] == sum(item["energy_joules"] for item in groups)
        assert [True, True] == [item["valid"] for item in groups]

    @pytest.mark.parametrize(
        ("by", "groups"),
        [
            ("gpu_model", [{"gpu_model": "NVIDIA H200"}]),
            ("facility", [{"facility": "default"}]),
            ("class", [{"class": None}]),
            ("namespace,pod,slurm_job", [{"namespace": None, "pod": None, "slurm_job": None}]),
        ],
    )
    async def test_other_dimensions(self, racks: Racks, by: str, groups: list[Any]) -> None:
        """Each dimension groups every answer, with null for what has no value of it."""
        for topic in ("efficiency", "ledger", "compute", "capacity"):
            found = await racks.items(f"/v1/{topic}?by={by}")
            assert groups == [dict(one) for one in dict.fromkeys(tuple(i["group"].items()) for i in found)]

    async def test_source(self, racks: Racks) -> None:
        """Every item says where its readings come from."""
        for topic in (
            "efficiency",
            "ledger",
            "compute",
            "capacity",
            "facility",
            "nodes",
            "gpus",
            "workloads",
        ):
            assert {"agents"} == {item["source"] for item in await racks.items(f"/v1/{topic}")}


class TestFilters:
    @pytest.mark.parametrize("topic", ["efficiency", "ledger", "compute", "capacity"])
    async def test_keep_what_a_group_has(self, racks: Racks, topic: str) -> None:
        """A filter by one value gives what the group of this value has, with the same validity."""
        for name in ("rack", "node", "model", "workload", "gpu"):
            for group in await racks.items(f"/v1/{topic}?by={name}"):
                value = group["group"][name]
                if "," in value:
                    continue
                found = await racks.items(f"/v1/{topic}?by=&{name}={value}")
                assert {**group, "group": {}} in found

    async def test_several(self, racks: Racks) -> None:
        """Values of one filter add up, filters of several dimensions restrict each other."""
        r1, r2, both, none = [
            await racks.items(f"{BOARDS}&model=llama&{rest}")
            for rest in ("rack=r1", "rack=r2", "rack=r1,r2", "rack=r1&node=node2:9836")
        ]
        assert r1[0]["energy_joules"] + r2[0]["energy_joules"] == both[0]["energy_joules"]
        assert [] == none

    async def test_without_a_value(self, racks: Racks) -> None:
        """An empty value keeps what has no value of the dimension."""
        (whole,) = await racks.items(BOARDS)
        (unlabelled,) = await racks.items(f"{BOARDS}&class=")

        assert whole["energy_joules"] == unlabelled["energy_joules"]

    @pytest.mark.parametrize(
        ("target", "count"),
        [
            ("nodes?rack=r1", 2),
            ("nodes?node=node2:9836&facility=default", 1),
            ("nodes?facility=other", 0),
            ("gpus?rack=r2", 2),
            ("gpus?workload=chat-0&gpu_model=NVIDIA%20H200", 3),
            ("gpus?gpu=N0-0,N1-1", 2),
            ("workloads?model=llama&rack=r1", 2),
            ("workloads?gpu=N0-0", 1),
            ("workloads?engine=vllm", 6),
            ("workloads?pod=web", 0),
            ("facility?facility=default", 1),
        ],
    )
    async def test_of_inventories(self, racks: Racks, target: str, count: int) -> None:
        """The same names filter the lists of nodes, GPUs and workloads."""
        assert count == len(await racks.items(f"/v1/{target}"))


class TestOrder:
    async def test_by_a_field(self, racks: Racks) -> None:
        """By any field with an order, or by a dimension, ascending or descending."""
        names = [item["node"] for item in await racks.items("/v1/nodes?sort=-node")]
        assert ["node2:9836", "node1:9836", "node0:9836"] == names
        groups = await racks.items(f"{BOARDS}&by=node,workload&sort=-workload")
        assert ["chat-1"] * 3 + ["chat-0"] * 3 == [item["group"]["workload"] for item in groups]

    async def test_null_comes_last(self, racks: Racks) -> None:
        """In either order, what has no value comes after what has one."""
        for sort in ("cost.amount", "-cost.amount"):
            found = await racks.items(f"/v1/efficiency?by=node&sort={sort}")
            assert [False] * 3 + [True] * 6 == [item["cost"] is None for item in found]

    def test_fields(self) -> None:
        """Numbers, texts and truths of an item and of its parts; no lists and no maps."""
        fields = set(sort_fields(EfficiencyItem))
        assert {"joules_per_token", "tokens.output", "headline.per_joule", "valid", "boundary"} <= fields
        assert fields.isdisjoint(("group", "reasons", "tokens", "work"))
        assert "node" in sort_fields(NodeItem)


class TestPages:
    async def test_all_pages_are_the_whole(self, racks: Racks) -> None:
        """Page after page gives each item once, in order; the last page has no next one."""
        for sort in ("", "&sort=-power_watts"):
            whole = await racks.items(f"/v1/gpus?window=60s{sort}")
            found: list[Any] = []
            cursor = ""
            for _ in range(3):
                reply = (await ask(racks.app, f"/v1/gpus?window=60s{sort}&limit=2{cursor}")).json()
                found += reply["items"]
                cursor = f"&cursor={reply['next']}"
            assert (whole, None) == (found, reply["next"])

    def test_an_item_that_is_gone(self) -> None:
        """If the last item of a page is gone, the next page starts at its place; else after it."""
        items = [_named(name) for name in "abcdef"]
        first, cursor = paged(items, Page(limit=2))
        assert ["a", "b"] == [item.node for item in first]
        for left, rest in (("abcdef", "cdef"), ("bcdef", "cdef"), ("acdef", "def"), ("Aabcdef", "cdef")):
            page, _ = paged([_named(name) for name in left], Page(cursor=cursor))
            assert rest == "".join(item.node for item in page)


def _named(name: str) -> NodeItem:
    values = dict.fromkeys(NodeItem.__struct_fields__)
    return NodeItem(**(values | {"node": name}))  # type: ignore[arg-type]


class TestTags:
    async def test_the_same_answer(self, racks: Racks) -> None:
        """A client that has the answer gets 304 and no body, until a new reading changes it."""
        target = "/v1/efficiency?by=rack"
        reply = await ask(racks.app, target)
        assert "max-age=5" == reply.headers["cache-control"]
        racks.clock.advance(1.0)
        again = await ask(racks.app, target, if_none_match=reply.headers["etag"])
        assert (304, b"") == (again.status, again.body)
        other = await ask(racks.app, f"{target}&rack=r1", if_none_match=reply.headers["etag"])
        assert 200 == other.status


class TestLimits:
    @pytest.mark.parametrize(
        ("target", "parameter", "expected"),
        [
            ("/v1/efficiency?by=rank", "by", "Of model, engine, node, gpu"),
            ("/v1/efficiency?sort=reasons", "sort", "One of boundary,"),
            ("/v1/nodes?limit=0", "limit", "1 to 10000"),
            ("/v1/nodes?limit=10001", "limit", "1 to 10000"),
            ("/v1/nodes?cursor=x", "cursor", "`next` of the page before"),
            ("/v1/capacity?kw=-1", "kw", "0 to 1e+06"),
            ("/v1/nodes?model=llama", "model", ""),
            ("/v1/efficiency?rack=" + "x" * 5000, "rack", "separated by commas"),
        ],
    )
    async def test_refused(self, racks: Racks, target: str, parameter: str, expected: str) -> None:
        """What cannot be answered is a 422 that names the parameter and what is allowed."""
        reply = await ask(racks.app, target)

        assert 422 == reply.status
        assert [parameter] == [error["parameter"] for error in reply.json()["errors"]]
        assert expected in reply.json()["detail"]


class TestCapacity:
    async def test_at_a_budget(self, racks: Racks) -> None:
        """Tokens at a budget are its joules times tokens per joule of the item's own boundary."""
        items = await racks.items("/v1/capacity?by=&kw=500")

        assert ["gpu_board", "node", "facility"] == [item["boundary"] for item in items]
        for item in items:
            assert item["at_budget"] == pytest.approx(500_000.0 * item["tokens_per_joule"])
            assert item["per_day"] == pytest.approx(86_400.0 * item["output_tokens_per_second"])
            assert item["headroom_kw"] == pytest.approx(500.0 - item["power_watts"] / 1000.0)

    async def test_without_a_budget(self, racks: Racks) -> None:
        """What is now needs no budget; what needs one is null."""
        item = (await racks.items("/v1/capacity"))[0]

        assert (None, None, None) == (item["at_budget"], item["bound_by"], item["headroom_kw"])
        assert item["output_tokens_per_second"] > 0

    async def test_what_binds(self) -> None:
        """A budget below the GPUs' power limits binds; above them, the GPUs do."""
        racks = Racks(limit_watts=700.0)
        # Three nodes of 2 GPUs, one for each model: 3 x 700 W at the boards, 1.8 times that at the nodes.
        for kw, expected in (
            (2.0, ["power", "power", "power"]),
            (3.0, ["gpus", "power", "power"]),
            (4.0, ["gpus", "gpus", "power"]),
            (5.0, ["gpus", "gpus", "gpus"]),
        ):
            items = await racks.items(f"/v1/capacity?kw={kw}&model=llama")
            assert expected == [item["bound_by"] for item in items]
            assert [2100.0, 3780.0, 4725.0] == [pytest.approx(item["max_power_watts"]) for item in items]

    async def test_limits_that_are_not_known(self, racks: Racks) -> None:
        """Without the power limits of all GPUs it is not known what binds."""
        assert {None} == {item["bound_by"] for item in await racks.items("/v1/capacity?kw=1")}


async def test_targets_for_prometheus(racks: Racks) -> None:
    """The agents by their labels, as HTTP service discovery expects them; filters restrict them."""
    reply = await ask(racks.app, "/v1/sd/prometheus")

    assert "application/json" == reply.headers["content-type"]
    assert [
        {"targets": ["node0:9836", "node1:9836"], "labels": {"rack": "r1"}},
        {"targets": ["node2:9836"], "labels": {"rack": "r2"}},
    ] == reply.json()
    assert 1 == len((await ask(racks.app, "/v1/sd/prometheus?rack=r2")).json())
