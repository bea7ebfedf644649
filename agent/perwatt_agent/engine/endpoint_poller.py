"""Poller of one engine endpoint, at a pace of its own beside the collection cycle."""

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

# The engine's serving process spends the time that a page takes. Above this, take at most 1 % of its time.
SLOW_PAGE_SECONDS = 0.05
WAIT_PER_PAGE = 100.0
MAX_WAIT_SECONDS = 60.0


class EngineFailure(Exception):
    """An engine's page could not be fetched or read; `reason` is a word from a closed list, for labels."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CountsReader(Protocol):
    """
    Source of one engine's counts. `engine` is its name, empty until it is recognised. `faults` are the parts
    of the latest page that were left out.
    """

    @property
    def engine(self) -> str: ...

    @property
    def faults(self) -> tuple[EngineFailure, ...]: ...

    # Raises EngineFailure.
    async def read(self) -> EngineCounts: ...


class Endpoint(Struct, frozen=True):
    """
    One engine page: its workload, the GPUs that it holds, and its reader; `url` is its URL as configured,
    and `host` the host of it.

    If `info` has no workload name, the name is made from the engine and `port` once the engine is recognised.
    """

    info: WorkloadInfo
    port: int
    gpus: GpuSelector
    reader: CountsReader
    host: str = ""
    url: str = ""


class EndpointPoller:
    """
    Reads one endpoint every `interval_seconds`, and less often while its page is slow.

    *identity* gives the workload its labels; without it, the workload has none. *gpu_claims* resolve which of
    the claimed GPUs it holds; without them, it holds all.
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
        self._reported: WorkloadInfo | None = None
        self._claimed: HeldGpus | None = None
        self._received: list[tuple[float, float, EngineCounts | None, str]] = []
        self._failure = ""
        self._left_out: frozenset[str] = frozenset()
        self._name = endpoint.info.workload or f"the engine at port {endpoint.port}"
        self.health = Health("engine")

    @property
    def url(self) -> str:
        """The URL of the endpoint as configured."""
        return self._endpoint.url

    async def run(self) -> None:
        """Poll until cancelled."""
        took_seconds = 0.0
        while True:
            started = self._clock.monotonic()
            await self.poll()
            before_seconds, took_seconds = took_seconds, self._clock.monotonic() - started
            # Slow means slow twice in a row: on a busy machine, once proves nothing.
            page_seconds = min(before_seconds, took_seconds)
            wait_seconds = self._interval_seconds
            if page_seconds > SLOW_PAGE_SECONDS:
                wait_seconds = max(wait_seconds, min(WAIT_PER_PAGE * page_seconds, MAX_WAIT_SECONDS))
            await self._clock.sleep_until(started + wait_seconds)

    async def poll(self) -> None:
        """Fetch the page once. Its counts are dated to the middle of the fetch."""
        started = self._clock.monotonic()
        counts, failure = None, ""
        try:
            counts = await self._endpoint.reader.read()
            self._report_faults(self._endpoint.reader.faults)
        except EngineFailure as error:
            failure = error.reason
            self._log_once(failure, str(error))
        except Exception as error:  # noqa: BLE001 - an unexpected error must not end the polling
            failure = "unexpected"
            self._log_once(failure, repr(error))
        ended = self._clock.monotonic()
        middle = (started + ended) / 2
        self._received.append((middle, self._clock.unix() - (ended - middle), counts, failure))
        self._identity.update(counts)
        if failure:
            self.health.failed(failure)
        elif self._failure:
            logger.info("%s: the engine's page can be read again", self._name)
        self._failure = failure
        self.health.attempted(self._clock.unix(), ended - started)

    def drain(self, known: Sequence[GpuInfo]) -> list[EngineSample]:
        """Return what was received since the last call, and the GPU claim if it changed."""
        held = self._gpu_claims.held(self._endpoint.gpus, known)
        info = self._identity.describe(
            self._endpoint.info, self._endpoint.reader.engine, self._endpoint.port, known, held.gpus
        )
        if not info.workload:
            del self._received[:-1]  # only the latest failure matters while the workload has no name
            return []
        ended = self._ended(info)
        received, self._received = self._received, []
        if held != self._claimed and not received:
            received = [(self._clock.monotonic(), self._clock.unix(), None, "")]
        self._claimed = held
        claim = EngineSample(info, held.gpus, 0.0, 0.0, missing_gpus=held.missing, migs=held.migs)
        return ended + [
            replace(claim, monotonic_seconds=monotonic, unix_seconds=unix, counts=counts, failure=failure)
            for monotonic, unix, counts, failure in received
        ]

    def _ended(self, info: WorkloadInfo) -> list[EngineSample]:
        """Return the end of the previous workload if another one serves at this endpoint now."""
        before, self._reported = self._reported, info
        if before is None or before.workload == info.workload:
            return []
        self._claimed = None
        return [EngineSample(before, (), self._clock.monotonic(), self._clock.unix(), ended=True)]

    def _report_faults(self, faults: Sequence[EngineFailure]) -> None:
        """Count the parts of a page that were left out, and log the new ones."""
        for fault in faults:
            self.health.noted(fault.reason)
            if str(fault) not in self._left_out:
                logger.warning("%s: %s", self._name, fault)
        self._left_out = frozenset(map(str, faults))

    def _log_once(self, reason: str, message: str) -> None:
        if reason != self._failure:
            logger.warning(
                "%s: no tokens (%s): %s; run `perwatt doctor`, or check its entry of engines.endpoints",
                self._name,
                reason,
                message,
                extra={"kind": reason},
            )
