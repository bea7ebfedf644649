"""Engines in pods, without their processes: from a GPU to its pod, and from the pod to its page."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.pod_list import Pod, PodListFailure
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller, EngineFailure
from perwatt_agent.engine.gpu_claims import GpuClaims
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.page_reader import EnginePageReader
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identifier import PodHolders
from perwatt_agent.identity.pod_resources import gpu_of as device_name
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.net.http_client import Target

logger = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
# A page that was refused may be another one by then.
ASK_AGAIN_SECONDS = 60.0


class PodLister(Protocol):
    """Lists the pods of this node."""

    # Raises PodListFailure.
    async def read(self) -> list[Pod]: ...


class Holding(Struct, frozen=True):
    """
    A pod that holds GPUs, by their UUIDs or those of their MIG instances, and the first of its containers
    that does.
    """

    namespace: str
    pod: str
    container: str
    gpus: tuple[str, ...]


class _Engine(Struct):
    """An engine in a pod: what it holds, and its poller with the task in which that runs."""

    info: WorkloadInfo
    holding: Holding
    url: str
    poller: EndpointPoller
    polling: "asyncio.Task[None]"


class PodFeed:
    """
    Every ten seconds, look which pods hold GPUs and where these have a page; read those that are an engine's.

    A pod that is annotated asks to be scraped: only then anything is sent to it. It is a workload from
    its first page on, for as long as it holds its GPUs.
    """

    def __init__(
        self,
        pods: PodLister,
        holders: PodHolders,
        names: WorkloadNames,
        configured: ConfiguredEndpoints,
        clock: Clock,
        interval_seconds: float,
        *,
        kinds: Sequence[EngineKind] = ENGINES,
    ) -> None:
        self._pods = pods
        self._holders = holders
        self._names = names
        self._configured = configured
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._kinds = kinds
        self._known: tuple[GpuInfo, ...] = ()
        self._gpu_claims = GpuClaims()
        self._engines: dict[str, _Engine] = {}
        self._ask_at: dict[str, float] = {}
        self._refusals: dict[str, str] = {}
        self._leaving: list[_Engine] = []
        self._failure = ""
        self._health = Health("pods")
        self._past_failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                started = self._clock.monotonic()
                await self.round()
                await self._clock.sleep_until(started + ROUND_SECONDS)
        finally:
            for engine in self._engines.values():
                engine.polling.cancel()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        """What was heard of the engines in pods, and of those that are over."""
        self._known = tuple(known)
        self._gpu_claims.note(samples)
        # Those that end come first: another pod may have taken over a name.
        told = list(self._last_words(known))
        for engine in self._engines.values():
            told += engine.poller.drain(known)
        return told

    def health(self) -> CollectorHealth:
        """How the look-ups fare; failed fetches of the pages found are counted with them."""
        own = self._health.snapshot()
        failures = self._past_failures + Counter(dict(own.failures))
        for engine in self._engines.values():
            failures.update(dict(engine.poller.health.snapshot().failures))
        return msgspec.structs.replace(own, failures=tuple(sorted(failures.items())))

    async def round(self) -> None:
        """Look once."""
        started = self._clock.monotonic()
        holdings = held(self._known, self._holders, self._gpu_claims.gpu_of)
        try:
            listed = {pod.name: pod for pod in await self._pods.read()} if holdings or self._engines else {}
        except PodListFailure as error:
            self._health.failed(error.reason)
            if error.reason != self._failure:
                logger.warning("no pages of pods (%s): %s", error.reason, error)
            self._failure = error.reason
        else:
            self._failure = ""
            await self._look(holdings, listed)
        self._health.attempted(self._clock.unix(), self._clock.monotonic() - started)

    async def _look(self, holdings: Sequence[Holding], listed: dict[tuple[str, str], Pod]) -> None:
        found = {
            listed[one.namespace, one.pod].metadata.uid: (one, listed[one.namespace, one.pod])
            for one in holdings
            if (one.namespace, one.pod) in listed
        }
        for uid in [
            uid for uid, engine in self._engines.items() if not _goes_on(engine, *found.get(uid, ()))
        ]:
            self._end(uid)
        self._refusals = {uid: why for uid, why in self._refusals.items() if uid in found}
        self._ask_at = {uid: at for uid, at in self._ask_at.items() if uid in found}
        new = [uid for uid in found if uid not in self._engines]
        await asyncio.gather(*(self._attend(uid, *found[uid]) for uid in new))

    async def _attend(self, uid: str, holding: Holding, pod: Pod) -> None:
        """Ask a pod for its page, and read it from now on where it is an engine's."""
        now = self._clock.monotonic()
        if now < self._ask_at.get(uid, now):
            return
        try:
            url = pod.page_url()
            reader = EnginePageReader(url, kinds=self._kinds)
            parts = self._gpu_claims.held(holding.gpus, self._known)
            claim = self._configured.claim_on(parts.gpus, self._known, holding.gpus)
            if objection := claim or self._configured.page_at(url):
                raise ValueError(objection)
            await reader.read()
        except (EngineFailure, ValueError) as error:
            self._ask_at[uid] = now + (ASK_AGAIN_SECONDS if isinstance(error, EngineFailure) else 0.0)
            self._refuse(uid, holding, str(error))
        else:
            self._begin(uid, holding, url, reader)

    def _begin(self, uid: str, holding: Holding, url: str, reader: EnginePageReader) -> None:
        namespace, pod, container, gpus = holding.namespace, holding.pod, holding.container, holding.gpus
        port = Target.of(url).port
        name = self._names.claim(uid, f"{namespace}/{pod}/{container}", port)
        info = WorkloadInfo(name, k8s_namespace=namespace, k8s_pod=pod, k8s_container=container)
        endpoint = Endpoint(info, port, gpus, reader)
        poller = EndpointPoller(endpoint, self._clock, self._interval_seconds, gpu_claims=self._gpu_claims)
        self._engines[uid] = _Engine(info, holding, url, poller, asyncio.create_task(poller.run()))
        self._refusals.pop(uid, None)
        logger.info("pod %s/%s is read at %s", namespace, pod, url)

    def _end(self, uid: str) -> None:
        engine = self._engines.pop(uid)
        engine.polling.cancel()
        self._names.release(uid)
        self._past_failures.update(dict(engine.poller.health.snapshot().failures))
        self._leaving.append(engine)
        logger.info("pod %s/%s holds its GPUs no more", engine.holding.namespace, engine.holding.pod)

    def _last_words(self, known: Sequence[GpuInfo]) -> Iterator[EngineSample]:
        """Pages that were still heard; a sweep later, when these are settled, the end."""
        names = {engine.info.workload for engine in self._engines.values()}
        leaving, self._leaving = self._leaving, []
        for engine in leaving:
            heard = engine.poller.drain(known)
            yield from heard
            if heard:
                self._leaving.append(engine)
            elif engine.info.workload not in names:
                yield EngineSample(engine.info, (), self._clock.monotonic(), self._clock.unix(), ended=True)

    def _refuse(self, uid: str, holding: Holding, why: str) -> None:
        if self._refusals.get(uid) != why:
            logger.warning("pod %s/%s gives no tokens: %s", holding.namespace, holding.pod, why)
        self._refusals[uid] = why


def _goes_on(engine: _Engine, holding: Holding | None = None, pod: Pod | None = None) -> bool:
    """Whether an engine still holds what it held, and still has its page where it had it."""
    try:
        return pod is not None and engine.holding == holding and engine.url == pod.page_url()
    except ValueError:
        return False


def held(known: Sequence[GpuInfo], holders: PodHolders, gpu_of: Mapping[str, str]) -> list[Holding]:
    """
    The pods that hold GPUs among *known*, or MIG instances of them, each pod once, with all of them.

    *gpu_of* has the GPU of each instance.
    """
    gpus: dict[tuple[str, str], list[str]] = {}
    containers: dict[tuple[str, str], set[str]] = {}
    for gpu in known:
        migs = [mig for mig, parent in gpu_of.items() if parent == gpu.uuid]
        for holder in holders.holders(gpu, migs):
            key = (holder.namespace, holder.pod)
            containers.setdefault(key, set()).add(holder.container)
            devices = {device_name(device) for device in holder.devices}
            parts = [mig for mig in migs if mig in devices]
            gpus.setdefault(key, []).extend(parts or [gpu.uuid])
    return [Holding(*key, min(containers[key]), tuple(dict.fromkeys(uuids))) for key, uuids in gpus.items()]
