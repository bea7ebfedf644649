"""The account of one workload: its tokens and its joules, always settled to the same instant."""

from collections import deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from perwatt_agent.accounting.engine_phases import Page, has_work, phases
from perwatt_agent.accounting.gpu_account import GpuAccount
from perwatt_agent.accounting.mig_split import Layout
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot

# A page waits this long for a GPU that is not read; the next ones do not until it is read again.
MISSING_SECONDS = 60.0
# What a workload is called is shown once it is known, or once this long was spent on finding out.
LOOK_UP_SECONDS = 30.0
_NO_MODEL = ""


class ModelAccount(Struct):
    """What a workload has used for one model: joules by (GPU, doing), and the time covered."""

    joules: dict[str, dict[str, float]]
    covered_seconds: float = 0.0

    def add(self, gpu: str, doing: str, joules: float) -> None:
        by_doing = self.joules.setdefault(gpu, {"active": 0.0, "idle": 0.0, "loading": 0.0})
        by_doing[doing] += joules


class WorkloadState(Struct):
    """
    What outlives a restart of the agent.

    `processes` are its processes with their starts in seconds since boot, as far as they are known;
    `migs` the MIG instances that it holds, by the UUID of their GPU.
    """

    models: dict[str, ModelAccount]
    counts: EngineCounts | None = None
    processes: dict[int, float] = {}
    ended: bool = False
    migs: dict[str, tuple[str, ...]] = {}

    def joules(self) -> Iterator[tuple[str, float]]:
        """All that it was given, in pieces, each with its GPU."""
        for account in self.models.values():
            for gpu, by_doing in account.joules.items():
                yield gpu, sum(by_doing.values())


