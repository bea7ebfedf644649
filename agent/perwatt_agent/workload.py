"""The account of one workload: its tokens and its joules, always settled to the same instant."""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from perwatt_agent.phases import Page, phases
from perwatt_agent.readings import EngineSample
from perwatt_agent.snapshot import EngineCounts, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot
from perwatt_agent.track import EnergyTrack

# A GPU that has not been read for this long no longer holds back the others of its workload.
MISSING_SECONDS = 60.0
# What a workload is called is shown once it is known, or once this long was spent on finding out.
LOOK_UP_SECONDS = 30.0


class ModelAccount(Struct):
    """What a workload has used for one model: joules by (GPU, doing), and the time covered."""

    joules: dict[str, dict[str, float]]
    covered_seconds: float = 0.0

    def add(self, gpu: str, doing: str, joules: float) -> None:
        by_doing = self.joules.setdefault(gpu, {"active": 0.0, "idle": 0.0, "loading": 0.0})
        by_doing[doing] += joules


class WorkloadState(Struct):
    """What outlives a restart of the agent. `cursors` tell up to when each GPU's joules are settled."""

    cursors: dict[str, float]
    models: dict[str, ModelAccount]
    counts: EngineCounts | None = None


class Unknown(Struct, frozen=True):
    """Joules of a GPU that were this workload's to explain and that it cannot explain."""

    gpu: str
    joules: float


class WorkloadAccount:
    """
    Settle one workload's pages against the energy tracks of the GPUs that it holds.

    A page waits until every one of its GPUs has been read at or after the page's instant, so that
    tokens and joules advance together.
    """

    def __init__(self, info: WorkloadInfo, state: WorkloadState | None = None) -> None:
        self.info = info
        self.state = state or WorkloadState(cursors={}, models={})
        self.shares: dict[str, float] = {}
        self._pages: deque[Page] = deque()
        self._refused_at: float | None = None
        self._up = False
        self._info_is_final = False
        self._first_heard = 0.0

    def hear(self, sample: EngineSample) -> None:
        """Take note of a fetch; a sample with neither counts nor failure is only a claim on GPUs."""
        self._learn(sample)
        if sample.counts is None:
            if sample.failure:
                self._up = False
                self._refused_at = sample.monotonic_seconds
            return
        started = sample.counts.process_start_unix_seconds
        born = None if started is None else sample.monotonic_seconds - (sample.unix_seconds - started)
        self._pages.append(Page(sample.monotonic_seconds, sample.counts, born, self._refused_at))
        self._refused_at = None
        self._up = True

    def settle(self, tracks: Mapping[str, EnergyTrack], now: float) -> list[Unknown]:
        """Settle all pages that can be settled at monotonic time *now*; return what stays unexplained."""
        unknown: list[Unknown] = []
        while self._pages and self._can_settle(self._pages[0], tracks, now):
            unknown += self._settle(self._pages.popleft(), tracks)
        return unknown

    def claim(self, gpu: str, share: float, since: float) -> None:
        """Hold *share* of a GPU's joules, from *since* unless it was held and settled further before."""
        self.shares[gpu] = share
        self.state.cursors.setdefault(gpu, since)

    def release(self, gpu: str, until: float) -> None:
        """Give up this GPU's joules up to an instant."""
        self.state.cursors[gpu] = max(self.state.cursors[gpu], until)

    def waiting_joules(self, gpu: str, track: EnergyTrack) -> float:
        last = track.last
        if last is None:
            return 0.0
        settled = track.at(self.state.cursors[gpu]).accepted_joules
        return self.shares[gpu] * (last.accepted_joules - settled)

    def snapshot(self) -> WorkloadSnapshot:
        counts = self.state.counts
        model = self.state.models.get(counts.model) if counts else None
        return WorkloadSnapshot(
            info=self.info,
            up=self._up,
            info_is_final=self._info_is_final,
            counts=counts,
            energy=tuple(
                WorkloadGpuEnergy(gpu, joules["active"], joules["idle"], joules["loading"])
                for gpu, joules in (model.joules.items() if model else ())
            ),
            covered_seconds=model.covered_seconds if model else 0.0,
        )

    def _learn(self, sample: EngineSample) -> None:
        """Take over what is said of the workload until its engine is known or look-ups took too long."""
        if self._info_is_final:
            return
        self.info = sample.info
        self._first_heard = self._first_heard or sample.monotonic_seconds
        took_seconds = sample.monotonic_seconds - self._first_heard
        self._info_is_final = bool(sample.info.engine) or took_seconds >= LOOK_UP_SECONDS

    def _can_settle(self, page: Page, tracks: Mapping[str, EnergyTrack], now: float) -> bool:
        for gpu in self.shares:
            last = tracks[gpu].last if gpu in tracks else None
            read_at = last.monotonic_seconds if last else float("-inf")
            if (
                read_at < page.monotonic_seconds
                and now - max(read_at, page.monotonic_seconds) < MISSING_SECONDS
            ):
                return False
        return True

    def _settle(self, page: Page, tracks: Mapping[str, EnergyTrack]) -> list[Unknown]:
        account = self.state.models.setdefault(page.counts.model, ModelAccount(joules={}))
        unknown: list[Unknown] = []
        covered: list[float] = []
        for gpu in self.shares:
            account.add(gpu, "idle", 0.0)
            track = tracks.get(gpu)
            if track is None or track.last is None or track.last.monotonic_seconds < page.monotonic_seconds:
                covered.append(0.0)  # missing: its joules stay behind until it is read again
                continue
            covered.append(self._settle_gpu(gpu, track, page, account, unknown))
        account.covered_seconds += min(covered, default=0.0)
        self.state.counts = page.counts
        return unknown

    def _settle_gpu(
        self, gpu: str, track: EnergyTrack, page: Page, account: ModelAccount, unknown: list[Unknown]
    ) -> float:
        """Hand out one GPU's joules up to the page's instant; return the seconds that they cover."""
        covered_seconds = 0.0
        since = max(self.state.cursors[gpu], track.start)
        for phase in phases(since, self.state.counts, page):
            used = track.at(phase.end).minus(track.at(phase.start))
            joules = self.shares[gpu] * used.accepted_joules
            if phase.doing == "unknown":
                unknown.append(Unknown(gpu, joules))
            else:
                account.add(gpu, phase.doing, joules)
                covered_seconds += used.covered_seconds
        self.state.cursors[gpu] = max(since, page.monotonic_seconds)
        return covered_seconds
