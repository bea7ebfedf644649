"""One page that is read for two workloads counts its tokens twice: neither is valid."""

from collections.abc import Collection, Sequence

import pytest

from perwatt_agent.engine.shared_pages import AGREEMENTS, OTHER_PROCESSES, Pair, SharedPages
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo

URLS = ("http://a/metrics", "http://b/metrics")


class Memory:
    """Memory in a variable."""

    def __init__(self, *pairs: Pair) -> None:
        self.pairs: Collection[Pair] = pairs

    def load(self, urls: Sequence[str]) -> Collection[Pair]:
        return [pair for pair in self.pairs if pair <= set(urls)]

    def save(self, pairs: Collection[Pair]) -> None:
        self.pairs = pairs


def sample(name: str, t: float, tokens: float, start: float | None = 100.0) -> EngineSample:
    counts = EngineCounts("m", tokens, tokens / 2.0, 0.0, process_start_unix_seconds=start)
    return EngineSample(WorkloadInfo(name), ("GPU-0", "GPU-1"), t, t, counts=counts, missing_gpus=0)


def missing(ahead: float = 0.0, start: float | None = 100.0, pages: int = AGREEMENTS) -> list[int | None]:
    """The missing GPUs of two workloads after some pages of 500 tokens each, of which one is *ahead*."""
    shared = SharedPages(URLS)
    for page in range(pages):
        t = 5.0 * page
        marked = shared.mark(
            [[sample("a", t, 100.0 * t)], [sample("b", t + 0.01, 100.0 * t + 1.0 + ahead, start)]]
        )
    return [one.missing_gpus for one in marked]


def test_one_process() -> None:
    """Counts that continue each other's, of one process, are one page: each misses the other's GPUs."""
    assert [2, 2] == missing()


@pytest.mark.parametrize("start", [None, 100.01])
def test_other_process(start: float | None) -> None:
    """Counts of another process, or of one whose start is not known, are not."""
    assert [0, 0] == missing(start=start)


def test_other_counts() -> None:
    """Two processes that started at once have counts of their own."""
    assert [0, 0] == missing(ahead=200.0)


def test_alike_for_a_moment() -> None:
    """Two processes may count alike for a few pages."""
    assert [0, 0] == missing(pages=3)


def test_at_rest() -> None:
    """Counts that do not move prove nothing."""
    shared = SharedPages(URLS)
    marked = [
        one for page in range(30) for one in shared.mark([[sample(name, 5.0 * page, 0.0)] for name in "ab"])
    ]

    assert {0} == {one.missing_gpus for one in marked}


def of_pages(shared: SharedPages, *starts: tuple[float | None, float | None]) -> list[int | None]:
    """The missing GPUs of two workloads after pages 5 s apart, of processes with these *starts*."""
    marked: list[EngineSample] = []
    for page, (one, two) in enumerate(starts):
        t = 5.0 * page
        marked = shared.mark([[sample("a", t, 100.0 * t, one)], [sample("b", t, 100.0 * t, two)]])
    return [one.missing_gpus for one in marked]


ONE_PAGE = ((100.0, 100.0),) * (AGREEMENTS + 1)


def test_restarted_agent() -> None:
    """What one agent has found is marked by the next one from its first page on."""
    memory = Memory()
    found = of_pages(SharedPages(URLS, memory), *ONE_PAGE)

    assert [2, 2] == found
    assert [2, 2] == of_pages(SharedPages(URLS, memory), (100.0, 100.0))


def test_restarted_agent_without_the_other() -> None:
    """A page has tokens of all GPUs still when the other address cannot be read after a restart."""
    marked = SharedPages(URLS, Memory(frozenset(URLS))).mark([[sample("a", 0.0, 0.0)], []])

    assert [1] == [one.missing_gpus for one in marked]


def test_removed_endpoint() -> None:
    """Once one of the two is configured no more, the other is valid."""
    marked = SharedPages(URLS[:1], Memory(frozenset(URLS))).mark([[sample("a", 0.0, 0.0)]])

    assert [0] == [one.missing_gpus for one in marked]


@pytest.mark.parametrize("starts", [(100.0, 200.0), (None, None)])
def test_pages_of_two_processes_now(starts: tuple[float | None, float | None]) -> None:
    """Pages that show two processes for long are forgotten, also by the next agent."""
    memory = Memory(frozenset(URLS))
    marked = of_pages(SharedPages(URLS, memory), *(starts,) * (OTHER_PROCESSES + 1))

    assert ([0, 0], 0) == (marked, len(memory.pairs))


def test_other_counts_now() -> None:
    """Pages of one process whose counts differ are forgotten at once, also by the next agent."""
    memory = Memory(frozenset(URLS))
    shared = SharedPages(URLS, memory)
    marked = [
        one
        for t in (0.0, 5.0)
        for one in shared.mark([[sample("a", t, 100.0 * t)], [sample("b", t, 9_000.0 + 100.0 * t)]])
    ]

    assert ([2, 2, 0, 0], 0) == ([one.missing_gpus for one in marked], len(memory.pairs))


def test_processes_in_turn() -> None:
    """One page that two processes serve in turn, one here and another there, stays one page."""
    assert [2, 2] == of_pages(SharedPages(URLS), *ONE_PAGE, (100.0, 200.0), (100.0, 200.0), (100.0, 100.0))


def test_processes_in_turn_unseen() -> None:
    """After the turn one of the two cannot be read for five minutes, and the other stays marked."""
    shared = SharedPages(URLS)
    of_pages(shared, *ONE_PAGE, (100.0, 200.0))
    later = [shared.mark([[sample("a", t, 100.0 * t)], []])[0] for t in (40.0, 45.0, 50.0)]

    assert [2, 2, 2] == [one.missing_gpus for one in later]


def test_processes_in_turn_before() -> None:
    """A change of process does not undo what agreed before it."""
    half = ONE_PAGE[: AGREEMENTS // 2 + 1]

    assert [2, 2] == of_pages(SharedPages(URLS), *half, (100.0, 200.0), *half)


def test_one_url_twice() -> None:
    """One URL that is configured for two models is not saved: both entries would be one."""
    memory = Memory()
    of_pages(SharedPages((URLS[0], URLS[0]), memory), *ONE_PAGE)

    assert 0 == len(memory.pairs)
