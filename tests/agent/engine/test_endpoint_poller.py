"""Pages of engines are polled at a limited cost to them, and every fetch is reported once."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest
from support.accounts.readings import BOOT_UNIX_SECONDS, counts, info, mig

from perwatt.run.discovery import claims
from perwatt_agent.clock import ManualClock
from perwatt_agent.config import AgentConfig, EndpointConfig, EnginesConfig
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller, EngineFailure
from perwatt_agent.engine.followers import Follower, FollowerClaims
from perwatt_agent.engine.gpu_claims import Claim, GpuClaims, GpuSelector, selected
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.workload import WorkloadInfo

GPUS = (info(0), info(1), info(2))
REFUSED = EngineFailure("refused", "nobody listens: start the engine")


class FakeReader:
    """Returns the given counts, each after `seconds`; stops the test when none is left."""

    def __init__(
        self, clock: ManualClock, answers: Sequence[EngineCounts | Exception], seconds: float = 0.01
    ) -> None:
        self.engine = "vllm"
        self.faults: tuple[EngineFailure, ...] = ()
        self.asked_at: list[float] = []
        self.seconds = seconds
        self._clock = clock
        self._answers = iter(answers)

    async def read(self) -> EngineCounts:
        self.asked_at.append(self._clock.monotonic())
        answer = next(self._answers, None)
        if answer is None:
            raise asyncio.CancelledError
        self._clock.advance(self.seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer


def divided(gpu: int, *instances: str) -> GpuSample:
    """A GPU that was read slowly, with these instances."""
    slow = GpuSlowReading(0.0, mig=tuple(mig(name, 1) for name in instances))
    return GpuSample(f"GPU-{gpu}", "ok", slow=slow)


def polling(
    clock: ManualClock,
    *answers: EngineCounts | Exception,
    workload: str = "chat",
    gpus: GpuSelector = "all",
    seconds: float = 0.01,
) -> tuple[EndpointPoller, FakeReader]:
    reader = FakeReader(clock, answers, seconds)
    return EndpointPoller(Endpoint(WorkloadInfo(workload), 8000, gpus, reader), clock, 5.0), reader


def told(samples: Sequence[EngineSample]) -> list[tuple[float | None, str]]:
    return [(sample.counts.output_tokens if sample.counts else None, sample.failure) for sample in samples]


@pytest.mark.parametrize(
    ("selector", "uuids"),
    [
        pytest.param("all", ["GPU-0", "GPU-1", "GPU-2"], id="all"),
        pytest.param((2, 0), ["GPU-0", "GPU-2"], id="indices"),
        pytest.param(("GPU-1",), ["GPU-1"], id="UUIDs"),
        pytest.param((7, "GPU-9"), [], id="not known yet"),
        pytest.param((), [], id="none"),
    ],
)
def test_selected(selector: GpuSelector, uuids: list[str]) -> None:
    """GPUs are named by index or UUID, and come in the driver's order."""
    assert tuple(uuids) == selected(selector, GPUS)


