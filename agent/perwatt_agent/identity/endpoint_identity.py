"""Identity of a configured endpoint: the workload of the engine that serves there, across restarts."""

from collections.abc import Callable, Sequence

import msgspec

from perwatt_agent.clock import Clock
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import LOOKUP_SECONDS, Identity, described, workload_name
from perwatt_agent.identity.workload_names import WorkloadNames

# Engines show their start to the second or better; a smaller clock step is not a restart.
_START_TOLERANCE_SECONDS = 2.0


class EndpointIdentity:
    """
    Identifies the workload at one endpoint, once for each start of an engine there.

    *find_pid* returns the process that listens at the endpoint, or None if unknown. Without it, only the GPUs
    identify the workload.
    """

    def __init__(
        self,
        identifier: Identifier,
        names: WorkloadNames,
        clock: Clock,
        find_pid: Callable[[], int | None] | None = None,
    ) -> None:
        self._identifier = identifier
        self._names = names
        self._clock = clock
        self._find_pid = find_pid
        self._pending_since: float | None = None
        self._identity: Identity | None = None
        self._name = ""
        self._serves = False
        self._started_unix_seconds: float | None = None

    def update(self, counts: EngineCounts | None) -> None:
        """Record a page, or None for a failed one. A restarted engine is identified again."""
        if counts is None:
            self._serves = False
            return
        started = counts.process_start_unix_seconds
        if self._is_another(started):
            self._pending_since, self._identity, self._name = None, None, ""
        self._started_unix_seconds, self._serves = started, True

    def describe(
        self, info: WorkloadInfo, engine: str, port: int, known: Sequence[GpuInfo], gpus: Sequence[str]
    ) -> WorkloadInfo:
        """
        Return *info* with name, engine and labels. A configured name stays.

        While look-ups are pending, return *info* unchanged: without an engine, which marks it as not final.
        """
        identity = self._identify(known, gpus)
        if identity is None:
            return info
        name = info.workload or self._own_name(identity, engine, port)
        return msgspec.structs.replace(described(info, identity), workload=name, engine=engine)

    def _own_name(self, identity: Identity, engine: str, port: int) -> str:
        if not self._name and (name := workload_name(identity, engine, port)):
            self._name = self._names.claim(self, name, port)
        return self._name

    def _is_another(self, started: float | None) -> bool:
        if started is None or self._started_unix_seconds is None:
            return not self._serves
        return abs(started - self._started_unix_seconds) > _START_TOLERANCE_SECONDS

    def _identify(self, known: Sequence[GpuInfo], gpus: Sequence[str]) -> Identity | None:
        if self._identity is None and not self._must_wait(known):
            pid = self._find_pid() if self._find_pid and self._serves else None
            self._identity = self._identifier.identify(pid, [gpu for gpu in known if gpu.uuid in gpus])
        return self._identity

    def _must_wait(self, known: Sequence[GpuInfo]) -> bool:
        now = self._clock.monotonic()
        self._pending_since = now if self._pending_since is None else self._pending_since
        if now - self._pending_since >= LOOKUP_SECONDS:
            return False
        listens_later = self._find_pid is not None and not self._serves
        return listens_later or self._identifier.pending or (self._identifier.has_gpu_sources and not known)
