"""Followers: members of a multi-node engine without a page; the page of another node counts their tokens."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.engine.gpu_claims import GpuClaims, GpuSelector
from perwatt_agent.engine.mig_instances import HeldGpus
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo


class Follower(Struct, frozen=True):
    """A member without a page: its own workload name, its group, and the GPUs that it holds."""

    info: WorkloadInfo
    gpus: GpuSelector


class FollowerClaims:
    """GPU claims of followers, reported again whenever the known GPUs change them."""

    def __init__(
        self, followers: Sequence[Follower], clock: Clock, gpu_claims: GpuClaims | None = None
    ) -> None:
        self._followers = tuple(followers)
        self._clock = clock
        self._gpu_claims = gpu_claims or GpuClaims()
        self._reported: dict[str, HeldGpus] = {}

    def drain(self, known: Sequence[GpuInfo]) -> list[EngineSample]:
        """Return the claims that changed since the last call."""
        samples = []
        for follower in self._followers:
            name, held = follower.info.workload, self._gpu_claims.held(follower.gpus, known)
            if self._reported.get(name) != held:
                self._reported[name] = held
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
