"""One page that is read for two workloads counts its tokens twice: neither is valid."""

import pytest

from perwatt_agent.engine.shared_pages import AGREEMENTS, SharedPages
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo


def sample(name: str, t: float, tokens: float, start: float | None = 100.0) -> EngineSample:
    counts = EngineCounts("m", tokens, tokens / 2.0, 0.0, process_start_unix_seconds=start)
    return EngineSample(WorkloadInfo(name), ("GPU-0", "GPU-1"), t, t, counts=counts, missing_gpus=0)


def missing(ahead: float = 0.0, start: float | None = 100.0, pages: int = AGREEMENTS) -> list[int | None]:
    """The missing GPUs of two workloads after some pages of 500 tokens each, of which one is *ahead*."""
    shared = SharedPages()
    for page in range(pages):
        t = 5.0 * page
        marked = shared.mark(
            [sample("a", t, 100.0 * t), sample("b", t + 0.01, 100.0 * t + 1.0 + ahead, start)]
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
    shared = SharedPages()
    marked = [
        one for page in range(30) for one in shared.mark([sample(name, 5.0 * page, 0.0) for name in "ab"])
    ]

    assert {0} == {one.missing_gpus for one in marked}