class TestGpuClaims:
    CLAIMS = (Claim("chat", (0, 1)), Claim("embed", ("GPU-1", "GPU-2")))

    def test_two_names_of_one_gpu(self, caplog: pytest.LogCaptureFixture) -> None:
        """If a GPU is claimed by index and by UUID, the first claim has it, and that is logged once."""
        gpu_claims = GpuClaims(self.CLAIMS)
        assert [(), ()] == [gpu_claims.held(claim.gpus, ()).gpus for claim in self.CLAIMS], (
            "before the driver spoke"
        )
        for _ in range(3):
            held = [gpu_claims.held(claim.gpus, GPUS).gpus for claim in self.CLAIMS]

        assert [("GPU-0", "GPU-1"), ("GPU-2",)] == held
        assert [
            "GPU 1 is GPU-1, which chat and embed both claim: embed does not get its joules; set "
            "`shared: true` on both, or change the `gpus` of one"
        ] == caplog.messages

    def test_shared(self, caplog: pytest.LogCaptureFixture) -> None:
        """What both share, both have."""
        shared = [msgspec.structs.replace(claim, shared=True) for claim in self.CLAIMS]
        gpu_claims = GpuClaims(shared)

        assert [("GPU-0", "GPU-1"), ("GPU-1", "GPU-2")] == [
            gpu_claims.held(one.gpus, GPUS).gpus for one in shared
        ]
        assert [] == caplog.messages

    async def test_their_samples(self, clock: ManualClock) -> None:
        """Endpoints and followers report the GPUs that they hold."""
        gpu_claims = GpuClaims((*self.CLAIMS, Claim("big", (2,))))
        reader = FakeReader(clock, [counts(1.0)], 0.01)
        endpoint = Endpoint(WorkloadInfo("embed"), 8000, ("GPU-1", "GPU-2"), reader)
        poller = EndpointPoller(endpoint, clock, 5.0, gpu_claims=gpu_claims)
        await poller.poll()

        assert [("GPU-2",)] == [sample.gpus for sample in poller.drain(GPUS)]
        (sample,) = FollowerClaims([Follower(WorkloadInfo("big"), (2,))], clock, gpu_claims).drain(GPUS)
        assert () == sample.gpus

    def test_instances(self, caplog: pytest.LogCaptureFixture) -> None:
        """Two parts of one GPU are no dispute; a part and the whole are, and so is the same part."""
        claims = (
            *(Claim("a", ("MIG-a",)), Claim("b", ("MIG-b", 1)), Claim("c", (0,))),
            Claim("d", ("MIG-a", "MIG-z")),
        )
        gpu_claims = GpuClaims(claims)
        gpu_claims.update([divided(0, "a", "b")])

        assert [
            HeldGpus(("GPU-0",), {"GPU-0": ("MIG-a",)}, 0),
            HeldGpus(("GPU-0", "GPU-1"), {"GPU-0": ("MIG-b",)}, 0),
            HeldGpus(missing=0),
            HeldGpus(missing=1),
        ] == [gpu_claims.held(claim.gpus, GPUS) for claim in claims]
        assert ["a and c", "a and d"] == [text.split("which ")[1][:7] for text in caplog.messages[:2]]

    def test_an_instance_that_comes_and_goes(self, caplog: pytest.LogCaptureFixture) -> None:
        """An instance is held on its GPU, missing if it does not exist, and unknown before any report."""
        gpu_claims = GpuClaims((Claim("a", ("MIG-a",)),))
        told = []
        for gpus in ((), (divided(0),), (divided(0, "a"),), (GpuSample("GPU-0", "lost"),), (divided(0),)):
            gpu_claims.update(gpus)
            told.append(gpu_claims.held(("MIG-a",), GPUS))

        here = HeldGpus(("GPU-0",), {"GPU-0": ("MIG-a",)}, 0)
        lost = msgspec.structs.replace(here, missing=1)
        assert [HeldGpus(), HeldGpus(missing=1), here, lost, HeldGpus(missing=1)] == told
        assert 2 == caplog.text.count("a claims MIG-a, which does not exist")

    async def test_their_samples_in_parts(self, clock: ManualClock) -> None:
        """An endpoint reports its instances with every page, a follower when they change."""
        gpu_claims = GpuClaims((Claim("chat", ("MIG-a",)), Claim("big", ("MIG-b",))))
        gpu_claims.update([divided(0, "a")])
        endpoint = Endpoint(WorkloadInfo("chat"), 8000, ("MIG-a",), FakeReader(clock, [counts(1.0)], 0.01))
        poller = EndpointPoller(endpoint, clock, 5.0, gpu_claims=gpu_claims)
        followers = FollowerClaims([Follower(WorkloadInfo("big"), ("MIG-b",))], clock, gpu_claims)
        await poller.poll()

        (sample,) = poller.drain(GPUS)
        assert (("GPU-0",), {"GPU-0": ("MIG-a",)}, 0) == (sample.gpus, sample.migs, sample.missing_gpus)
        (sample,) = followers.drain(GPUS)
        assert ((), {}, 1, False) == (sample.gpus, sample.migs, sample.missing_gpus, sample.has_page)
        assert [] == followers.drain(GPUS)
        gpu_claims.update([divided(0, "b")])
        (sample,) = followers.drain(GPUS)
        assert (("GPU-0",), {"GPU-0": ("MIG-b",)}, 0) == (sample.gpus, sample.migs, sample.missing_gpus)

    def test_configured(self) -> None:
        """The order of the configuration decides."""
        config = EnginesConfig(
            endpoints=(
                EndpointConfig(url="http://a/metrics", gpus=(0,)),
                EndpointConfig(group="big", gpus=("GPU-0",), shared=True),
            )
        )
        assert (Claim("http://a/metrics", (0,)), Claim("big", ("GPU-0",), shared=True)) == claims(
            AgentConfig(engines=config)
        )


