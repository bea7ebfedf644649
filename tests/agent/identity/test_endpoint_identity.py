"""A configured endpoint's workload is named and labelled once its engine's look-ups are over."""

from pathlib import Path

import pytest
from support.accounts.readings import counts, info
from support.processes.cgroup_trees import add_process
from support.processes.pods import FixedPods

from perwatt_agent.accounting.attribution import Attribution
from perwatt_agent.clock import ManualClock
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller, EngineFailure
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.endpoint_identity import EndpointIdentity
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import LOOKUP_SECONDS
from perwatt_agent.identity.pod_resources import Container
from perwatt_agent.identity.slurm import SlurmJobMap
from perwatt_agent.identity.workload_names import WorkloadNames

REFUSED = EngineFailure("refused", "start the engine")
CHAT_POD = {"GPU-0": (Container("prod", "chat-0", "vllm", ("GPU-0",)),)}


class Reader:
    """An engine at port 8000 that answers what a test decides."""

    engine = "vllm"
    faults = ()
    answer: EngineCounts | EngineFailure = REFUSED

    async def read(self) -> EngineCounts:
        if isinstance(self.answer, EngineFailure):
            raise self.answer
        return self.answer


class House:
    """An endpoint on GPU 0 whose listener, jobs and pods a test decides."""

    def __init__(self, folder: Path, clock: ManualClock, workload: str) -> None:
        self.clock = clock
        self.proc = folder / "proc"
        self.pid: int | None = None
        self.job = folder / "jobs" / "0"
        self.job.parent.mkdir()
        self.pods = FixedPods({})
        self.reader = Reader()
        identifier = Identifier(self.proc, jobs=SlurmJobMap(self.job.parent), pods=self.pods)
        identity = EndpointIdentity(identifier, WorkloadNames(), clock, lambda: self.pid)
        endpoint = Endpoint(WorkloadInfo(workload), 8000, "all", self.reader)
        self._poller = EndpointPoller(endpoint, clock, 5.0, identity)

    async def hear(
        self, answer: EngineCounts | EngineFailure, known: tuple[GpuInfo, ...] = (info(0),)
    ) -> list[EngineSample]:
        """Read the page, five seconds after the last time, and return its samples."""
        self.reader.answer = answer
        self.clock.advance(5.0)
        await self._poller.poll()
        return self._poller.drain(known)


@pytest.fixture
def house(tmp_path: Path, clock: ManualClock) -> House:
    return House(tmp_path, clock, "")


class TestName:
    async def test_by_the_listener(self, house: House) -> None:
        """A workload without a name is called after whom the listening process works for."""
        add_process(house.proc, 7, "0::/system.slice/vllm.service")
        house.pid = 7

        (sample,) = await house.hear(counts(1.0))
        assert WorkloadInfo("vllm.service", engine="vllm", systemd_unit="vllm.service") == sample.info

    async def test_by_the_gpus(self, house: House) -> None:
        """Where the listener is not known, whom the GPUs were given to has the workload."""
        house.job.write_text("12\n")

        (sample,) = await house.hear(counts(1.0))
        assert WorkloadInfo("slurm-12", engine="vllm", slurm_job="12") == sample.info

    async def test_by_nothing(self, house: House) -> None:
        """A failed look-up leaves labels empty, and the name is the engine's and its port's."""
        house.pid = 4711

        (sample,) = await house.hear(counts(1.0))
        assert WorkloadInfo("vllm-8000", engine="vllm") == sample.info

    async def test_configured(self, tmp_path: Path, clock: ManualClock) -> None:
        """A configured name stays, and gets its labels."""
        house = House(tmp_path, clock, "chat")
        house.pods.by_gpu = CHAT_POD

        (sample,) = await house.hear(counts(1.0))
        assert WorkloadInfo(
            "chat", engine="vllm", k8s_namespace="prod", k8s_pod="chat-0", k8s_container="vllm"
        ) == (sample.info)


class TestPatience:
    async def test_until_pods_are_known(self, house: House) -> None:
        """What is to be named waits for the kubelet's first answer; its last page waits with it."""
        house.pods.pending = True
        assert [[], []] == [await house.hear(counts(1.0)), await house.hear(counts(2.0))]

        house.pods.by_gpu, house.pods.pending = CHAT_POD, False
        samples = await house.hear(counts(3.0))
        assert [2.0, 3.0] == [sample.counts and sample.counts.output_tokens for sample in samples]
        assert {"prod/chat-0/vllm"} == {sample.info.workload for sample in samples}

    async def test_until_gpus_are_known(self, house: House) -> None:
        """While no GPU is known, look-ups by GPU are pending."""
        house.job.write_text("12\n")
        assert [] == await house.hear(counts(1.0), known=())

        (_, sample) = await house.hear(counts(1.0))
        assert "slurm-12" == sample.info.workload

    async def test_for_so_long(self, house: House) -> None:
        """Nothing is waited for without end: then the label stays empty."""
        house.pods.pending = True
        await house.hear(counts(1.0))
        house.clock.advance(LOOKUP_SECONDS)

        assert "vllm-8000" == (await house.hear(counts(1.0)))[-1].info.workload

    async def test_final_with_its_labels(self, tmp_path: Path, clock: ManualClock) -> None:
        """Samples before the end of the look-ups have no engine, which marks them as not final."""
        house = House(tmp_path, clock, "chat")
        house.pods.pending = True
        attribution = Attribution()

        attribution.receive(await house.hear(counts(1.0)))
        (workload,) = attribution.workloads()
        assert not workload.info_is_final
        house.pods.by_gpu, house.pods.pending = CHAT_POD, False
        attribution.receive(await house.hear(counts(2.0)))
        (workload,) = attribution.workloads()
        assert workload.info_is_final
        assert "chat-0" == workload.info.k8s_pod


class TestLives:
    async def test_same_process(self, house: House) -> None:
        """A page that was out of reach for a while is the same workload's when its process is the same."""
        house.job.write_text("12\n")
        await house.hear(counts(1.0, born=0.0))
        house.job.write_text("13, which is not looked up\n")
        await house.hear(REFUSED)

        (sample,) = await house.hear(counts(2.0, born=1.0))
        assert "slurm-12" == sample.info.workload

    async def test_next_job(self, house: House) -> None:
        """Another process at the same port is looked up again; the previous workload ends."""
        house.job.write_text("12\n")
        await house.hear(counts(9.0, born=0.0))
        house.job.unlink()
        (house.job.parent / "0").write_text("013\n")

        ended, sample = await house.hear(counts(1.0, born=1_005.0))
        assert ("slurm-12", (), True) == (ended.info.workload, ended.gpus, ended.ended)
        assert ("slurm-013", ("GPU-0",)) == (sample.info.workload, sample.gpus)

    async def test_without_a_start(self, house: House) -> None:
        """An engine without a start time may be another one after each failed page."""
        house.job.write_text("12\n")
        await house.hear(counts(9.0))
        house.job.write_text("013\n")
        assert "slurm-12" == (await house.hear(counts(10.0)))[-1].info.workload
        await house.hear(REFUSED)

        assert "slurm-013" == (await house.hear(counts(1.0)))[-1].info.workload
