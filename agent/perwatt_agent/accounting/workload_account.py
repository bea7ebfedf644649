"""Account of one workload: its tokens and its joules, always up to the same instant."""

from collections import deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from perwatt_agent.accounting.engine_phases import Page, has_work, phases
from perwatt_agent.accounting.gpu_account import GpuAccount
from perwatt_agent.accounting.mig_split import Layout
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot

# A page waits this long for a GPU that is not read. Later pages do not wait until it is read again.
MISSING_SECONDS = 60.0
# The identity of a workload is published once it is known, or after this time without an answer.
LOOK_UP_SECONDS = 30.0
_NO_MODEL = ""


class ModelAccount(Struct):
    """Energy that a workload used for one model: joules by (GPU, activity), and the time covered."""

    joules: dict[str, dict[str, float]]
    covered_seconds: float = 0.0

    def add(self, gpu: str, doing: str, joules: float) -> None:
        by_doing = self.joules.setdefault(gpu, {"active": 0.0, "idle": 0.0, "loading": 0.0})
        by_doing[doing] += joules


class WorkloadState(Struct):
    """
    Account that survives a restart of the agent.

    `processes` are its known processes with their starts in seconds since boot; `migs` are the MIG
    instances that it holds, by the UUID of their GPU.
    """

    models: dict[str, ModelAccount]
    counts: EngineCounts | None = None
    processes: dict[int, float] = {}
    ended: bool = False
    migs: dict[str, tuple[str, ...]] = {}

    def joules(self) -> Iterator[tuple[str, float]]:
        """Yield all of its joules in parts, each with its GPU."""
        for account in self.models.values():
            for gpu, by_doing in account.joules.items():
                yield gpu, sum(by_doing.values())


