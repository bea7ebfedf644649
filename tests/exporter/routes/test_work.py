"""POST /v1/work over the wire: what is taken, and every way to be refused."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.exposition.pages import no_driver
from support.servers.asgi import ask
from support.servers.web import PATIENCE_SECONDS, Answer, dropped, fetch, parse, request, serving

from perwatt_agent.clock import ManualClock
from perwatt_agent.work.registry import WorkRegistry
from perwatt_exporter.app import exporter_app
from perwatt_exporter.http.asgi import Router
from perwatt_exporter.routes.work import MAX_BODY_BYTES

JSON: dict[str, Any] = {"Content_Type": "application/json"}
GOOD = {"job": "train", "unit": "tokens", "total": 5}


@pytest.fixture
def book(clock: ManualClock) -> WorkRegistry:
    return WorkRegistry(clock, max_jobs=10)


@pytest.fixture
def app(book: WorkRegistry) -> Router:
    return exporter_app(no_driver, own=lambda: (), work=book)


async def post(app: Router, body: bytes, headers: Mapping[str, str] = JSON, path: str = "/v1/work") -> Answer:
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = request(path, "POST", Connection="close", Content_Length=str(len(body)), **headers)
        writer.write(head + body)
        try:
            return parse(await dropped(reader))
        finally:
            writer.close()


def body_of(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def problem(answer: Answer) -> tuple[int, str]:
    """The status and detail of a problem; anything else is a failure of the test."""
    assert "application/problem+json" == answer.headers["content-type"]
    said = json.loads(answer.body)
    assert {"type", "title", "status", "detail"} == set(said)
    assert ("about:blank", answer.status) == (said["type"], said["status"])
    return answer.status, said["detail"]


class TestTaken:
    async def test_total(self, app: Router, book: WorkRegistry) -> None:
        """A report is answered with what was taken of it."""
        answer = await post(app, body_of(gpus=[0], model="llama"))

        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        taken = {"job": "train", "unit": "tokens", "total": 5.0, "gpus": []}
        assert taken == json.loads(answer.body)
        assert 1 == len(book.drain(()))

    async def test_repeated_increment(self, app: Router) -> None:
        """The same key is answered like the first time."""
        body = json.dumps({"job": "a", "unit": "images", "increment": 7, "key": "batch-1"}).encode()
        answers = [await post(app, body, {"Content_Type": "application/json; charset=utf-8"}) for _ in "ab"]

        assert [7.0, 7.0] == [json.loads(answer.body)["total"] for answer in answers]


INVALID = [
    pytest.param(b"[]", id="list"),
    pytest.param(b"null", id="null"),
    pytest.param(b"{}", id="nothing"),
    pytest.param(body_of(total=-1), id="negative"),
    pytest.param(body_of(total="5"), id="text"),
    pytest.param(body_of(total=True), id="boolean"),
    pytest.param(body_of(total=None), id="neither total nor increment"),
    pytest.param(b'{"job":"a","unit":"t","total":1e999}', id="beyond floats"),
    pytest.param(body_of(total=1e17), id="beyond whole numbers"),
    pytest.param(body_of(increment=1, key="a"), id="both"),
    pytest.param(b'{"job":"a","unit":"t","increment":1}', id="increment without key"),
    pytest.param(body_of(key="a"), id="total with key"),
    pytest.param(body_of(scope="rank"), id="scope rank without rank"),
    pytest.param(body_of(scope="node", rank=1), id="unknown scope"),
    pytest.param(body_of(rank=-1), id="negative rank"),
    pytest.param(body_of(colour="red"), id="unknown field"),
    pytest.param(body_of(job=""), id="no job"),
    pytest.param(body_of(job="a\nb"), id="job of two lines"),
    pytest.param(body_of(job="a" * 101), id="long job"),
    pytest.param(body_of(unit="Tokens"), id="unit in capitals"),
    pytest.param(body_of(unit='t"} 1\nevil 1'), id="unit that would break the page"),
    pytest.param(body_of(model="a\x00b"), id="control character"),
    pytest.param(body_of(role="boss"), id="unknown role"),
    pytest.param(body_of(gpus="0"), id="GPUs as text"),
    pytest.param(body_of(gpus=[-1]), id="negative GPU"),
    pytest.param(body_of(gpus=["0"]), id="GPU as text"),
    pytest.param(body_of(gpus=list(range(65))), id="many GPUs"),
    pytest.param(b"[" * MAX_BODY_BYTES, id="deep"),
]

NOT_JSON = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{", id="cut"),
    pytest.param(b"job=train", id="form"),
    pytest.param(b'{"job":"a","unit":"t","total":NaN}', id="NaN"),
    pytest.param(b'{"job":"a","unit":"t","total":Infinity}', id="Infinity"),
    pytest.param(b'{"job":"\xff","unit":"t","total":1}', id="not UTF-8"),
    pytest.param(body_of() + b"{}", id="two"),
]


class TestRefused:
    @pytest.mark.parametrize("body", INVALID)
    async def test_invalid(self, app: Router, book: WorkRegistry, body: bytes) -> None:
        """JSON that is no report is 422 and changes nothing."""
        assert 422 == problem(await post(app, body))[0]
        assert ([], (("invalid", 1),)) == (book.drain(()), book.rejections)

    @pytest.mark.parametrize("body", NOT_JSON)
    async def test_not_json(self, app: Router, book: WorkRegistry, body: bytes) -> None:
        """What is no JSON is 400."""
        assert 400 == problem(await post(app, body))[0]
        assert ([], (("not_json", 1),)) == (book.drain(()), book.rejections)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Content_Type": "text/plain"},
            {"Content_Type": "application/x-www-form-urlencoded"},
            {**JSON, "Content_Encoding": "gzip"},
        ],
    )
    async def test_media_type(self, app: Router, headers: dict[str, str]) -> None:
        """Only plain JSON is read: a form in a browser cannot send it."""
        assert 415 == problem(await post(app, body_of(), headers))[0]

    async def test_browser(self, app: Router) -> None:
        """A page in a browser on this machine is no job."""
        headers = {**JSON, "Origin": "http://evil.example"}

        assert 403 == problem(await post(app, body_of(), headers))[0]

    async def test_too_large(self, app: Router) -> None:
        """A body is read to 64 KiB and no further."""
        status, detail = problem(await post(app, body_of(model="x" * MAX_BODY_BYTES)))

        assert (413, True) == (status, "65536 bytes" in detail)

    async def test_too_large_in_chunks(self, app: Router) -> None:
        """A body that does not tell its length ends there too."""
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("/v1/work", "POST", Transfer_Encoding="chunked", **JSON))
            chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
            for _ in range(MAX_BODY_BYTES // 4096 + 1):
                writer.write(chunk)
            answer = parse(await asyncio.wait_for(dropped(reader), PATIENCE_SECONDS))
            writer.close()

        assert 413 == problem(answer)[0]

    @pytest.mark.parametrize(
        ("client", "status"),
        [
            (("127.0.0.1", 1), 200),
            (("127.8.8.8", 1), 200),
            (("::1", 1), 200),
            (("::ffff:127.0.0.1", 1), 200),
            (("10.0.0.7", 1), 403),
            (("::ffff:10.0.0.7", 1), 403),
            (("2001:db8::1", 1), 403),
            (("", 0), 403),
            (None, 403),
        ],
    )
    async def test_loopback_only(self, app: Router, client: tuple[str, int] | None, status: int) -> None:
        """Only this machine's jobs are listened to."""
        reply = await ask(app, "/v1/work", "POST", client=client, body=body_of(), **JSON)

        assert status == reply.status

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
    async def test_other_methods(self, app: Router, method: str) -> None:
        """Anything but POST is 405, and POST is named."""
        async with serving(app) as port:
            answer = await fetch(port, "/v1/work", method, Content_Length="0")

        assert (405, "POST") == (answer.status, answer.headers["allow"])

    async def test_post_elsewhere(self, app: Router) -> None:
        """Nothing else takes a POST."""
        assert [404, 405] == [(await post(app, body_of(), JSON, path)).status for path in ("/v1", "/metrics")]

    async def test_without_a_book(self) -> None:
        """Where work is not taken, the path is not there."""
        assert 404 == (await post(exporter_app(no_driver, own=lambda: ()), body_of())).status

    async def test_conflict(self, app: Router) -> None:
        """What contradicts an earlier report is 409."""
        await post(app, body_of(model="llama"))

        assert 409 == problem(await post(app, body_of(model="other")))[0]

    @pytest.mark.slow
    async def test_many_jobs(self, app: Router, book: WorkRegistry) -> None:
        """Of 10,000 jobs named alike half the places are held, and jobs of other names still find one."""
        statuses = [
            (await ask(app, "/v1/work", "POST", body=body_of(job=f"job-{number}"), **JSON)).status
            for number in range(10_000)
        ]

        assert [200] * 5 + [429] * 9_995 == statuses
        assert (5, (("full", 9_995),)) == (len(book.drain(())), book.rejections)
        assert 200 == (await ask(app, "/v1/work", "POST", body=body_of(job="job-3"), **JSON)).status
        assert 200 == (await ask(app, "/v1/work", "POST", body=body_of(job="other-1"), **JSON)).status
