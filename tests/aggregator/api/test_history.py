"""`/v1/history`: its steps, its figures, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed
from support.history.recorded import history_at
from support.servers.asgi import Reply, ask

from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.schema.instants import instant


class Recorded:
    """Two machines of 2 GPUs at 300 W each; 100 tokens a second of a workload; ten minutes are recorded."""

    def __init__(self, folder: Path, max_pages: int | None = None) -> None:
        self.followed = Followed([serving_machine(2, "A", 2), serving_machine(2, "B", 1)], FACILITY)
        self.aggregator = self.followed.aggregator
        self.clock = self.followed.clock
        self.clock.advance(900.0 - self.clock.unix() % 900.0)
        self.start = int(self.clock.unix())
        for machine in self.followed.machines:
            machine.unix = self.clock.unix()
        self.history = self.aggregator.past.history = history_at(folder / "history.db", self.clock, max_pages)
        self.app = create_app(self.aggregator)
        self.followed.look()

    async def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.followed.run(15.0, node_watts=900.0)
            await self.history.add(await self.aggregator.tick(int(self.clock.unix()) - 15, 15))

    async def ask(self, target: str, start: float, end: float) -> Reply:
        return await ask(self.app, f"/v1/history?from={instant(start)}&to={instant(end)}&{target}")

    async def items(self, target: str) -> list[dict[str, Any]]:
        reply = await self.ask(target, self.start + 120, self.start + 600)
        assert 200 == reply.status, reply.body
        return list(reply.json()["items"])


@pytest.fixture
async def recorded(tmp_path: Path) -> Recorded:
    recorded = Recorded(tmp_path)
    await recorded.run(40)
    return recorded


async def test_figures(recorded: Recorded) -> None:
    """Sums of each step, and what follows from them: power, tokens per joule, money and grams."""
    reply = await recorded.ask("by=model&step=1m", recorded.start + 120, recorded.start + 600)
    answer = reply.json()
    board, node, facility = (one for one in answer["items"] if one["group"]["model"] == "llama")

    assert 60 == answer["step_seconds"]
    assert [instant(recorded.start + 60 * one).replace(".000Z", "Z") for one in range(2, 10)] == answer[
        "times"
    ]
    assert [True] * 8 == board["valid"] == node["valid"] == facility["valid"]
    assert [1.0] * 8 == node["coverage_ratio"]
    assert [18_000] * 8 == board["output_tokens"]
    assert pytest.approx([54_000.0] * 8) == board["energy_joules"]
    assert pytest.approx([1 / 3] * 8) == board["tokens_per_joule"]
    assert pytest.approx([900.0] * 8) == board["power_watts"]
    # One of the two nodes has 3 boards' worth of 900 W for 2 boards, the other one half of that.
    assert pytest.approx([81_000.0] * 8) == node["energy_joules"]
    assert pytest.approx([101_250.0] * 8) == facility["energy_joules"]
    assert pytest.approx([101_250.0 / 3.6e6 * 0.1] * 8) == facility["cost"]
    assert pytest.approx([101_250.0 / 3.6e6 * 400.0] * 8) == facility["grams_co2e"]
    assert "USD" == facility["currency"]
    assert [None] * 8 == node["cost"]
    assert "history" == node["source"]


async def test_groupings_add_up(recorded: Recorded) -> None:
    """Any grouping has the same joules, whether it is read from sums or from all owners."""
    whole = (await recorded.items("step=2m&boundary=node"))[0]["energy_joules"]

    for by in ("model", "facility", "node", "workload", "node,model", "gpu_model"):
        items = await recorded.items(f"step=2m&boundary=node&by={by}")
        found = [sum(values) for values in zip(*(one["energy_joules"] for one in items), strict=True)]
        assert whole == pytest.approx(found), by


async def test_filters(recorded: Recorded) -> None:
    """Filters keep what has one of their values."""
    (item,) = await recorded.items("step=2m&boundary=gpu_board&workload=chat-1")

    assert pytest.approx([36_000.0] * 4) == item["energy_joules"]


async def test_a_step_without_ticks_is_null(recorded: Recorded) -> None:
    """Time that nobody recorded is not known: it is not 0, and a step with it is not valid."""
    recorded.clock.advance(120.0)
    reply = await recorded.ask(
        "step=5m&boundary=gpu_board&model=llama", recorded.start + 300, recorded.start + 900
    )
    recorded.clock.advance(180.0)
    later = await recorded.ask(
        "step=1m&boundary=gpu_board&model=llama", recorded.start + 540, recorded.start + 660
    )

    assert [True] == reply.json()["items"][0]["valid"]
    (item,) = later.json()["items"]
    assert [True, False] == item["valid"]
    assert None is item["energy_joules"][1]
    assert 0.0 == item["coverage_ratio"][1]


async def test_a_gap_is_not_valid_and_its_joules_come_later(recorded: Recorded) -> None:
    """A node that is not read for a while: its steps are not valid, and a long one has all its joules."""
    for _ in range(8):
        for machine in recorded.followed.machines:
            machine.run(15.0, node_watts=900.0)
        recorded.clock.advance(15.0)
        recorded.followed.look(at=[0])
        await recorded.history.add(await recorded.aggregator.tick(int(recorded.clock.unix()) - 15, 15))
    await recorded.run(12)
    start, end = recorded.start + 120, recorded.start + 900
    short = (await recorded.ask("step=1m&by=node&boundary=gpu_board&workload=chat-0", start, end)).json()[
        "items"
    ][1]
    long = (
        await recorded.ask("step=5m&by=node&boundary=gpu_board&workload=chat-0", start + 180, end)
    ).json()["items"][1]

    assert [True] * 8 + [False] * 3 == short["valid"][:11]
    assert 300.0 * 600.0 == pytest.approx(sum(long["energy_joules"]))
    assert [True, False] == long["valid"]
    assert "coverage_low" in long["reasons"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("step=20s", "multiple of 15s"),
        ("step=1s", "multiple of 15s"),
        ("step=800d", "at most 366d"),
        ("from=2001-01-01T00:00:00Z&step=1m", "multiple of 900s"),
        ("from=2000-01-01T00:00:00Z&step=15m", "at most 12000 steps"),
        ("from=2999-01-01T00:00:00Z&step=15m", "at least one whole step"),
        ("from=2026-02-30T00:00:00Z&step=15m", "a day that exists"),
        ("from=yesterday", "should match pattern"),
        ("by=gpu", "should match pattern"),
    ],
)
async def test_what_cannot_be_answered_is_refused(recorded: Recorded, parameters: str, expected: str) -> None:
    """A clear 4xx says what is allowed."""
    reply = await ask(recorded.app, f"/v1/history?{parameters}")

    assert 422 == reply.status
    assert expected in reply.body.decode()


async def test_without_a_history() -> None:
    """An aggregator that keeps none says which setting makes it keep one."""
    reply = await ask(create_app(Followed([serving_machine()]).aggregator), "/v1/history")

    assert 503 == reply.status
    assert "history.path" in reply.json()["detail"]


async def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The history says so once and counts lost ticks, what it has is read, and live answers go on."""
    recorded = Recorded(tmp_path, max_pages=24)
    await recorded.run(60)
    page = (await ask(recorded.app, "/metrics")).body.decode()
    live = (await ask(recorded.app, "/v1/efficiency?by=model&boundary=node")).json()["items"][0]
    past = await recorded.ask("step=1m&by=model&boundary=node", recorded.start + 120, recorded.start + 900)

    assert "perwatt_history_up 0" in page
    assert float(page.partition('failures_total{reason="disk_full"} ')[2].split()[0]) > 0
    assert 1 == caplog.text.count("history.path")
    assert live["valid"]
    assert past.json()["items"][0]["valid"][0]
    assert not past.json()["items"][0]["valid"][-1]


