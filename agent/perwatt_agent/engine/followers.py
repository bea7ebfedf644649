"""Members of an engine that have no page of their own: another node's page counts their tokens too."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.engine.gpu_claims import GpuClaims, GpuSelector
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo


class Follower(Struct, frozen=True):
    """A member without a page: who it is, by a name of its own and its group, and which GPUs it holds."""

    info: WorkloadInfo
    gpus: GpuSelector


class FollowerClaims:
    """Claim the GPUs of followers, anew whenever more of them are known."""

    def __init__(
        self, followers: Sequence[Follower], clock: Clock, gpu_claims: GpuClaims | None = None
    ) -> None:
        self._followers = tuple(followers)
        self._clock = clock
        self._gpu_claims = gpu_claims or GpuClaims()
        self._claimed: dict[str, HeldGpus] = {}

    def drain(self, known: Sequence[GpuInfo]) -> list[EngineSample]:
        """The claims that have changed since the last call."""
        samples = []
        for follower in self._followers:
            name, held = follower.info.workload, self._gpu_claims.held(follower.gpus, known)
            if self._claimed.get(name) != held:
                self._claimed[name] = held
                at, unix = self._clock.monotonic(), self._clock.unix()
                samples.append(
                    EngineSample(
                        follower.info,
                        held.gpus,
                        at,
                        unix,
                        missing_gpus=held.missing,
                        has_page=False,
                        migs=held.migs,
                    )
                )
        return samples
