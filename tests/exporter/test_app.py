"""The agent's HTTP face, over the wire of a real server."""

import gzip
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.exposition.pages import (
    healthy_8_gpus,
    no_driver,
    node,
    rendered,
    sick_gpu,
    simulated_with_workload,
)
from support.exposition.samples import SAMPLES
from support.servers.web import Answer, fetch, serving

from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_exporter.app import exporter_app
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.family import Collected, Family, Sample

EXPECTED_PAGE = rendered([(family, family.read(healthy_8_gpus())) for family in ALL], "text")


def nothing() -> tuple[Collected[Snapshot], ...]:
    return ()


async def ask(snapshot: Snapshot, path: str, method: str = "GET", **headers: str) -> Answer:
    async with serving(exporter_app(lambda: snapshot, own=nothing)) as port:
        return await fetch(port, path, method, **headers)


class TestMetrics:
    async def test_text(self) -> None:
        """Without wishes, the page is plain text 0.0.4."""
        answer = await ask(healthy_8_gpus(), "/metrics")

        assert (200, EXPECTED_PAGE) == (answer.status, answer.body)
        assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
        assert "content-encoding" not in answer.headers
        assert "accept, accept-encoding" == answer.headers["vary"]

    async def test_gzip(self) -> None:
        """Packed, it is the same page."""
        answer = await ask(healthy_8_gpus(), "/metrics", Accept_Encoding="gzip")

        assert "gzip" == answer.headers["content-encoding"]
        assert EXPECTED_PAGE == gzip.decompress(answer.body)

    async def test_openmetrics(self) -> None:
        """With the wish for it, the page is OpenMetrics, and says so."""
        answer = await ask(healthy_8_gpus(), "/metrics", Accept="application/openmetrics-text;version=1.0.0")

        assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == answer.headers["content-type"]
        assert answer.body.endswith(b"# EOF\n")
        assert list(parse_openmetrics(answer.body.decode()))

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_head(self, encoding: str) -> None:
        """HEAD gives the headers of GET, and no body."""
        get = await ask(healthy_8_gpus(), "/metrics", Accept_Encoding=encoding)
        head = await ask(healthy_8_gpus(), "/metrics", "HEAD", Accept_Encoding=encoding)

        assert (200, b"", get.headers) == (head.status, head.body, head.headers)

    async def test_own_metrics(self) -> None:
        """The process's own metrics stand on the same page."""
        async with serving(exporter_app(healthy_8_gpus)) as port:
            body = (await fetch(port, "/metrics")).body

        assert body.startswith(EXPECTED_PAGE)
        for name in (b"process_cpu_seconds_total", b"process_resident_memory_bytes", b"python_info"):
            assert b"# HELP " + name in body.removeprefix(EXPECTED_PAGE)

    async def test_read_once_a_snapshot(self) -> None:
        """However many scrapes, a snapshot is read once for each representation; a new one is read anew."""
        reads: list[Snapshot] = []

        def read(snapshot: Snapshot) -> Iterator[Sample]:
            reads.append(snapshot)
            yield (), len(reads)

        families = (Family("perwatt_reads", "gauge", "Reads.", (), read),)
        shown = first = healthy_8_gpus()
        app = exporter_app(lambda: shown, families=families, own=nothing)
        async with serving(app) as port:
            for accept in ("text/plain", "application/openmetrics-text"):
                for encoding in ("gzip", "identity"):
                    for _ in range(2):
                        await fetch(port, "/metrics", Accept=accept, Accept_Encoding=encoding)
            shown = second = healthy_8_gpus()
            last = await fetch(port, "/metrics")

        assert [*[id(first)] * 4, id(second)] == [id(snapshot) for snapshot in reads]
        assert b"perwatt_reads 5.0\n" in last.body


class TestHealth:
    @pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_without_a_driver(self, path: str, method: str) -> None:
        """The process is healthy and ready whatever its driver does."""
        answer = await ask(no_driver(), path, method)

        assert 200 == answer.status
        assert "text/plain; charset=utf-8" == answer.headers["content-type"]


class TestRouter:
    @pytest.mark.parametrize("path", ["/metric", "/metrics/", "//", "/%2e%2e/etc/passwd"])
    async def test_nothing_there(self, path: str) -> None:
        """An unknown path is 404, in one plain line that says what there is."""
        answer = await ask(healthy_8_gpus(), path)

        assert 404 == answer.status
        assert b"There is nothing here; try /, /metrics, /-/healthy, /-/ready.\n" == answer.body

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    async def test_other_methods(self, method: str) -> None:
        """Nothing can be changed here: other methods are 405, and the allowed ones are named."""
        answer = await ask(healthy_8_gpus(), "/metrics", method, Content_Length="0")

        assert (405, "GET, HEAD") == (answer.status, answer.headers["allow"])

    async def test_query_is_ignored(self) -> None:
        """A query string does not change the page."""
        assert EXPECTED_PAGE == (await ask(healthy_8_gpus(), "/metrics?name[]=up")).body


class TestLanding:
    @pytest.mark.parametrize("name", SAMPLES)
    async def test_any_snapshot(self, name: str) -> None:
        """Whatever the state of the node, a person finds the way to the metrics."""
        answer = await ask(SAMPLES[name](), "/")

        assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["content-type"])
        assert b'<a href="/metrics">' in answer.body

    async def test_simulated(self) -> None:
        """Simulated figures are called so, in plain sight."""
        assert b"Simulated. These GPUs do not exist" in (await ask(simulated_with_workload(), "/")).body
        assert b"imulated" not in (await ask(healthy_8_gpus(), "/")).body

    async def test_replay(self) -> None:
        """Replayed figures are called so too."""
        replay = node((), backend=BackendStatus("replay", up=True))
        ended = node((), backend=BackendStatus("replay", up=False, reason="recording_ended"))

        assert b"These figures come from a recording" in (await ask(replay, "/")).body
        assert b"replay, the recording has ended" in (await ask(ended, "/")).body

    async def test_facts(self) -> None:
        """The page tells driver and GPUs, or why there is none."""
        healthy = (await ask(healthy_8_gpus(), "/")).body
        absent = (await ask(no_driver(), "/")).body
        sick = (await ask(node((sick_gpu(0, "hung"),), unidentified_gpus=2), "/")).body

        assert b"nvml, driver 570.86.15, NVML 12.570.86.15" in healthy
        assert b"<dd>8 ok</dd>" in healthy
        assert b"nvml, does not answer: library_not_found" in absent
        assert b"<dd>none</dd>" in absent
        assert b"<dd>2 lost, 1 hung</dd>" in sick

    async def test_escaped(self) -> None:
        """What comes from outside is text, never markup."""
        odd = node((), backend=BackendStatus("nvml", up=True, driver_version="<script>"))

        body = (await ask(odd, "/")).body

        assert b"<script>" not in body
        assert b"&lt;script&gt;" in body

    async def test_self_contained(self) -> None:
        """Nothing is loaded from anywhere, and the browser is told to hold us to it."""
        answer = await ask(healthy_8_gpus(), "/")

        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert b"http" not in answer.body