class WorkloadAccount:
    """
    Settle one workload against the ledgers of the GPUs that it holds: page by page, or, where it has no
    page, sweep by sweep.

    A page waits until every one of its GPUs has been read at or after the page's instant, so that
    tokens and joules advance together. `heard_at` is the instant of the newest page in this run,
    `ended_at` when it was said to be over, `pids` are its processes, and `busy` tells whether it has
    work; None is not known.
    """

    def __init__(self, info: WorkloadInfo, state: WorkloadState | None = None) -> None:
        self.info = info
        self.state = state or WorkloadState(models={})
        self.heard_at = float("-inf")
        self.ended_at: float | None = None
        self.pids: frozenset[int] = frozenset()
        self.busy: bool | None = None
        self._claimed: dict[str, tuple[str, ...]] = {}
        self._has_page = True
        self._missing_gpus: int | None = None
        self._lives_on = False
        self._was_replaced = False
        self._settled_at = float("-inf")
        self._pages: deque[Page] = deque()
        self._heard: EngineCounts | None = None
        self._refused_at: float | None = None
        self._up = False
        self._info_is_final = False
        self._first_heard: float | None = None

    def hear(self, sample: EngineSample) -> None:
        """Take note of a fetch; a sample with neither counts nor failure is only a claim on GPUs."""
        self._learn(sample)
        self._meet(sample)
        self._has_page = sample.has_page
        self._missing_gpus = sample.missing_gpus
        self._claimed = sample.migs
        if sample.ended or not sample.has_page:
            self._up, self.busy = not sample.ended, None
        elif sample.failure:
            self._up, self.busy = False, None
            self._refused_at = sample.monotonic_seconds
        elif sample.counts is not None:
            self._hear_page(sample, sample.counts)

    def settle(self, ledgers: Mapping[str, GpuAccount], now: float) -> None:
        """Settle all that can be settled at monotonic time *now*; *ledgers* are those that it holds."""
        self._info_is_final = self._info_is_final or self._took_too_long(now)
        if not self._has_page:
            self._settle_without_page(ledgers)
        elif self.state.counts is not None:
            # A GPU's joules are shown from 0 on, or their first ones would be lost to whoever reads them.
            for gpu in ledgers:
                self.state.models[self.state.counts.model].add(gpu, "idle", 0.0)
        while self._pages and self._can_settle(self._pages[0], ledgers, now):
            self._settle(self._pages.popleft(), ledgers)

    def snapshot(self, ledgers: Mapping[str, GpuAccount]) -> WorkloadSnapshot:
        """What is to be shown; *ledgers* are those that it holds."""
        counts = self.state.counts
        account = self.state.models.get(counts.model if counts else _NO_MODEL, ModelAccount(joules={}))
        return WorkloadSnapshot(
            info=self.info,
            up=self._up,
            info_is_final=self._info_is_final,
            counts=counts,
            energy=tuple(
                WorkloadGpuEnergy(
                    gpu,
                    joules["active"],
                    joules["idle"],
                    joules["loading"],
                    ledgers[gpu].method if gpu in ledgers else None,
                )
                for gpu, joules in account.joules.items()
            ),
            covered_seconds=account.covered_seconds,
            missing_gpus=self._missing_gpus,
        )

    def instances(self, gpu: str, layout: Layout) -> tuple[str, ...] | None:
        """
        The instances of a GPU that it holds: those claimed, else those of its processes; None is the whole.

        Processes that are not listed now are where they were.
        """
        if gpu in self._claimed:
            self.state.migs[gpu] = self._claimed[gpu]
        elif not self.pids:
            self.state.migs.pop(gpu, None)
        elif found := layout.of(self.pids):
            self.state.migs[gpu] = found
        return self.state.migs.get(gpu)

    def _learn(self, sample: EngineSample) -> None:
        """Take over what is said of the workload until its engine is known or look-ups took too long."""
        if self._info_is_final:
            return
        self.info = sample.info
        if self._first_heard is None:
            self._first_heard = sample.monotonic_seconds
        # What has a group and no page was configured as such: nothing more is to be found out.
        is_known = bool(sample.info.engine or (sample.info.group and not sample.has_page))
        self._info_is_final = is_known or self._took_too_long(sample.monotonic_seconds)

    def _took_too_long(self, now: float) -> bool:
        return self._first_heard is not None and now - self._first_heard >= LOOK_UP_SECONDS

    def _meet(self, sample: EngineSample) -> None:
        """Take note of the workload's processes, and whether any of them was there before."""
        self.state.ended = sample.ended
        if not sample.ended:
            self.ended_at = None
        elif self.ended_at is None:
            self.ended_at = sample.monotonic_seconds
        if sample.pids:
            self.pids = frozenset(sample.pids)
        processes = dict(zip(sample.pids, sample.pid_starts, strict=False))
        if not processes:
            return
        live_on = bool(processes.items() & self.state.processes.items())
        self._lives_on = self._lives_on or live_on
        self._was_replaced = self._was_replaced or bool(self.state.processes and not live_on)
        self.state.processes = processes

    def _hear_page(self, sample: EngineSample, counts: EngineCounts) -> None:
        self._pages.append(
            Page(sample.monotonic_seconds, counts, self._born(sample), self._refused_at, self._was_replaced)
        )
        self.busy = has_work(self._heard, counts)
        self.heard_at = sample.monotonic_seconds
        self._heard = counts
        self._refused_at = None
        self._was_replaced = False
        self._up = True

    def _born(self, sample: EngineSample) -> float | None:
        """When the engine started, by its page, else by its oldest process."""
        started = sample.counts.process_start_unix_seconds if sample.counts else None
        if started is not None:
            return sample.monotonic_seconds - (sample.unix_seconds - started)
        return min(self.state.processes.values(), default=None)

    def _can_settle(self, page: Page, ledgers: Mapping[str, GpuAccount], now: float) -> bool:
        return not any(self._must_wait(page, ledger.read_at, now) for ledger in ledgers.values())

    def _must_wait(self, page: Page, read_at: float, now: float) -> bool:
        was_left_out = read_at < self._settled_at  # once waited for in vain, until it is read again
        waited_seconds = now - max(read_at, page.monotonic_seconds)
        return read_at < page.monotonic_seconds and not was_left_out and waited_seconds < MISSING_SECONDS

    def _settle(self, page: Page, ledgers: Mapping[str, GpuAccount]) -> None:
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

    def _settle_gpu(self, gpu: str, ledger: GpuAccount, page: Page, account: ModelAccount) -> float:
        """Hand out one GPU's joules up to the page's instant; return the seconds that they cover."""
        covered_seconds = 0.0
        name = self.info.workload
        since = max(ledger.cursors[name], ledger.track.start)
        for phase in phases(since, self.state.counts, page):
            used = ledger.take(name, phase.start, phase.end)
            if phase.doing == "unknown":
                ledger.unknown_joules += used.joules
            else:
                account.add(gpu, phase.doing, used.joules)
                covered_seconds += used.covered_seconds
        return covered_seconds

    def _settle_without_page(self, ledgers: Mapping[str, GpuAccount]) -> None:
        """Hand out all that was read, as what the GPUs themselves did."""
        name = self.info.workload
        account = self.state.models.setdefault(_NO_MODEL, ModelAccount(joules={}))
        covered: list[float] = []
        for gpu, ledger in ledgers.items():
            account.add(gpu, "idle", 0.0)
            if ledger.seen_at is None:
                covered.append(0.0)
                continue
            if not self._lives_on:
                # Whether it was there while the agent was not, nobody knows.
                ledger.give_up(name, ledger.seen_at)
            used = ledger.take(name, ledger.cursors[name], ledger.read_at)
            works = ledger.works and name not in ledger.resting
            account.add(gpu, "active" if works else "idle", used.joules)
            covered.append(used.covered_seconds)
        account.covered_seconds += min(covered, default=0.0)
