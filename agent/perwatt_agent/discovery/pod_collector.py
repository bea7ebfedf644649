"""Collector of engines in pods: from a GPU to its pod, and from the pod to its metrics page."""

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
from perwatt_agent.discovery.launches import requested_gpus, role_of, shares_kv
from perwatt_agent.discovery.pod_list import Pod, PodListFailure
from perwatt_agent.discovery.probe import may_expect_tls, over_tls
from perwatt_agent.discovery.rank_coverage import RequestedGpus
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller, EngineFailure
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.gpu_claims import GpuClaims
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identifier import PodHolders
from perwatt_agent.identity.pod_resources import gpu_of as device_name
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.net.http_client import Target
from perwatt_agent.net.tls import unchecked

logger = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
# A rejected page may be accepted later.
PROBE_AGAIN_SECONDS = 60.0


class PodLister(Protocol):
    """Source of the pods of this node."""

    # Raises PodListFailure.
    async def read(self) -> list[Pod]: ...


class PodGpus(Struct, frozen=True):
    """
    A pod that holds GPUs or MIG instances, by UUID, and the first of its containers that does.
    """

    namespace: str
    pod: str
    container: str
    gpus: tuple[str, ...]


class _Engine(Struct):
    """An engine in a pod: its GPUs, what its command requests, and its poller with the task that runs it."""

    info: WorkloadInfo
    holding: PodGpus
    url: str
    reader: EnginePageReader
    requested: RequestedGpus | None
    poller: EndpointPoller
    polling: "asyncio.Task[None]"


