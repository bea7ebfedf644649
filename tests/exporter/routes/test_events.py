"""GET /v1/events on the agent: newest first, bounded, from a cursor on."""

import pytest
from support.exposition.pages import healthy_8_gpus
from support.servers.asgi import Reply, ask

from perwatt_agent.diagnosis.event_ring import MAX_EVENTS, EventRing
from perwatt_agent.facts.event import Event, event_at
from perwatt_exporter.app import exporter_app


def ring_of(events: int, run: str = "19f0") -> EventRing[Event]:
    ring: EventRing[Event] = EventRing(run)
    for number in range(events):
        ring.add(
            event_at(1_800_000_000.25 + number, "xid", "critical", "GPU 0: XID 79.", gpu="GPU-0", xid=79)
        )
    return ring


async def get(ring: EventRing[Event], query: str = "") -> Reply:
    return await ask(exporter_app(healthy_8_gpus, events=ring), f"/v1/events{query}")


def numbers(reply: Reply) -> list[int]:
    return [item["number"] for item in reply.json()["items"]]


async def test_newest_first() -> None:
    """The newest come first, each with all its parts and its date in UTC."""
    reply = await get(ring_of(3))

    assert (200, "application/json") == (reply.status, reply.headers["content-type"])
    assert [3, 2, 1] == numbers(reply)
    assert {
        "number": 1,
        "time": "2027-01-15T08:00:00.250+00:00",
        "kind": "xid",
        "severity": "critical",
        "message": "GPU 0: XID 79.",
        "gpu": "GPU-0",
        "workload": None,
        "before": None,
        "after": None,
        "reasons": [],
        "xid": 79,
    } == reply.json()["items"][-1]


async def test_cursor() -> None:
    """`next` gives what came since; a cursor of an earlier run gives all of this one."""
    ring = ring_of(3)
    cursor = (await get(ring)).json()["next"]
    ring.add(event_at(1_800_000_009.0, "driver", "info", "Driver 580 answers."))

    assert [4] == numbers(await get(ring, f"?since={cursor}"))
    assert [2, 1] == numbers(await get(ring_of(2, run="aa"), f"?since={cursor}"))
    assert [] == numbers(await get(EventRing("19f0")))


async def test_bounded() -> None:
    """The ring forgets the oldest, and an answer has a hundred unless it is asked for more."""
    ring = ring_of(MAX_EVENTS + 50)

    assert list(range(MAX_EVENTS + 50, MAX_EVENTS - 50, -1)) == numbers(await get(ring))
    assert MAX_EVENTS == len(numbers(await get(ring, f"?limit={MAX_EVENTS}")))
    assert ("xid", MAX_EVENTS + 50) == ring.counts()[0]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "?limit=0",
            "?limit=1001",
            "?limit=-1",
            "?limit=1e2",
            "?limit=",
            "?limit=%D9%A1",
            "?limit=1&limit=2",
        ),
        *("?since=", "?since=7", "?since=19f0-", "?since=19f0-x", "?since=-1", "?since=" + "1" * 60 + "-1"),
        *("?colour=red", "?limit", "?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9"),
    ],
)
async def test_what_cannot_be_asked(query: str) -> None:
    """A parameter that is unknown, doubled or malformed is a problem, and says what is expected."""
    reply = await get(ring_of(1), query)

    assert (422, "application/problem+json") == (reply.status, reply.headers["content-type"])
    assert any(word in reply.json()["detail"] for word in ("since", "limit"))
