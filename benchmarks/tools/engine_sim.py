"""An engine that makes tokens by a timetable: what it shows, what it made in truth, and what its GPU drew."""

import bisect
from collections.abc import Callable, Sequence

from msgspec import Struct

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_counter import EngineCounter
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.net.prometheus_text import PageParser

IDLE_WATTS, BUSY_WATTS = 90.0, 650.0
TOKENS_PER_SECOND = 2000.0
TOKENS_PER_REQUEST = 200.0
DAY_SECONDS = 1800.0
_PAGE = """\
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
vllm:request_generation_tokens_sum{{engine="0",model_name="m"}} {ended_tokens}
vllm:request_generation_tokens_count{{engine="0",model_name="m"}} {ended}
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} {ended}
vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} 0
vllm:time_to_first_token_seconds_count{{engine="0",model_name="m"}} {begun}
vllm:e2e_request_latency_seconds_count{{engine="0",model_name="m"}} {ended}
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="m"}} 0
process_start_time_seconds {born}
"""


class Stretch(Struct, frozen=True):
    """From `begin` to the next stretch the engine makes tokens at this rate; it is up unless `down`."""

    begin: float
    tokens_per_second: float
    aborted_share: float = 0.0
    down: bool = False


class SimulatedEngine:
    """The engine of one timetable; every stretch after one that is down is a new process."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self._stretches = list(stretches)
        self._begins = [stretch.begin for stretch in stretches]
        self._made = [0.0]
        self._useful = [0.0]
        for stretch, after in zip(self._stretches, self._stretches[1:], strict=False):
            made = (after.begin - stretch.begin) * stretch.tokens_per_second
            self._made.append(self._made[-1] + made)
            self._useful.append(self._useful[-1] + made * (1 - stretch.aborted_share))

    def watts(self) -> list[tuple[float, float]]:
        """What the GPU draws, from which second on."""
        return [(one.begin, BUSY_WATTS if one.tokens_per_second else IDLE_WATTS) for one in self._stretches]

    def tokens(self, seconds: float) -> float:
        """What was made until then, through all restarts."""
        place = bisect.bisect_right(self._begins, seconds) - 1
        stretch = self._stretches[place]
        return self._made[place] + (seconds - stretch.begin) * stretch.tokens_per_second

    def effective_tokens(self, seconds: float) -> float:
        """What of it was for requests that ended well."""
        place = bisect.bisect_right(self._begins, seconds) - 1
        stretch = self._stretches[place]
        made = (seconds - stretch.begin) * stretch.tokens_per_second
        return self._useful[place] + made * (1 - stretch.aborted_share)

    def page(self, seconds: float) -> bytes | None:
        """What it shows then; None while it is down. No counter tells of aborted requests, as in vLLM."""
        place = bisect.bisect_right(self._begins, seconds) - 1
        if self._stretches[place].down:
            return None
        born = max((one.begin for one in self._births() if one.begin <= seconds), default=0.0)
        tokens = self.tokens(seconds) - self.tokens(born)
        useful = self.effective_tokens(seconds) - self.effective_tokens(born)
        ended = useful // TOKENS_PER_REQUEST
        running = 1 if self._stretches[place].tokens_per_second else 0
        text = _PAGE.format(
            tokens=int(tokens),
            ended_tokens=int(ended * TOKENS_PER_REQUEST),
            ended=int(ended),
            begun=int(tokens // TOKENS_PER_REQUEST) + running,
            running=running,
            born=1_700_000_000 + born,
        )
        return text.encode()

    def _births(self) -> list[Stretch]:
        pairs = zip(self._stretches, self._stretches[1:], strict=False)
        return [after for before, after in pairs if before.down]


class SimulatedReader:
    """The agent's reader of that engine's page, without a network between."""

    engine = "vllm"
    faults: tuple[EngineFailure, ...] = ()

    def __init__(self, engine: SimulatedEngine, now: Callable[[], float]) -> None:
        self._engine = engine
        self._now = now
        self._parser = PageParser(VLLM.families())
        self._counter = EngineCounter("mixed")

    async def read(self) -> EngineCounts:
        page = self._engine.page(self._now())
        if page is None:
            raise EngineFailure("connect", "the engine is down")
        return self._counter.counts(VLLM, EngineMetricsPage(VLLM, self._parser.parse(page), None))


def steady() -> SimulatedEngine:
    return SimulatedEngine([Stretch(0.0, TOKENS_PER_SECOND)])


def bursts() -> SimulatedEngine:
    """Three seconds of work in every fifteen."""
    return SimulatedEngine(
        [
            stretch
            for begin in range(0, int(DAY_SECONDS), 15)
            for stretch in (Stretch(begin, TOKENS_PER_SECOND), Stretch(begin + 3.0, 0.0))
        ]
    )


def uneven() -> SimulatedEngine:
    """A minute of work and 43 s of rest: what a mean of ratios weighs wrong."""
    return SimulatedEngine(
        [
            stretch
            for begin in range(0, int(DAY_SECONDS), 103)
            for stretch in (Stretch(begin, TOKENS_PER_SECOND), Stretch(begin + 60.0, 0.0))
        ]
    )


def restarts() -> SimulatedEngine:
    """A new process every 137 s; it is down for 12 s, and its GPU idles for 8 s more."""
    stretches = []
    for begin in range(0, int(DAY_SECONDS), 137):
        stretches += [
            Stretch(begin, TOKENS_PER_SECOND),
            Stretch(begin + 117.0, 0.0, down=True),
            Stretch(begin + 129.0, 0.0),
        ]
    return SimulatedEngine(stretches)


def aborts() -> SimulatedEngine:
    """A third of all tokens is of requests that their clients give up."""
    return SimulatedEngine(
        [
            stretch
            for begin in range(0, int(DAY_SECONDS), 53)
            for stretch in (Stretch(begin, TOKENS_PER_SECOND, 1 / 3), Stretch(begin + 40.0, 0.0))
        ]
    )


SCENARIOS: dict[str, Callable[[], SimulatedEngine]] = {
    "steady": steady,
    "bursts, 3 of 15 s": bursts,
    "60 s of work, 43 s of rest": uneven,
    "restarts every 137 s": restarts,
    "a third aborted": aborts,
}
