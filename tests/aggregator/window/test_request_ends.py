"""Engines that count when a request ends: when their figures may be believed, and that they may then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import Followed

from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.window.request_ends import has_too_few_ends

INTERVAL_SECONDS = 5.0
TOKENS_PER_REQUEST = 100.0


def followed(engine: str, *, ends: float | None, running: float | None, seconds: float = 60.0) -> Followed:
    """A workload of *engine* that ends so many requests in each interval, while so many run."""
    workload = Workload("chat", engine=engine, running=running, ok=None if ends is None else 0.0)
    workload.take("GPU-0", active=100.0)
    fleet = Followed([Machine([Gpu("GPU-0")], [workload])])
    fleet.look()
    rate = (1.0 if ends is None else ends) * TOKENS_PER_REQUEST / INTERVAL_SECONDS
    fleet.run(seconds, tokens_per_second=rate)
    return fleet


def said(fleet: Followed, seconds: float = 60.0) -> bool:
    item = fleet.items("model", seconds=seconds)[0]
    assert item.valid or "counts_at_request_end" in item.reasons
    return "counts_at_request_end" in item.reasons


class TestRule:
    # Ends are 12 a minute for each that ends in an interval of 5 s.
    @pytest.mark.parametrize(("running", "blurred"), [(0.0, False), (1.0, False), (2.0, True)])
    def test_ends_against_running(self, running: float, blurred: bool) -> None:
        """10 times as many requests must have ended as ran at once."""
        assert blurred == said(followed("tgi", ends=1.0, running=running))

    def test_many_ends(self) -> None:
        """Where requests are counted, all that ended in one reading count."""
        assert not said(followed("tgi", ends=10.0, running=12.0))

    @pytest.mark.parametrize(("running", "blurred"), [(1.0, False), (2.0, True)])
    def test_requests_not_counted(self, running: float, blurred: bool) -> None:
        """Where they are not, each reading with new tokens stands for one."""
        assert blurred == said(followed("llamacpp", ends=None, running=running))

    @pytest.mark.parametrize(("seconds", "blurred"), [(60.0, True), (295.0, True), (300.0, False)])
    def test_running_unknown(self, seconds: float, blurred: bool) -> None:
        """If running requests are not reported, the window needs five minutes."""
        assert blurred == said(followed("mlc", ends=None, running=None, seconds=seconds), seconds)

    def test_live_engine(self) -> None:
        """An engine whose counts move while requests run is never blurred by its requests."""
        assert not said(followed("vllm", ends=0.1, running=50.0))

    def test_engine_of_the_operators_own(self) -> None:
        """An unknown engine is assumed to count at the end of a request."""
        assert said(followed("my-engine", ends=1.0, running=50.0))

    def test_idle(self) -> None:
        """Nothing in flight and nothing ended: no token over real joules is a figure, and stands."""
        item = followed("tgi", ends=0.0, running=0.0).item("model")

        assert (0, "no_output_tokens") == (item.tokens.output, item.reasons[0])

    def test_long_request(self) -> None:
        """A window within one long request is not valid, however much its tokens are worth."""
        assert said(followed("llamacpp", ends=0.0, running=1.0))


class Server:
    """Serves similar requests, and counts them when they end."""

    def __init__(self, seconds_per_request: float) -> None:
        self._seconds = seconds_per_request
        self._ages: list[float] = []
        self.ended = 0

    def step(self, starts: int) -> None:
        self._ages = [age + INTERVAL_SECONDS for age in self._ages] + [0.0] * starts
        self.ended += sum(age >= self._seconds for age in self._ages)
        self._ages = [age for age in self._ages if age < self._seconds]

    @property
    def running(self) -> int:
        return len(self._ages)

    @property
    def made(self) -> float:
        """All tokens that were generated, those of running requests included."""
        return TOKENS_PER_REQUEST * (self.ended + sum(age / self._seconds for age in self._ages))


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=40),
    st.sampled_from([4.0, 12.0, 31.0, 90.0]),
    st.booleans(),
)
def test_what_stands_is_right_within_a_tenth(
    starts: list[int], seconds_per_request: float, counts_requests: bool
) -> None:
    """However load comes and goes, a window that is not blurred holds the tokens made in it within 10 %."""
    server, ring = Server(seconds_per_request), NodeRing(900.0, INTERVAL_SECONDS)
    workload = Workload("chat", engine="tgi", output=0.0, ok=0.0 if counts_requests else None)
    workload.take("GPU-0", active=1.0)
    machine = Machine([Gpu("GPU-0")], [workload])
    made = []
    for count in starts:
        server.step(count)
        workload.output, workload.running = server.ended * TOKENS_PER_REQUEST, float(server.running)
        workload.ok = float(server.ended) if counts_requests else None
        ring.add(sample_of_snapshot(machine.snapshot()))
        made.append(server.made)
        machine.unix, machine.monotonic = (
            machine.unix + INTERVAL_SECONDS,
            machine.monotonic + INTERVAL_SECONDS,
        )
        workload.covered_seconds += INTERVAL_SECONDS
    output = next(counter for counter in ring.columns if counter.name == "perwatt_output_tokens_total")
    for first in range(len(starts) - 1):
        for last in range(first + 1, len(starts)):
            counted, true = ring.increase(output, first, last), made[last] - made[first]
            if not has_too_few_ends(ring, "tgi", "chat", ring.columns, first, last):
                assert counted == pytest.approx(true, abs=0.1 * counted + 1e-6)
