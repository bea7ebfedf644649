"""The activity of an engine between two pages follows from the pages, its start and failed fetches."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import counts

from perwatt_agent.accounting.engine_phases import Page, Phase, phases, restarted
from perwatt_agent.facts.engine_counts import EngineCounts

BEFORE = counts(1_000.0, running=0.0, born=50.0)


def same_engine(**changes: float) -> Page:
    return Page(105.0, msgspec.structs.replace(BEFORE, **changes), born=50.0)


class TestGoingOn:
    def test_idle(self) -> None:
        """Where no count moved and nothing runs, the engine was idle."""
        assert (Phase(100.0, 105.0, "idle"),) == phases(100.0, BEFORE, same_engine())

    @pytest.mark.parametrize(
        "changes", [{"output_tokens": 1_001.0}, {"prompt_computed_tokens": 5.0}, {"requests_running": 1.0}]
    )
    def test_active(self, changes: dict[str, float]) -> None:
        """Where a count moved or a request runs, it was active."""
        assert (Phase(100.0, 105.0, "active"),) == phases(100.0, BEFORE, same_engine(**changes))

    def test_ran_before(self) -> None:
        """A request that ran at the last page made at least part of the time active."""
        before = msgspec.structs.replace(BEFORE, requests_running=2.0)

        assert (Phase(100.0, 105.0, "active"),) == phases(100.0, before, same_engine())

    def test_count_shown_late(self) -> None:
        """A count of 0 that was not on the page before has not moved."""
        assert (Phase(100.0, 105.0, "idle"),) == phases(100.0, BEFORE, same_engine(prompt_cached_tokens=0.0))

    def test_page_out_of_reach(self) -> None:
        """An engine whose page was merely out of reach went on meanwhile."""
        page = msgspec.structs.replace(same_engine(), refused_at=104.0)

        assert (Phase(100.0, 105.0, "idle"),) == phases(100.0, BEFORE, page)

    def test_no_time(self) -> None:
        """There is nothing to divide before the time that is still to be settled."""
        assert () == phases(105.0, BEFORE, same_engine())
        assert () == phases(110.0, BEFORE, same_engine())


class TestRestarted:
    def test_same(self) -> None:
        """Growing counts of the same start are one process."""
        assert not restarted(BEFORE, counts(1_500.0, born=50.0))

    def test_start(self) -> None:
        """Another start is another process; less than the clocks' tolerance is the same one."""
        assert restarted(BEFORE, counts(1_500.0, born=60.0))
        assert not restarted(BEFORE, counts(1_500.0, born=51.5))

    def test_fall(self) -> None:
        """A count that fell is another process, whether or not it tells its start."""
        assert restarted(BEFORE, counts(999.0, born=50.0))
        assert restarted(counts(1_000.0), counts(999.0))
        assert not restarted(counts(1_000.0), counts(None))

    def test_model(self) -> None:
        """Another model is another account, whatever else is the same."""
        assert restarted(BEFORE, counts(1_500.0, model="qwen", born=50.0))


class TestNew:
    def test_restart(self) -> None:
        """Unknown until it was born, loading until it stopped refusing, then serving."""
        page = Page(165.0, counts(0.0, born=120.0), born=120.0, refused_at=160.0)

        assert (
            Phase(100.0, 120.0, "unknown"),
            Phase(120.0, 160.0, "loading"),
            Phase(160.0, 165.0, "idle"),
        ) == phases(100.0, BEFORE, page)

    def test_restart_that_was_not_refused(self) -> None:
        """An engine that was never asked in vain was ready when it was born, as far as one can tell."""
        page = Page(105.0, counts(10.0, born=102.0), born=102.0)

        assert (Phase(100.0, 102.0, "unknown"), Phase(102.0, 105.0, "active")) == phases(100.0, BEFORE, page)

    def test_without_a_start(self) -> None:
        """Where the engine does not tell its start, the time in which it refused is unknown."""
        page = Page(165.0, counts(10.0), refused_at=160.0)

        assert (Phase(100.0, 160.0, "unknown"), Phase(160.0, 165.0, "active")) == phases(
            100.0, counts(1_000.0), page
        )

    def test_first_page_of_an_engine_that_was_there(self) -> None:
        """The counts of an engine older than the claim say nothing of the time since: it was idle or runs."""
        for running, doing in ((0.0, "idle"), (1.0, "active")):
            page = Page(105.0, counts(1e6, running=running, born=50.0), born=50.0)

            assert [(100.0, 105.0, doing)] == [
                (phase.start, phase.end, phase.doing) for phase in phases(100.0, None, page)
            ]

    def test_first_page_while_loading(self) -> None:
        """An engine that was born before the claim and refused since was loading."""
        page = Page(165.0, counts(0.0, born=90.0), born=90.0, refused_at=160.0)

        assert (Phase(100.0, 160.0, "loading"), Phase(160.0, 165.0, "idle")) == phases(100.0, None, page)

    def test_born_later_than_the_page(self) -> None:
        """A start that clocks put behind the page makes all the time before it unknown, and no more."""
        page = Page(105.0, counts(0.0, born=200.0), born=200.0)

        assert (Phase(100.0, 105.0, "unknown"),) == phases(100.0, None, page)


instants = st.none() | st.floats(0.0, 300.0)


@given(
    since=st.floats(0.0, 300.0),
    end=st.floats(0.0, 300.0),
    born=instants,
    refused_at=instants,
    before=st.none() | st.just(BEFORE),
    output=st.none() | st.floats(0.0, 2_000.0),
)
def test_no_gap_no_overlap(
    since: float,
    end: float,
    born: float | None,
    refused_at: float | None,
    before: EngineCounts | None,
    output: float | None,
) -> None:
    """The phases are the time from the one instant to the other, once."""
    found = phases(since, before, Page(end, counts(output, born=born), born, refused_at))

    edges = [since] + [phase.end for phase in found]
    assert edges == [phase.start for phase in found] + [max(since, end) if found else since]
    assert bool(found) == (since < end)
