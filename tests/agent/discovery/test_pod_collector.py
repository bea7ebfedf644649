"""Engines in pods are found without their processes: GPU -> pod -> page, over real sockets."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from support.accounts.readings import info, mig
from support.agent.process import perwatt
from support.engines import engine_trees
from support.engines.engine_pages import engine_page, page_server
from support.gpus.fakenvml import FakeDriver
from support.processes.kubelet import FakeKubelet
from support.processes.kubelet import pod as given
from support.processes.kubelet_pods import CERTIFICATE, TOKEN, FakePodList, listing, pod
from support.processes.pods import FixedPods
from support.processes.process_trees import NOTHING, Tree, running

from perwatt_agent.clock import ManualClock
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.pod_collector import PodCollector
from perwatt_agent.discovery.pod_list import Pod, PodList
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.identity.pod_resources import Container
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.net.page_identity import page_identity

GPUS = (info(0), info(1))
CHAT = Container("prod", "chat-0", "vllm", ("GPU-0",))
NAME = "prod/chat-0/vllm"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def kubelet() -> Iterator[FakePodList]:
    with listing() as pods:
        yield pods


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Tree]:
    with running(tmp_path / "engine", engine_trees.vllm()) as tree:
        yield tree


class Unhurried(ManualClock):
    """
    Time is driven by hand, and whoever sleeps lets some of the real one pass: a page that is asked without
    pause takes up all ports of the machine.
    """

    async def sleep_until(self, monotonic_seconds: float) -> None:
        await super().sleep_until(monotonic_seconds)
        await asyncio.sleep(0.05)


@pytest.fixture
def clock() -> ManualClock:
    return Unhurried()


class House:
    """A pod collector over the kubelet's list, and what it reports in each round."""

    def __init__(
        self,
        kubelet: FakePodList,
        folder: Path,
        clock: ManualClock,
        configured: ConfiguredEndpoints = ConfiguredEndpoints(),  # noqa: B008 - it is frozen
        listed: PodList | None = None,
    ) -> None:
        token = folder / "token"
        token.write_text(f"{TOKEN}\n")
        self.clock = clock
        listed = listed or PodList(kubelet.url, ca_file=CERTIFICATE, token_file=token)
        self.holders = FixedPods({"GPU-0": (CHAT,)})
        self.collector = PodCollector(listed, self.holders, WorkloadNames(), configured, clock, 5.0)

    async def look(self) -> list[EngineSample]:
        """Run one round, a minute after the last one, and return what was received."""
        self.collector.drain(GPUS, ())
        self.clock.advance(61.0)
        await self.collector.round()
        return self.collector.drain(GPUS, ())

    async def listen(self) -> list[EngineSample]:
        """Run one round, and return what was received until an engine has reported tokens."""

        async def until_tokens() -> None:
            while not any(sample.counts for sample in told):
                await asyncio.sleep(0.01)
                told.extend(self.collector.drain(GPUS, ()))

        told = await self.look()
        await asyncio.wait_for(until_tokens(), PATIENCE_SECONDS)
        return told


class TestHttps:
    @pytest.mark.parametrize("annotated", [True, False])
    async def test_certificate(
        self, kubelet: FakePodList, tmp_path: Path, clock: ManualClock, annotated: bool
    ) -> None:
        """An engine with a certificate is read over HTTPS, whether its pod says so or not."""
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(CERTIFICATE)
        async with page_server(engine_page("vllm-0.32.0-4-after"), served) as server:
            chat = pod("prod", "chat-0", urlsplit(server.url).port)
            if annotated:
                chat["metadata"]["annotations"]["prometheus.io/scheme"] = "https"
            kubelet.answer(chat)
            house = House(kubelet, tmp_path, clock)
            sample = (await house.listen())[-1]
            await house.look()

        assert (NAME, "vllm") == (sample.info.workload, sample.info.engine)
        assert [] == [one for one in house.collector.health().failures if one[0] == "tls"]