class PodCollector:
    """
    Looks up every ten seconds which pods hold GPUs and where their pages are, and reads those of engines.

    Only annotated pods receive requests, as the annotation requests a scrape. A pod is a workload from its
    first page on, while it holds its GPUs.
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
        self._probe_at: dict[str, float] = {}
        self._rejections: dict[str, str] = {}
        self._ending: list[_Engine] = []
        self._failure = ""
        self._health = Health("pods")
        self._past_failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Look up pods until cancelled."""
        try:
            while True:
                started = self._clock.monotonic()
                await self.round()
                await self._clock.sleep_until(started + ROUND_SECONDS)
        finally:
            for engine in self._engines.values():
                engine.polling.cancel()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        """Return what was received from the engines in pods, and the ends of workloads."""
        self._known = tuple(known)
        self._gpu_claims.update(samples)
        # Ends come first, as another pod may have taken over a name.
        samples_of_pods = list(self._final_samples(known))
        for engine in self._engines.values():
            samples_of_pods += [_with_missing(engine, sample) for sample in engine.poller.drain(known)]
        return samples_of_pods

    def health(self) -> CollectorHealth:
        """Return the health of the look-ups, with the failed fetches of the engines' pages."""
        own = self._health.snapshot()
        failures = self._past_failures + Counter(dict(own.failures))
        for engine in self._engines.values():
            failures.update(dict(engine.poller.health.snapshot().failures))
        return msgspec.structs.replace(own, failures=tuple(sorted(failures.items())))

    async def round(self) -> None:
        """Look up pods once."""
        started = self._clock.monotonic()
        holdings = pods_with_gpus(self._known, self._holders, self._gpu_claims.gpu_of)
        try:
            pods = await self._pods.read() if holdings or self._engines else []
            listed = {pod.name: pod for pod in pods if not pod.is_finished}
        except PodListFailure as error:
            self._health.failed(error.reason)
            if error.reason != self._failure:
                logger.warning("cannot list pods (%s): %s; check identity.kubelet_url", error.reason, error)
            self._failure = error.reason
        else:
            self._failure = ""
            await self._update(holdings, listed)
        self._health.attempted(self._clock.unix(), self._clock.monotonic() - started)

    async def _update(self, holdings: Sequence[PodGpus], listed: dict[tuple[str, str], Pod]) -> None:
        found = {
            listed[one.namespace, one.pod].metadata.uid: (one, listed[one.namespace, one.pod])
            for one in holdings
            if (one.namespace, one.pod) in listed
        }
        for uid in [
            uid for uid, engine in self._engines.items() if not _is_unchanged(engine, *found.get(uid, ()))
        ]:
            self._end(uid)
        self._rejections = {uid: why for uid, why in self._rejections.items() if uid in found}
        self._probe_at = {uid: at for uid, at in self._probe_at.items() if uid in found}
        new = [uid for uid in found if uid not in self._engines]
        await asyncio.gather(*(self._probe(uid, *found[uid]) for uid in new))

    async def _probe(self, uid: str, holding: PodGpus, pod: Pod) -> None:
        """Probe the page of a pod, and read it from now on if it belongs to an engine."""
        now = self._clock.monotonic()
        if now < self._probe_at.get(uid, now):
            return
        try:
            url = pod.page_url()
            reader = self._reader(url, holding, pod)
            parts = self._gpu_claims.held(holding.gpus, self._known)
            claim = self._configured.claim_on(parts.gpus, self._known, holding.gpus)
            if reason := claim or self._configured.page_at(url):
                raise ValueError(reason)
            reader = await self._answering(reader, url, holding, pod)
        except (EngineFailure, ValueError) as error:
            self._probe_at[uid] = now + (PROBE_AGAIN_SECONDS if isinstance(error, EngineFailure) else 0.0)
            self._reject(uid, holding, str(error))
        else:
            self._start(uid, holding, url, reader, pod)

    async def _answering(
        self, reader: EnginePageReader, url: str, holding: PodGpus, pod: Pod
    ) -> EnginePageReader:
        """Return a reader that has read the page, over HTTPS where plain HTTP gets no answer."""
        try:
            await reader.read()
        except EngineFailure as error:
            if not may_expect_tls(error, url):
                raise
            reader = self._reader(over_tls(url), holding, pod)
            await reader.read()
        return reader

    def _reader(self, url: str, holding: PodGpus, pod: Pod) -> EnginePageReader:
        command = pod.command(holding.container)
        role = role_of(command)
        if role == "mixed":
            role = pod.role or role
        is_shared = role == "mixed" and shares_kv(command)
        return EnginePageReader(
            url, role=role, shares_kv=is_shared, kinds=self._kinds, tls_context=unchecked()
        )

    def _start(self, uid: str, holding: PodGpus, url: str, reader: EnginePageReader, pod: Pod) -> None:
        namespace, name, container, gpus = holding.namespace, holding.pod, holding.container, holding.gpus
        port = Target.of(url).port
        info = WorkloadInfo(
            self._names.claim(uid, f"{namespace}/{name}/{container}", port),
            role=reader.role,
            k8s_namespace=namespace,
            k8s_pod=name,
            k8s_container=container,
        )
        endpoint = Endpoint(info, port, gpus, reader)
        poller = EndpointPoller(endpoint, self._clock, self._interval_seconds, gpu_claims=self._gpu_claims)
        # A shell's command is one argument.
        requested = self._requested(reader.engine, " ".join(pod.command(container)).split())
        if requested and requested.uncovered(len(gpus), reader.ranks):
            logger.warning(
                "pod %s/%s: its page counts %s of %d data-parallel ranks, so its figures are not valid; add "
                "the page of each rank to engines.endpoints, with its own `gpus`",
                namespace,
                name,
                reader.ranks,
                requested.ranks,
            )
        polling = asyncio.create_task(poller.run())
        self._engines[uid] = _Engine(info, holding, url, reader, requested, poller, polling)
        self._rejections.pop(uid, None)
        logger.info("pod %s/%s is read at %s", namespace, name, url)

    def _requested(self, engine: str, command: Sequence[str]) -> RequestedGpus | None:
        launch = next((kind.launch for kind in self._kinds if kind.name == engine), None)
        return requested_gpus(launch, command) if launch is not None else None

    def _end(self, uid: str) -> None:
        engine = self._engines.pop(uid)
        engine.polling.cancel()
        self._names.release(uid)
        self._past_failures.update(dict(engine.poller.health.snapshot().failures))
        self._ending.append(engine)
        logger.info("pod %s/%s no longer holds its GPUs", engine.holding.namespace, engine.holding.pod)

    def _final_samples(self, known: Sequence[GpuInfo]) -> Iterator[EngineSample]:
        """Yield pages received before a stop, and one collection cycle later, after attribution, the end."""
        names = {engine.info.workload for engine in self._engines.values()}
        ending, self._ending = self._ending, []
        for engine in ending:
            received = engine.poller.drain(known)
            yield from received
            if received:
                self._ending.append(engine)
            elif engine.info.workload not in names:
                yield EngineSample(engine.info, (), self._clock.monotonic(), self._clock.unix(), ended=True)

    def _reject(self, uid: str, holding: PodGpus, why: str) -> None:
        if self._rejections.get(uid) != why:
            logger.warning(
                "pod %s/%s has no tokens: %s; check its scrape annotations, or add its page to "
                "engines.endpoints",
                holding.namespace,
                holding.pod,
                why,
            )
        self._rejections[uid] = why


def _with_missing(engine: _Engine, sample: EngineSample) -> EngineSample:
    """Add the GPUs that the page counts and the pod lacks, and those of ranks that no page counts."""
    if engine.requested is None or sample.ended:
        return sample
    missing = engine.requested.missing(len(engine.holding.gpus), engine.reader.ranks)
    return (
        msgspec.structs.replace(sample, missing_gpus=(sample.missing_gpus or 0) + missing)
        if missing
        else sample
    )


def _is_unchanged(engine: _Engine, holding: PodGpus | None = None, pod: Pod | None = None) -> bool:
    """Return whether an engine still has the same GPUs and the same page."""
    try:
        return pod is not None and engine.holding == holding and engine.url == pod.page_url()
    except ValueError:
        return False


def pods_with_gpus(known: Sequence[GpuInfo], holders: PodHolders, gpu_of: Mapping[str, str]) -> list[PodGpus]:
    """
    Return the pods that hold GPUs of *known* or MIG instances of them, each pod once with all of these.

    *gpu_of* maps each instance to its GPU.
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
    return [PodGpus(*key, min(containers[key]), tuple(dict.fromkeys(uuids))) for key, uuids in gpus.items()]
