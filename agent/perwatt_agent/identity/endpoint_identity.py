"""Who has a configured endpoint, over the lives of the engines that serve there."""

from collections.abc import Callable, Sequence

import msgspec

from perwatt_agent.clock import Clock
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import PATIENCE_SECONDS, Identity, described, workload_name
from perwatt_agent.identity.workload_names import WorkloadNames

# Engines tell their start to the second or better; a clock step of less is no restart.
_START_TOLERANCE_SECONDS = 2.0


class EndpointIdentity:
    """
    Tell whose engine serves at one endpoint; looked up once in each life of an engine there.

    *find_pid* returns the process that listens there, None where that cannot be told; without it only the
    GPUs tell.
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
        self._asked_at: float | None = None
        self._identity: Identity | None = None
        self._name = ""
        self._serves = False
        self._started_unix_seconds: float | None = None

    def hear(self, counts: EngineCounts | None) -> None:
        """Take note of a page, or of one that failed; with another process everything is asked anew."""
        if counts is None:
            self._serves = False
            return
        started = counts.process_start_unix_seconds
        if self._is_another(started):
            self._asked_at, self._identity, self._name = None, None, ""
        self._started_unix_seconds, self._serves = started, True

    def describe(
        self, info: WorkloadInfo, engine: str, port: int, known: Sequence[GpuInfo], gpus: Sequence[str]
    ) -> WorkloadInfo:
        """
        Return *info* with its name, engine and labels; a name that it has stays.

        While look-ups last it is as it was: without an engine, so that nothing is final, and where it has
        no name yet, without one.
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
        self._asked_at = now if self._asked_at is None else self._asked_at
        if now - self._asked_at >= PATIENCE_SECONDS:
            return False
        listens_later = self._find_pid is not None and not self._serves
        return listens_later or self._identifier.pending or (self._identifier.knows_gpus and not known)
