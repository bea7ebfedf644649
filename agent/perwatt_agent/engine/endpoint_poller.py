"""Poll the engines' pages, each at its own pace, off the sampling path."""

import logging
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.engine.gpu_claims import GpuClaims, GpuSelector
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.endpoint_identity import EndpointIdentity
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.workload_names import WorkloadNames

logger = logging.getLogger(__name__)

# A page costs the engine's own serving process as long as it takes: ask for at most 1 % of its time
# once a page takes more than this.
SLOW_PAGE_SECONDS = 0.05
WAIT_PER_PAGE = 100.0
MOST_WAIT_SECONDS = 60.0


class EngineFailure(Exception):
    """An engine's page could not be had or read; `reason` is a short closed word for labels."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CountsReader(Protocol):
    """
    Where an engine's counts come from; `engine` is its name, empty until it was recognised, and `faults`
    what of the latest page was left out.
    """

    @property
    def engine(self) -> str: ...

    @property
    def faults(self) -> tuple[EngineFailure, ...]: ...

    # Raises EngineFailure.
    async def read(self) -> EngineCounts: ...


class Endpoint(Struct, frozen=True):
    """
    One engine page: whose it is, which GPUs it holds, and how it is read; `host` is that of its URL.

    Where `info` names no workload, it is called after the engine and `port`, once that is recognised.
    """

    info: WorkloadInfo
    port: int
    gpus: GpuSelector
    reader: CountsReader
    host: str = ""


class EndpointPoller:
    """
    Read one endpoint every `interval_seconds`, slower while its page takes long.

    *identity* has its labels; without one, there are none. *gpu_claims* resolve which of the GPUs that it
    claims are its own; without them, all are.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        interval_seconds: float,
        identity: EndpointIdentity | None = None,
        gpu_claims: GpuClaims | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._identity = identity or EndpointIdentity(Identifier(), WorkloadNames(), clock)
        self._gpu_claims = gpu_claims or GpuClaims()
        self._told: WorkloadInfo | None = None
        self._claimed: HeldGpus | None = None
        self._heard: list[tuple[float, float, EngineCounts | None, str]] = []
        self._failure = ""
        self._left_out: frozenset[str] = frozenset()
        self._name = endpoint.info.workload or f"the engine at port {endpoint.port}"
        self.health = Health("engine")

    async def run(self) -> None:
        """Poll until cancelled."""
        took_seconds = 0.0
        while True:
            started = self._clock.monotonic()
            await self.poll()
            before_seconds, took_seconds = took_seconds, self._clock.monotonic() - started
            # Slow is what is slow twice: once may be anybody's fault on a busy machine.
            page_seconds = min(before_seconds, took_seconds)
            wait_seconds = self._interval_seconds
            if page_seconds > SLOW_PAGE_SECONDS:
                wait_seconds = max(wait_seconds, min(WAIT_PER_PAGE * page_seconds, MOST_WAIT_SECONDS))
            await self._clock.sleep_until(started + wait_seconds)

    async def poll(self) -> None:
        """Fetch once. The counts are taken to hold at the middle of the fetch."""
        started = self._clock.monotonic()
        counts, failure = None, ""
        try:
            counts = await self._endpoint.reader.read()
            self._note(self._endpoint.reader.faults)
        except EngineFailure as error:
            failure = error.reason
            self._log_once(failure, str(error))
        except Exception as error:  # noqa: BLE001 - a surprise on one page must not end its polling
            failure = "unexpected"
            self._log_once(failure, repr(error))
        ended = self._clock.monotonic()
        middle = (started + ended) / 2
        self._heard.append((middle, self._clock.unix() - (ended - middle), counts, failure))
        self._identity.hear(counts)
        if failure:
            self.health.failed(failure)
        elif self._failure:
            logger.info("%s: the engine's page answers again", self._name)
        self._failure = failure
        self.health.attempted(self._clock.unix(), ended - started)

    def drain(self, known: Sequence[GpuInfo]) -> list[EngineSample]:
        """What was heard since the last call, and the claim on GPUs where it has changed."""
        held = self._gpu_claims.held(self._endpoint.gpus, known)
        info = self._identity.describe(
            self._endpoint.info, self._endpoint.reader.engine, self._endpoint.port, known, held.gpus
        )
        if not info.workload:
            del self._heard[:-1]  # of what was asked in vain, the last is all that tells anything
            return []
        left = self._leave(info)
        heard, self._heard = self._heard, []
        if held != self._claimed and not heard:
            heard = [(self._clock.monotonic(), self._clock.unix(), None, "")]
        self._claimed = held
        claim = EngineSample(info, held.gpus, 0.0, 0.0, missing_gpus=held.missing, migs=held.migs)
        return left + [
            replace(claim, monotonic_seconds=monotonic, unix_seconds=unix, counts=counts, failure=failure)
            for monotonic, unix, counts, failure in heard
        ]

    def _leave(self, info: WorkloadInfo) -> list[EngineSample]:
        """Where another workload serves here now, say that the one before is over."""
        before, self._told = self._told, info
        if before is None or before.workload == info.workload:
            return []
        self._claimed = None
        return [EngineSample(before, (), self._clock.monotonic(), self._clock.unix(), ended=True)]

    def _note(self, faults: Sequence[EngineFailure]) -> None:
        """Count what was left out of a page that stands, and say it when it is new."""
        for fault in faults:
            self.health.noted(fault.reason)
            if str(fault) not in self._left_out:
                logger.warning("%s: %s", self._name, fault)
        self._left_out = frozenset(map(str, faults))

    def _log_once(self, reason: str, message: str) -> None:
        if reason != self._failure:
            logger.warning("%s: no tokens (%s): %s", self._name, reason, message)