class TestRole:
    """A pod's role: from the launch in its spec, else from its labels."""

    LAUNCH = 'exec vllm serve m --kv-transfer-config \'{"kv_connector":"NixlConnector","kv_role":"%s"}\''

    @pytest.mark.parametrize(
        ("kv_role", "labels", "role"),
        [
            ("kv_producer", {}, "prefill"),
            ("kv_consumer", {"llm-d.ai/role": "prefill"}, "decode"),
            ("kv_both", {"llm-d.ai/role": "prefill"}, "prefill"),
            ("kv_both", {"llm-d.ai/role": "both"}, "mixed"),
            ("", {"app.kubernetes.io/component": "Decode"}, "decode"),
            ("", {"app": "decode"}, "mixed"),
        ],
    )
    async def test_role(
        self,
        kubelet: FakePodList,
        engine: Tree,
        tmp_path: Path,
        clock: ManualClock,
        kv_role: str,
        labels: dict[str, str],
        role: str,
    ) -> None:
        launch = {"command": ["sh", "-c"], "args": [self.LAUNCH % kv_role]} if kv_role else {}
        chat = pod("prod", "chat-0", engine.port("api"), containers=[{"name": "vllm", **launch}])
        chat["metadata"]["labels"] = labels
        kubelet.answer(chat)
        sample = (await House(kubelet, tmp_path, clock).listen())[-1]

        assert role == sample.info.role
        assert sample.counts is not None
        assert (role == "prefill") == (sample.counts.output_tokens is None)