class TestPoll:
    async def test_instant(self, clock: ManualClock) -> None:
        """Counts hold at the middle of their fetch, on both clocks."""
        poller, _ = polling(clock, counts(5.0), seconds=0.5)
        await poller.poll()
        (sample,) = poller.drain(GPUS)

        assert ("chat", "vllm") == (sample.info.workload, sample.info.engine)
        assert (1_000.25, counts(5.0), "") == (sample.monotonic_seconds, sample.counts, sample.failure)
        assert pytest.approx(BOOT_UNIX_SECONDS + 0.25) == sample.unix_seconds

    async def test_drained_once(self, clock: ManualClock) -> None:
        """Everything received since the last time is reported once, in order."""
        poller, _ = polling(clock, counts(5.0), REFUSED, counts(6.0))
        for _ in range(3):
            await poller.poll()

        assert [(5.0, ""), (None, "refused"), (6.0, "")] == told(poller.drain(GPUS))
        assert [] == poller.drain(GPUS)

    async def test_failures(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """A failure is logged when it begins and when it is over, and counted each time."""
        caplog.set_level(logging.INFO)
        poller, _ = polling(clock, REFUSED, REFUSED, counts(1.0))
        await poller.poll()
        await poller.poll()
        assert not poller.health.snapshot().success

        await poller.poll()
        assert poller.health.snapshot().success
        assert (("refused", 2),) == poller.health.snapshot().failures
        assert ["WARNING", "INFO"] == [record.levelname for record in caplog.records]
        assert "chat: no tokens (refused): nobody listens" in caplog.text

    async def test_faults(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """What is left out of a page that stands is counted each time, logged once, and no failure."""
        poller, reader = polling(clock, counts(1.0), counts(2.0))
        reader.faults = (EngineFailure("bad_histogram", "ttft is left out: its counts fall"),)
        await poller.poll()
        await poller.poll()

        assert (True, (("bad_histogram", 2),)) == (
            poller.health.snapshot().success,
            poller.health.snapshot().failures,
        )
        assert ["chat: ttft is left out: its counts fall"] == caplog.messages

    async def test_surprise(self, clock: ManualClock) -> None:
        """A reader that fails by surprise is a failed fetch like any other."""
        poller, _ = polling(clock, ZeroDivisionError("surprise"), counts(1.0))
        await poller.poll()
        await poller.poll()

        assert [(None, "unexpected"), (1.0, "")] == told(poller.drain(GPUS))


class TestPace:
    @pytest.mark.parametrize(
        ("took", "period"),
        [
            pytest.param(0.01, 5.0, id="fast"),
            pytest.param(0.05, 5.0, id="just fast"),
            pytest.param(0.2, 20.0, id="slow: 1 % of the engine's time"),
            pytest.param(2.0, 60.0, id="very slow: once a minute"),
        ],
    )
    async def test_period(self, clock: ManualClock, took: float, period: float) -> None:
        """
        A page is fetched every interval, more rarely once it took long twice, and at least each minute.
        """
        poller, reader = polling(clock, *[counts(1.0)] * 3, seconds=took)
        with pytest.raises(asyncio.CancelledError):
            await poller.run()

        second = 1_005.0  # once may be the machine's fault
        assert pytest.approx([1_000.0, second, second + period, second + 2 * period]) == reader.asked_at


class TestClaims:
    def test_without_a_page(self, clock: ManualClock) -> None:
        """GPUs are claimed before the first page, and again when they change, and not in between."""
        poller, _ = polling(clock)

        (claim,) = poller.drain(GPUS[:1])
        assert (("GPU-0",), None, "") == (claim.gpus, claim.counts, claim.failure)
        assert [] == poller.drain(GPUS[:1])
        (claim,) = poller.drain(GPUS)
        assert ("GPU-0", "GPU-1", "GPU-2") == claim.gpus

    async def test_with_a_page(self, clock: ManualClock) -> None:
        """Every page claims, and needs no claim of its own."""
        poller, _ = polling(clock, counts(1.0))
        await poller.poll()

        assert [("GPU-1",)] == [sample.gpus for sample in poller.drain(GPUS[1:2])]
        assert [] == poller.drain(GPUS[1:2])


class TestName:
    async def test_after_engine_and_port(self, clock: ManualClock) -> None:
        """A workload without a name is named by its engine and port, and is not reported before that."""
        poller, reader = polling(clock, *[REFUSED] * 50, counts(1.0), workload="")
        reader.engine = ""
        for _ in range(50):
            await poller.poll()
            assert [] == poller.drain(GPUS)
        reader.engine = "vllm"
        await poller.poll()
        samples = poller.drain(GPUS)

        assert [(None, "refused"), (1.0, "")] == told(samples)
        assert {"vllm-8000"} == {sample.info.workload for sample in samples}