async def test_a_window_longer_than_memory(recorded: Recorded) -> None:
    """Its figures are those of the history, and equal those of a window in memory."""
    await recorded.run(4 * 60)
    recorded.clock.advance(6.0)
    target = "/v1/efficiency?by=model&model=llama&boundary=facility&window="
    (past,) = (await ask(recorded.app, f"{target}1h")).json()["items"]
    (live,) = (await ask(recorded.app, f"{target}10m")).json()["items"]

    assert "history" == past["source"]
    assert 3600.0 == past["window"]["seconds"]
    assert past["valid"], past["reasons"]
    assert live["valid"], live["reasons"]
    for name in (
        "tokens_per_joule",
        "power_watts",
        "output_tokens_per_second",
        "effective_tokens_per_joule",
        "tokens_per_joule_active",
        "joules_per_request",
    ):
        assert live[name] == pytest.approx(past[name], rel=1e-3), name
    for name in ("per_million_output_tokens", "per_request"):
        assert live["cost"][name] == pytest.approx(past["cost"][name], rel=1e-3)
        assert live["carbon"][name] == pytest.approx(past["carbon"][name], rel=1e-3)
    assert live["headline"]["unit"] == past["headline"]["unit"]
    assert live["provenance"] == past["provenance"]


async def test_long_windows_that_cannot_be_answered() -> None:
    """Without a history, the answer states what is in memory."""
    app = create_app(Followed([serving_machine()]).aggregator)

    reply = await ask(app, "/v1/efficiency?window=24h")

    assert 422 == reply.status
    assert "at most 900s" in reply.body.decode()
    assert 422 == (await ask(app, "/v1/ledger?window=24h")).status