class TestFound:
    async def test_tokens_and_gpus(
        self, kubelet: FakePodList, engine: Tree, tmp_path: Path, clock: ManualClock
    ) -> None:
        """An annotated pod that holds a GPU is a workload, with its page and its GPUs."""
        kubelet.answer(pod("prod", "other", 1), pod("prod", "chat-0", engine.port("api")))
        sample = (await House(kubelet, tmp_path, clock).listen())[-1]

        assert (NAME, "vllm", ("GPU-0",)) == (sample.info.workload, sample.info.engine, sample.gpus)
        assert ("prod", "chat-0", "vllm") == (
            sample.info.k8s_namespace,
            sample.info.k8s_pod,
            sample.info.k8s_container,
        )
        assert sample.counts is not None
        assert 4585 == sample.counts.output_tokens

    @pytest.mark.parametrize(
        ("options", "missing"),
        [
            ("-dp 2 --data-parallel-size-local 2 --data-parallel-multi-port-external-lb", 1),
            ("-dp 2 -tp 2 --data-parallel-rank 0", 0),
            ("-tp 4", 2),
            ("", 0),
        ],
    )
    async def test_ranks(
        self,
        kubelet: FakePodList,
        engine: Tree,
        tmp_path: Path,
        clock: ManualClock,
        options: str,
        missing: int,
    ) -> None:
        """The page of a pod must count the work of all its GPUs, and of no others."""
        launch = {"command": ["sh", "-c"], "args": [f"exec vllm serve m {options}"]}
        containers = [{"name": "vllm", **launch}]
        kubelet.answer(pod("prod", "chat-0", engine.port("api"), containers=containers))
        house = House(kubelet, tmp_path, clock)
        both = msgspec.structs.replace(CHAT, devices=("GPU-0", "GPU-1"))
        house.holders.by_gpu = {"GPU-0": (both,), "GPU-1": (both,)}
        sample = (await house.listen())[-1]

        assert (("GPU-0", "GPU-1"), missing) == (sample.gpus, sample.missing_gpus or 0)

    async def test_mig_instance(
        self, kubelet: FakePodList, engine: Tree, tmp_path: Path, clock: ManualClock
    ) -> None:
        """A pod that was given a MIG instance holds that part of a GPU."""
        kubelet.answer(pod("prod", "chat-0", engine.port("api")))
        house = House(kubelet, tmp_path, clock)
        house.holders.by_gpu = {"MIG-b": (msgspec.structs.replace(CHAT, devices=("MIG-b::0",)),)}
        slow = GpuSlowReading(0.0, mig=(mig("a", 3), mig("b", 4)))
        house.collector.drain(GPUS, [GpuSample("GPU-1", "ok", slow=slow)])
        sample = (await house.listen())[-1]

        assert (NAME, ("GPU-1",), {"GPU-1": ("MIG-b",)}) == (
            sample.info.workload,
            sample.gpus,
            sample.migs,
        )

    async def test_end(self, kubelet: FakePodList, engine: Tree, tmp_path: Path, clock: ManualClock) -> None:
        """Another pod of the same name is the workload's next life; once there is none it is over, once."""
        house = House(kubelet, tmp_path, clock)
        for uid in ("u1", "u2"):
            kubelet.answer(pod("prod", "chat-0", engine.port("api"), uid=uid))
            assert {(NAME, False)} == {(one.info.workload, one.ended) for one in await house.listen()}

        kubelet.answer()
        told = [*await house.look(), *house.collector.drain(GPUS, ()), *house.collector.drain(GPUS, ())]
        assert [(NAME, ())] == [(one.info.workload, one.gpus) for one in told if one.ended]
        assert told[-1].ended

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    async def test_finished(
        self,
        kubelet: FakePodList,
        engine: Tree,
        tmp_path: Path,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
        phase: str,
    ) -> None:
        """A pod that has finished holds no GPU, whatever the kubelet still lists; it is not asked."""
        over = pod("prod", "chat-0", engine.port("api"))
        over["status"]["phase"] = phase
        kubelet.answer(over)

        assert [] == await House(kubelet, tmp_path, clock).look()
        assert [] == engine.heard("api")
        assert "" == caplog.text

    async def test_kubelet_is_away(
        self, kubelet: FakePodList, engine: Tree, tmp_path: Path, clock: ManualClock
    ) -> None:
        """While the kubelet does not answer, the engines that were found are still read."""
        house = House(kubelet, tmp_path, clock)
        kubelet.answer(pod("prod", "chat-0", engine.port("api")))
        await house.listen()
        kubelet.status = 503

        assert {NAME} == {one.info.workload for one in await house.listen() if one.counts}
        assert (False, (("status", 1),)) == (
            house.collector.health().success,
            house.collector.health().failures,
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"port": None}, "not annotated with prometheus.io/scrape"),
            ({"hostNetwork": True}, "on the host's network"),
            ({"address": ""}, "no address yet"),
            ({"port": 1}, "no connection"),
        ],
    )
    async def test_pods(
        self,
        kubelet: FakePodList,
        engine: Tree,
        tmp_path: Path,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
        options: dict[str, Any],
        why: str,
    ) -> None:
        """A pod without annotations or without a page is no workload; the reason is logged once."""
        house = House(kubelet, tmp_path, clock)
        kubelet.answer(pod("prod", "chat-0", **{"port": engine.port("api"), **options}))

        assert [[], []] == [await house.look(), await house.look()]
        assert 1 == caplog.text.count("pod prod/chat-0 has no tokens: ")
        assert why in caplog.text
        assert [] == engine.heard("api")

    async def test_no_engine(
        self, kubelet: FakePodList, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page without counters of an engine is refused."""
        with running(tmp_path / "other", engine_trees.vllm(NOTHING)) as tree:
            kubelet.answer(pod("prod", "chat-0", tree.port("api")))

            assert [] == await House(kubelet, tmp_path, clock).look()
            assert "HTTP 404" in caplog.text

    @pytest.mark.parametrize("what", ["GPU", "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
    async def test_configured(
        self,
        kubelet: FakePodList,
        engine: Tree,
        tmp_path: Path,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
        what: str,
    ) -> None:
        """Configuration always wins, however the host of the page is spelt."""
        page = page_identity(f"http://{what}:{engine.port('api')}/metrics")
        configured = ConfiguredEndpoints(exclusive=((0,),))
        if what != "GPU":
            configured = ConfiguredEndpoints(pages=frozenset({page.address}))
        kubelet.answer(pod("prod", "chat-0", engine.port("api")))

        assert [] == await House(kubelet, tmp_path, clock, configured).look()
        assert ("GPU 0 is claimed" if what == "GPU" else "its page is configured") in caplog.text
        assert [] == engine.heard("api")


class TestKubelet:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [(b"no JSON", "json"), (b'{"items": 1}', "json"), (b"x" * (33 << 20), "too_large")],
    )
    async def test_garbage(
        self, kubelet: FakePodList, tmp_path: Path, clock: ManualClock, body: bytes, reason: str
    ) -> None:
        """An answer that is no list of pods is bounded and counted."""
        house = House(kubelet, tmp_path, clock)
        kubelet.body = body
        assert [] == await house.look()

        assert ((reason, 1),) == house.collector.health().failures

    @pytest.mark.parametrize(
        ("ca_file", "token_file", "reason"),
        [(None, "token", "tls"), (CERTIFICATE, None, "status"), (CERTIFICATE, "absent", "token_file")],
    )
    async def test_strangers(
        self,
        kubelet: FakePodList,
        tmp_path: Path,
        clock: ManualClock,
        ca_file: Path | None,
        token_file: str | None,
        reason: str,
    ) -> None:
        """A kubelet whose certificate is not trusted receives no token; without a token there is no list."""
        token = tmp_path / token_file if token_file else None
        listed = PodList(kubelet.url, ca_file=ca_file, token_file=token)
        house = House(kubelet, tmp_path, clock, listed=listed)
        assert [] == await house.look()

        assert ((reason, 1),) == house.collector.health().failures

    @pytest.mark.parametrize(
        ("annotations", "address", "url"),
        [
            ({"prometheus.io/scrape": "true", "prometheus.io/port": "8"}, "10.0.0.1", "http://10.0.0.1:8/metrics"),
            (
                {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": "8",
                    "prometheus.io/path": "v1/metrics",
                    "prometheus.io/scheme": "https",
                },
                "fd00::1",
                "https://[fd00::1]:8/v1/metrics",
            ),
            (
                {
                    "serving.kserve.io/enable-prometheus-scraping": "true",
                    "prometheus.kserve.io/port": "8080",
                    "prometheus.kserve.io/path": "/metrics",
                },
                "10.0.0.1",
                "http://10.0.0.1:8080/metrics",
            ),
        ],
    )  # fmt: skip
    def test_annotations(self, annotations: dict[str, str], address: str, url: str) -> None:
        """Prometheus's and KServe's annotations say where the page is."""
        listed = {"metadata": {"annotations": annotations}, "status": {"podIP": address}}

        assert url == msgspec.convert(listed, Pod).page_url()


@pytest.mark.slow
def test_whole_agent(kubelet: FakePodList, engine: Tree, tmp_path: Path) -> None:
    """
    With the kubelet's socket and its list, and no process in sight, an engine in a pod shows its tokens and
    the joules of the pod's GPU; once the pod is gone it is down.
    """
    pytest.importorskip("grpc")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    devices = FakeKubelet(tmp_path)
    kubelet.answer(pod("prod", "chat-0", engine.port("api")))
    with FakeDriver.create(tmp_path, gpus=2, real_time=True) as driver:
        devices.answer([given("prod", "chat-0", "vllm", driver.uuid(1))])
        arguments = {
            "identity.pod-resources-socket": devices.socket,
            "identity.kubelet-url": kubelet.url,
            "identity.kubelet-ca-file": CERTIFICATE,
            "identity.kubelet-token-file": token,
            "engines.interval": "1s",
        }
        flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        with devices.serving(), perwatt(tmp_path, "agent", *flags, environment=driver.environment()) as agent:
            page = agent.wait_for(
                lambda page: page.values(
                    "perwatt_workload_energy_joules_total", state="idle", gpu=driver.uuid(1)
                )
            )
            assert 4585 == page.value("perwatt_output_tokens_total", workload=NAME)
            assert 1 == page.value("perwatt_workload_info", workload=NAME, k8s_pod="chat-0", engine="vllm")
            assert not page.values("perwatt_workload_energy_joules_total", gpu=driver.uuid(0))

            kubelet.answer()
            agent.wait_for(lambda page: page.value("perwatt_workload_up", workload=NAME) == 0)
