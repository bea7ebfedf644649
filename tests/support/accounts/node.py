"""A node whose power, tokens and faults a test decides, and whose every joule is known."""

from collections.abc import Hashable, Sequence

from msgspec.structs import replace

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.readings import EngineSample, Readings
from support.accounts.readings import At, counts, page, sweep

TOKENS_PER_SECOND = 1_000.0
LATEST_READ_SECONDS = 0.2
"""The GPUs are read this long before a sweep ends, so that a page can be younger than they are."""


class Engine:
    """
    An engine whose token count tells its age, so that a page's instant can be had from its tokens.

    `claimed` is whether the agent knows of it, `reachable` whether its page answers. `processes` are
    its processes with their starts, `migs` the instances that it claims by GPU, and `ended` says that it
    is over.
    """

    def __init__(self, workload: str, gpus: Sequence[int] = (0,), born: float = 0.0) -> None:
        self.workload = workload
        self.gpus = tuple(f"GPU-{index}" for index in gpus)
        self.born = born
        self.model = "llama"
        self.running = 1.0
        self.claimed = True
        self.reachable = True
        self.serves = True
        self.has_page = True
        self.processes: dict[int, float] = {}
        self.migs: dict[str, tuple[str, ...]] = {}
        self.ended = False

    @property
    def says(self) -> Hashable:
        """What is not said again while it stays."""
        return self.gpus, tuple(self.migs.items()), tuple(self.processes.items()), self.has_page, self.ended

    def counts(self, t: float) -> EngineCounts:
        tokens = TOKENS_PER_SECOND * (t - self.born) if self.serves else 0.0
        return counts(tokens, model=self.model, running=self.running if self.serves else 0.0, born=self.born)

    def settled_at(self, output_tokens: float) -> float:
        """The instant of the page that said *output_tokens*."""
        return self.born + output_tokens / TOKENS_PER_SECOND

    def fetch(self, t: float) -> EngineSample:
        if self.reachable:
            return replace(self.claim(t), counts=self.counts(t))
        return replace(self.claim(t), failure="refused")

    def claim(self, t: float) -> EngineSample:
        return replace(
            page(self.workload, t, gpus=() if self.ended else self.gpus),
            pids=tuple(self.processes),
            pid_starts=tuple(self.processes.values()),
            has_page=self.has_page,
            ended=self.ended,
            migs=dict(self.migs),
        )


class Node:
    """
    GPUs with exact counters and engines, swept once a second.

    Processes are listed every `slow_seconds` where there is a list in `processes`, and so are the instances
    of GPUs that are divided, in `migs`.
    """

    def __init__(self, gpus: int = 1, engines: Sequence[Engine] = (), watts: float = 300.0) -> None:
        self.t = 1_000.0
        self.watts = [watts] * gpus
        self.present = [True] * gpus
        self.has_sensor = [True] * gpus
        self.processes: list[tuple[GpuProcess, ...] | None] = [None] * gpus
        self.migs: list[tuple[MigReading, ...] | None] = [None] * gpus
        self.slow_seconds = 10
        self.engines = list(engines)
        self.page_seconds = 5
        self.page_age_seconds = 0.3
        self._joules = [0.0] * gpus
        self._said: dict[str, Hashable] = {}
        self._sweeps = 0

    def advance(self, seconds: float) -> None:
        self.t += seconds
        for index, watts in enumerate(self.watts):
            self._joules[index] += watts * seconds

    def joules(self, gpu: int, t: float) -> float:
        """What a GPU has used up to *t*, if its power has not changed since."""
        return self._joules[gpu] - self.watts[gpu] * (self.t - t)

    def forget_claims(self) -> None:
        """A new agent hears every claim anew."""
        self._said.clear()

    def sweep(self) -> Readings:
        """One second later: GPUs read, pages fetched where they are due."""
        self.advance(1.0)
        self._sweeps += 1
        read_at = self.t - LATEST_READ_SECONDS
        gpus = {
            index: self._read(index, read_at) if present else None
            for index, present in enumerate(self.present)
        }
        return sweep(self.t, gpus, *self._engine_samples(), read_at=read_at)

    def _read(self, gpu: int, read_at: float) -> At:
        watts = self.watts[gpu]
        # A divided GPU does not tell its utilization.
        utilization = None if self.migs[gpu] is not None else 1.0 if watts > 100.0 else 0.0
        at = At(self.joules(gpu, read_at), watts, utilization)
        if not self.has_sensor[gpu]:
            at = At(None, None, utilization)
        is_slow = self._sweeps % self.slow_seconds == 0
        return replace(at, processes=self.processes[gpu], migs=self.migs[gpu]) if is_slow else at

    def _engine_samples(self) -> list[EngineSample]:
        samples = []
        for engine in self.engines:
            if not engine.claimed:
                continue
            has_page = engine.has_page and not engine.ended
            said = self._said.get(engine.workload)
            if has_page and self._sweeps % self.page_seconds == 0:
                samples.append(engine.fetch(self.t - self.page_age_seconds))
            elif said is None or not (has_page or said == engine.says):
                samples.append(engine.claim(self.t))
            self._said[engine.workload] = engine.says
        return samples