class WorkloadAccount:
    """
    Tokens and joules of one workload, which advance with each of its pages, or, without a page, with each
    collection cycle.

    A page waits until every one of its GPUs has been read at or after the page's instant, so that
    tokens and joules advance together. `last_page_at` is the instant of the newest page in this run,
    `ended_at` when it was reported as ended, `pids` are its processes, and `busy` is whether it has work,
    None if that is unknown.
    """

    def __init__(self, info: WorkloadInfo, state: WorkloadState | None = None) -> None:
        self.info = info
        self.state = state or WorkloadState(models={})
        self.last_page_at = float("-inf")
        self.ended_at: float | None = None
        self.pids: frozenset[int] = frozenset()
        self.busy: bool | None = None
        self._claimed: dict[str, tuple[str, ...]] = {}
        self._has_page = True
        self._missing_gpus: int | None = None
        self._lives_on = False
        self._was_replaced = False
        self._attributed_at = float("-inf")
        self._pages: deque[Page] = deque()
        self._newest_counts: EngineCounts | None = None
        self._refused_at: float | None = None
        self._up = False
        self._info_is_final = False
        self._first_sample_at: float | None = None

    def receive(self, sample: EngineSample) -> None:
        """Take the result of a fetch. A sample with neither counts nor failure is only a claim on GPUs."""
        self._update_info(sample)
        self._update_processes(sample)
        self._has_page = sample.has_page
        self._missing_gpus = sample.missing_gpus
        self._claimed = sample.migs
        if sample.ended or not sample.has_page:
            self._up, self.busy = not sample.ended, None
        elif sample.failure:
            self._up, self.busy = False, None
            self._refused_at = sample.monotonic_seconds
        elif sample.counts is not None:
            self._receive_page(sample, sample.counts)

    def attribute(self, gpu_accounts: Mapping[str, GpuAccount], now: float) -> None:
        """Attribute all that is possible at monotonic time *now*; *gpu_accounts* are of its GPUs."""
        self._info_is_final = self._info_is_final or self._took_too_long(now)
        if not self._has_page:
            self._attribute_without_page(gpu_accounts)
        elif self.state.counts is not None:
            # A series starts at 0; without that, a reader would lose the first increment.
            for gpu in gpu_accounts:
                self.state.models[self.state.counts.model].add(gpu, "idle", 0.0)
        while self._pages and self._can_attribute(self._pages[0], gpu_accounts, now):
            self._attribute_page(self._pages.popleft(), gpu_accounts)

    def snapshot(self, gpu_accounts: Mapping[str, GpuAccount]) -> WorkloadSnapshot:
        """Return what to publish; *gpu_accounts* are of the GPUs that it holds."""
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
                    gpu_accounts[gpu].method if gpu in gpu_accounts else None,
                )
                for gpu, joules in account.joules.items()
            ),
            covered_seconds=account.covered_seconds,
            missing_gpus=self._missing_gpus,
        )

    def instances(self, gpu: str, layout: Layout) -> tuple[str, ...] | None:
        """
        Return the instances of a GPU that it holds: those claimed, else those of its processes; None is all.

        A process that is not listed now keeps its instance.
        """
        if gpu in self._claimed:
            self.state.migs[gpu] = self._claimed[gpu]
        elif not self.pids:
            self.state.migs.pop(gpu, None)
        elif found := layout.of(self.pids):
            self.state.migs[gpu] = found
        return self.state.migs.get(gpu)

    def _update_info(self, sample: EngineSample) -> None:
        """Update the identity until the engine is known or the look-ups took too long."""
        if self._info_is_final:
            return
        self.info = sample.info
        if self._first_sample_at is None:
            self._first_sample_at = sample.monotonic_seconds
        # A workload with a group and without a page is configured: nothing more can be found out.
        is_known = bool(sample.info.engine or (sample.info.group and not sample.has_page))
        self._info_is_final = is_known or self._took_too_long(sample.monotonic_seconds)

    def _took_too_long(self, now: float) -> bool:
        return self._first_sample_at is not None and now - self._first_sample_at >= LOOK_UP_SECONDS

    def _update_processes(self, sample: EngineSample) -> None:
        """Update the processes, and whether any of them existed before."""
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

    def _receive_page(self, sample: EngineSample, counts: EngineCounts) -> None:
        self._pages.append(
            Page(sample.monotonic_seconds, counts, self._born(sample), self._refused_at, self._was_replaced)
        )
        self.busy = has_work(self._newest_counts, counts)
        self.last_page_at = sample.monotonic_seconds
        self._newest_counts = counts
        self._refused_at = None
        self._was_replaced = False
        self._up = True

    def _born(self, sample: EngineSample) -> float | None:
        """Return when the engine started, by its page, else by its oldest process."""
        started = sample.counts.process_start_unix_seconds if sample.counts else None
        if started is not None:
            return sample.monotonic_seconds - (sample.unix_seconds - started)
        return min(self.state.processes.values(), default=None)

    def _can_attribute(self, page: Page, gpu_accounts: Mapping[str, GpuAccount], now: float) -> bool:
        return not any(
            self._must_wait(page, gpu_account.read_at, now)
            for gpu_account in gpu_accounts.values()
            if not gpu_account.is_unmeasurable
        )

    def _must_wait(self, page: Page, read_at: float, now: float) -> bool:
        was_left_out = read_at < self._attributed_at  # an earlier page waited for it in vain
        waited_seconds = now - max(read_at, page.monotonic_seconds)
        return read_at < page.monotonic_seconds and not was_left_out and waited_seconds < MISSING_SECONDS

    def _attribute_page(self, page: Page, gpu_accounts: Mapping[str, GpuAccount]) -> None:
        account = self.state.models.setdefault(page.counts.model, ModelAccount(joules={}))
        covered: list[float] = []
        for gpu, gpu_account in gpu_accounts.items():
            account.add(gpu, "idle", 0.0)
            if gpu_account.is_unmeasurable:
                continue
            # Joules of a missing GPU are attributed once it is read again.
            is_missing = gpu_account.read_at < page.monotonic_seconds
            covered.append(0.0 if is_missing else self._attribute_gpu(gpu, gpu_account, page, account))
        account.covered_seconds += min(covered, default=0.0)
        self.state.counts = page.counts
        self._attributed_at = page.monotonic_seconds

    def _attribute_gpu(self, gpu: str, gpu_account: GpuAccount, page: Page, account: ModelAccount) -> float:
        """Attribute one GPU's joules up to the page's instant; return the seconds that they cover."""
        covered_seconds = 0.0
        name = self.info.workload
        since = max(gpu_account.cursors[name], gpu_account.timeline.start)
        for phase in phases(since, self.state.counts, page):
            used = gpu_account.take(name, phase.start, phase.end)
            if phase.doing == "unknown":
                gpu_account.unknown_joules += used.joules
            else:
                account.add(gpu, phase.doing, used.joules)
                covered_seconds += used.covered_seconds
        return covered_seconds

    def _attribute_without_page(self, gpu_accounts: Mapping[str, GpuAccount]) -> None:
        """Attribute all joules that were read, as active or idle by the activity of the GPUs."""
        name = self.info.workload
        account = self.state.models.setdefault(_NO_MODEL, ModelAccount(joules={}))
        covered: list[float] = []
        for gpu, gpu_account in gpu_accounts.items():
            account.add(gpu, "idle", 0.0)
            if gpu_account.is_unmeasurable:
                continue
            if gpu_account.first_read_at is None:
                covered.append(0.0)
                continue
            if not self._lives_on:
                # Whether the workload existed while the agent did not run is unknown.
                gpu_account.write_off(name, gpu_account.first_read_at)
            used = gpu_account.take(name, gpu_account.cursors[name], gpu_account.read_at)
            works = gpu_account.is_working and name not in gpu_account.resting
            account.add(gpu, "active" if works else "idle", used.joules)
            covered.append(used.covered_seconds)
        account.covered_seconds += min(covered, default=0.0)
