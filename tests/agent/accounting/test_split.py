"""Division of one GPU among its holders, against published examples and for any holders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.accounting.split import Holder, equally, split

RATIOS = st.one_of(st.none(), st.floats(0.0, 1.0))
HOLDERS = st.lists(st.tuples(RATIOS, st.sampled_from([None, True, False])), min_size=1, max_size=5).map(
    lambda known: [Holder(f"w{number}", sm, busy) for number, (sm, busy) in enumerate(known)]
)


class TestPublishedExamples:
    def test_kepler(self) -> None:
        """Kepler's time slicing: of 40 W above idle, a process with a quarter of the SM time has 10 W."""
        divided = split([Holder("a", 0.25), Holder("b", 0.55)], others_sm_ratio=0.20)

        watts = divided.divide(40.0, idle_joules=0.0)
        assert ("sm_share", 10.0, 22.0) == (
            divided.method,
            pytest.approx(watts["a"]),
            pytest.approx(watts["b"]),
        )
        assert 8.0 == pytest.approx(40.0 - sum(watts.values()))

    def test_worked_example(self) -> None:
        """The example of docs/attribution.md."""
        watts = split([Holder("chat", 0.6), Holder("code", 0.2)]).divide(400.0, idle_joules=70.0)

        assert {"chat": pytest.approx(35.0 + 247.5), "code": pytest.approx(35.0 + 82.5)} == watts


class TestMethod:
    def test_alone(self) -> None:
        """Who holds a GPU alone has all of it, whoever else computes there."""
        assert {"a": 300.0} == split([Holder("a", 0.1, False)], others_sm_ratio=0.9).divide(300.0, 0.0)

    def test_sm_share_needs_all(self) -> None:
        """One holder whose processes are not known leaves the SM utilisation of the others without use."""
        holders = [Holder("a", 0.5, busy=True), Holder("b", None, busy=False)]

        assert ("busy_share", {"a": 1.0, "b": 0.0}) == (split(holders).method, split(holders).shares)

    def test_a_sleeping_engine_has_no_share(self) -> None:
        """Of what is used beyond idling, who has work has equal parts and who has none nothing."""
        holders = [Holder("a", busy=True), Holder("b", busy=False), Holder("c", busy=True)]

        watts = split(holders).divide(330.0, idle_joules=30.0)
        assert {"a": 160.0, "b": 10.0, "c": 160.0} == watts

    @pytest.mark.parametrize(
        "holders",
        [
            [Holder("a", busy=True), Holder("b", busy=None)],
            [Holder("a", busy=False), Holder("b", busy=False)],
            [Holder("a", 0.0, busy=False), Holder("b", 0.0, busy=False)],
        ],
        ids=["one does not tell", "nobody has work", "nobody computes"],
    )
    def test_equally(self, holders: list[Holder]) -> None:
        """Where nothing tells them apart they share equally."""
        assert ("equal", {"a": 0.5, "b": 0.5}) == (split(holders).method, split(holders).shares)

    def test_nobody_else_computes(self) -> None:
        """What only others used is no holder's."""
        divided = split([Holder("a", 0.0), Holder("b", 0.0)], others_sm_ratio=0.3)

        assert {"a": 35.0, "b": 35.0} == divided.divide(300.0, idle_joules=70.0)


@given(HOLDERS, st.floats(0.0, 1.0), st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_whole(holders: list[Holder], others: float, joules: float, idle_joules: float) -> None:
    """Whoever holds it: shares are none below 0 and add up to 1, and so do joules to what was used."""
    divided = split(holders, others)
    parts = divided.divide(joules, idle_joules)

    assert 1.0 == pytest.approx(sum(divided.shares.values()) + divided.others)
    assert [holder.name for holder in holders] == list(parts)
    assert min(parts.values()) >= 0.0
    dynamic = joules - min(joules, idle_joules)
    assert joules == pytest.approx(sum(parts.values()) + divided.others * dynamic, rel=1e-9, abs=1e-6)


@given(HOLDERS)
def test_without_knowledge(holders: list[Holder]) -> None:
    """To know nothing of any holder is to divide equally."""
    unknown = [Holder(holder.name) for holder in holders]

    assert equally(holder.name for holder in holders) == split(unknown)
