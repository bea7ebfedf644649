"""Probe of an engine's socket, over plain HTTP and over HTTPS."""

import os
import ssl
from urllib.parse import urlsplit

import pytest
from support.engines.engine_pages import engine_page, page_server
from support.processes.kubelet_pods import CERTIFICATE

from perwatt_agent.discovery.probe import ProbedPage, probe
from perwatt_agent.discovery.process_table import Process
from perwatt_agent.discovery.search import Candidate, DiscoveredEngine
from perwatt_agent.discovery.sockets import Listener
from perwatt_agent.engine.kinds.kserve import KSERVE
from perwatt_agent.engine.kinds.vllm import VLLM

AFTER = engine_page("vllm-0.32.0-4-after")
SELF = Process(os.getpid(), 1, 1, "python")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def engine(url: str, kind: object = VLLM) -> DiscoveredEngine:
    port = urlsplit(url).port or 0
    candidate = Candidate(Listener("127.0.0.1", port), SELF)
    return DiscoveredEngine(kind, SELF, (SELF,), "vllm", ("GPU-0",), 1, port, candidates=(candidate,))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [VLLM, KSERVE])
@pytest.mark.parametrize("secure", [False, True])
async def test_page(secure: bool, kind: object) -> None:
    """An engine that serves its page over HTTPS alone is found there, by KServe's launch as well."""
    async with page_server(AFTER, server_context() if secure else None) as server:
        page = await probe(engine(server.url, kind), lambda process: True)
        assert isinstance(page, ProbedPage)
        assert (server.url, "vllm") == (page.url, page.reader.engine)
        assert 4585 == (await page.reader.read()).output_tokens


async def test_neither() -> None:
    """What speaks neither is refused, with the reason of the second."""

    async with page_server(b"", server_context()) as server:
        server.token = b"secret"
        assert f"{server.url}: HTTP 401" == await probe(engine(server.url), lambda process: True)
