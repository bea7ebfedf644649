"""An engine's page over HTTP, from the socket to the counts."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from support.engines.engine_pages import engine_page, page_server
from support.processes.kubelet_pods import CERTIFICATE

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_page_reader import ENGINE_REASONS, EnginePageReader
from perwatt_agent.net.tls import trusting

AFTER = engine_page("vllm-0.32.0-4-after")


async def failure_of(reader: EnginePageReader) -> str:
    with pytest.raises(EngineFailure) as failure:
        await reader.read()
    return failure.value.reason


class TestEngineReader:
    async def test_recognised(self) -> None:
        """An engine is recognised by its page, and read."""
        async with page_server(AFTER) as server:
            reader = EnginePageReader(server.url)
            unknown, counts = reader.engine, await reader.read()

        assert ("", "vllm") == (unknown, reader.engine)
        assert (4585, "tiny-llama") == (counts.output_tokens, counts.model)

    async def test_memory(self) -> None:
        """What must be remembered from page to page is: aborts do not fall while requests are in prefill."""
        async with page_server(AFTER) as server:
            reader = EnginePageReader(server.url, engine="vllm")
            first = await reader.read()
            server.page = AFTER.replace(
                b'vllm:num_requests_running{engine="0",model_name="tiny-llama"} 0.0',
                b'vllm:num_requests_running{engine="0",model_name="tiny-llama"} 5.0',
            )
            second = await reader.read()

        assert (6, 0) == (first.requests_aborted, first.requests_running)
        assert (6, 5) == (second.requests_aborted, second.requests_running)

    @pytest.mark.parametrize(
        ("page", "reason"),
        [
            (b"<html>", "html"),
            (b"up 1\n", "no_family"),
            (b"vllm:generation_tokens_total NaN\n", "bad_value"),
            (b"up 1\n" * 4_000_000, "too_large"),
            (b"\n" * 60_000, "too_many_lines"),
        ],
    )
    async def test_failures(self, page: bytes, reason: str) -> None:
        """Whatever is wrong with a page is one of the documented reasons."""
        async with page_server(page) as server:
            assert reason == await failure_of(EnginePageReader(server.url))

        assert reason in ENGINE_REASONS

    async def test_long_page(self) -> None:
        """A page of more lines than are read at once keeps its tokens, if the rest is nobody's."""
        labels = b'pod="a-name-as-long-as-those-of-pods-are",node="and-that-of-its-node-beside-it"'
        lines = (b'other{x="%d",%s} 1\n' % (n, labels) for n in range(60_000))
        other = b"# TYPE other gauge\n" + b"".join(lines)
        assert len(other) > 5_000_000
        async with page_server(other + AFTER + other) as server:
            counts = await EnginePageReader(server.url).read()

        assert (4585, 64) == (counts.output_tokens, counts.requests_ok)

    async def test_recovery(self) -> None:
        """A page that failed once is read again as soon as it is one."""
        async with page_server(b"<html>") as server:
            reader = EnginePageReader(server.url)
            reason = await failure_of(reader)
            server.page = AFTER

            assert ("html", 4585) == (reason, (await reader.read()).output_tokens)

    async def test_token(self, tmp_path: Path) -> None:
        """The token is read again for every page, so that it can be rotated."""
        file = tmp_path / "token"
        async with page_server(AFTER) as server:
            reader = EnginePageReader(server.url, bearer_token_file=file)
            missing = await failure_of(reader)
            for token in ("one", "two"):
                file.write_text(f"{token}\n")
                await reader.read()

        assert "token_file" == missing
        assert [b"Authorization: Bearer one", b"Authorization: Bearer two"] == [
            line for request in server.requests for line in request.split(b"\r\n") if b"Bearer" in line
        ]

    async def test_credentials(self, tmp_path: Path) -> None:
        """User and password go with every page, from a file that not everybody may read."""
        file = tmp_path / "credentials"
        file.write_text("monitor:secret\n")
        file.chmod(0o644)
        async with page_server(AFTER) as server:
            reader = EnginePageReader(server.url, credentials_file=file)
            open_to_all = await failure_of(reader)
            file.chmod(0o600)
            await reader.read()

        assert "token_file" == open_to_all
        assert b"Authorization: Basic bW9uaXRvcjpzZWNyZXQ=" in server.requests[-1].split(b"\r\n")

    async def test_ca_file(self) -> None:
        """A page over HTTPS is read if its certificate is trusted, and only then."""
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(CERTIFICATE)
        async with page_server(AFTER, served) as server:
            unknown = await failure_of(EnginePageReader(server.url))
            trusted = EnginePageReader(server.url, tls_context=trusting(CERTIFICATE))

            assert ("tls", 4585) == (unknown, (await trusted.read()).output_tokens)

    @pytest.mark.parametrize(
        ("query", "asked"),
        [
            ("model=x", "model=x&autoload=false"),
            ("model=x%20y&autoload=true", "model=x+y&autoload=false"),
            ("autoload=true&model=x", "model=x&autoload=false"),
            ("other=1", "other=1"),
        ],
    )
    async def test_autoload(self, query: str, asked: str) -> None:
        """A request for a model's page on a router never loads the model."""
        async with page_server(AFTER) as server:
            await EnginePageReader(f"{server.url}?{query}").read()

        assert server.requests[0].startswith(f"GET /metrics?{asked} ".encode())

    async def test_draining(self) -> None:
        """A page that hands out records only once is requested once, and never again."""
        async with page_server(b'[{"iter": 1}]') as server:
            reader = EnginePageReader(server.url)
            reasons = [await failure_of(reader) for _ in range(3)]

        assert ["json", "draining", "draining"] == reasons
        assert 1 == len(server.requests)

    async def test_json_error(self) -> None:
        """An error message in JSON is not such a page: it is requested again."""
        async with page_server(b'{"error": "loading"}') as server:
            reader = EnginePageReader(server.url)
            reasons = [await failure_of(reader) for _ in range(2)]

        assert (["json", "json"], 2) == (reasons, len(server.requests))

    async def test_api_key(self, tmp_path: Path) -> None:
        """An engine that protects its page, as llama-server does, gives it to who has the key."""
        key = tmp_path / "key"
        key.write_text("secret\n")
        async with page_server(engine_page("llamacpp-3-after")) as server:
            server.token = b"secret"
            without = await failure_of(EnginePageReader(server.url))
            reader = EnginePageReader(server.url, bearer_token_file=key)

            assert ("status", 67860) == (without, (await reader.read()).output_tokens)

    @pytest.mark.parametrize(
        "options",
        [
            {"engine": "unknown"},
            {"url": "localhost:8000"},
            {"url": "http://127.0.0.1:8000/metrics", "engine": "trtllm"},
        ],
    )
    def test_configuration(self, options: dict[str, Any]) -> None:
        """What cannot work is refused before the first page."""
        with pytest.raises(ValueError):
            EnginePageReader(**{"url": "http://127.0.0.1:8000/metrics", **options})
