"""Quota of places: whoever takes all that it can get, a newcomer still finds a place."""

from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.work.quota import OPERATOR, Quota


@given(limit=st.integers(8, 1000), greedy=st.lists(st.sampled_from("abc"), max_size=400))
def test_a_newcomer(limit: int, greedy: list[str]) -> None:
    """Three owners never use up a quota between them, and the limit holds."""
    quota, taken = Quota(limit), 0
    for owner in greedy:
        if quota.fits(owner, 1):
            quota.take(owner, 1)
            taken += 1

    assert taken < limit
    assert quota.fits("newcomer", 1)


def test_what_is_freed() -> None:
    """A place that was freed can be taken again; the operator may take all of them."""
    quota = Quota(4)
    quota.take("a", 2)
    assert not quota.fits("a", 1)
    quota.take("a", -1)

    assert quota.fits("a", 1)
    assert (True, False) == (quota.fits(OPERATOR, 3), quota.fits(OPERATOR, 4))
