"""The account of one workload: its tokens and its joules, always settled to the same instant."""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from perwatt_agent.accounting.ledger import GpuLedger
from perwatt_agent.accounting.phases import Page, phases
from perwatt_agent.readings import EngineSample
from perwatt_agent.snapshot import EngineCounts, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot

# A page waits this long for a GPU that is not read; the next ones do not until it is read again.
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
    """What outlives a restart of the agent."""

    models: dict[str, ModelAccount]
    counts: EngineCounts | None = None


class WorkloadAccount:
    """
    Settle one workload's pages against the ledgers of the GPUs that it holds.

    A page waits until every one of its GPUs has been read at or after the page's instant, so that
    tokens and joules advance together. `heard_at` is the instant of the newest page in this run.
    """

    def __init__(self, info: WorkloadInfo, state: WorkloadState | None = None) -> None:
        self.info = info
        self.state = state or WorkloadState(models={})
        self.heard_at = float("-inf")
        self._settled_at = float("-inf")
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
        self.heard_at = sample.monotonic_seconds
        self._refused_at = None
        self._up = True

    def settle(self, ledgers: Mapping[str, GpuLedger], now: float) -> None:
        """Settle all pages that can be settled at monotonic time *now*; *ledgers* are those that it holds."""
        while self._pages and self._can_settle(self._pages[0], ledgers, now):
            self._settle(self._pages.popleft(), ledgers)

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

    def _can_settle(self, page: Page, ledgers: Mapping[str, GpuLedger], now: float) -> bool:
        return not any(self._must_wait(page, ledger.read_at, now) for ledger in ledgers.values())

    def _must_wait(self, page: Page, read_at: float, now: float) -> bool:
        was_left_out = read_at < self._settled_at  # once waited for in vain, until it is read again
        waited_seconds = now - max(read_at, page.monotonic_seconds)
        return read_at < page.monotonic_seconds and not was_left_out and waited_seconds < MISSING_SECONDS

    def _settle(self, page: Page, ledgers: Mapping[str, GpuLedger]) -> None:
        account = self.state.models.setdefault(page.counts.model, ModelAccount(joules={}))
        covered: list[float] = []
        for gpu, ledger in ledgers.items():
            account.add(gpu, "idle", 0.0)
            # A missing GPU's joules stay behind until it is read again.
            is_missing = ledger.read_at < page.monotonic_seconds
            covered.append(0.0 if is_missing else self._settle_gpu(gpu, ledger, page, account))
        account.covered_seconds += min(covered, default=0.0)
        self.state.counts = page.counts
        self._settled_at = page.monotonic_seconds

    def _settle_gpu(self, gpu: str, ledger: GpuLedger, page: Page, account: ModelAccount) -> float:
        """Hand out one GPU's joules up to the page's instant; return the seconds that they cover."""
        covered_seconds = 0.0
        name = self.info.workload
        since = max(ledger.cursors[name], ledger.track.start)
        for phase in phases(since, self.state.counts, page):
            used = ledger.take(name, phase.start, phase.end)
            if phase.doing == "unknown":
                ledger.unknown_joules += used.share_joules
            else:
                account.add(gpu, phase.doing, used.share_joules)
                covered_seconds += used.covered_seconds
        return covered_seconds
