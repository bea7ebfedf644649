"""Division of a GPU in MIG instances: by slices and activity, against published examples and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import mig

from perwatt_agent.accounting.mig_split import Layout, Part, by_slices, layout
from perwatt_agent.accounting.split import Holder, Split
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading

IDLE = 70.0


def held(slices: int, activity: float | None, *names: str, busy: bool | None = None) -> Part:
    return Part(slices, activity, tuple(Holder(name, busy=busy) for name in names))


def divided(*parts: Part, slices: int = 7) -> Split:
    names = dict.fromkeys(holder.name for part in parts for holder in part.holders)
    return by_slices(parts, slices, names)


class TestPublishedExamples:
    def test_ceems(self) -> None:
        """
        CEEMS: 300 W over 1g (usage 0.5, occupancy 0.5) and 4g (0.9, 0.6) are 31.12 and 268.88 W.

        The formula in its document writes 7 for the weight of the larger one; its numbers are those of 4.
        """
        found = divided(held(1, 0.5 * 0.5, "1g"), held(4, 0.9 * 0.6, "4g"))

        watts = found.divide(300.0, 0.0)
        assert ("mig_activity", 31.12, 268.88) == (
            found.method,
            round(watts["1g"], 2),
            round(watts["4g"], 2),
        )

    def test_kepler(self) -> None:
        """Kepler: of 40 W above idle, the instance with a quarter of the activity has 10 W."""
        found = divided(held(1, 0.2, "a"), held(1, 0.6, "b"))

        watts = found.divide(40.0 + IDLE, IDLE)
        assert {"a": 10.0 + IDLE / 7, "b": 30.0 + IDLE / 7} == pytest.approx(watts)

    def test_worked_example(self) -> None:
        """The example of docs/attribution.md."""
        found = divided(held(3, 0.8, "chat"), held(2, 0.3, "code"), Part(1), Part(1))
        joules, idle_joules = 4000.0, 700.0

        assert {"chat": 300.0 + 2640.0, "code": 200.0 + 660.0} == pytest.approx(
            found.divide(joules, idle_joules)
        )
        assert (200.0, 0.0) == pytest.approx(found.rest(joules, idle_joules))


class TestMethod:
    def test_one_that_is_not_known(self) -> None:
        """An instance that is used and does not tell its activity leaves that of the others without use."""
        found = divided(held(3, 0.9, "a"), held(4, None, "b"))

        assert "mig_slice" == found.method
        assert {"a": 3 / 7, "b": 4 / 7} == pytest.approx(found.shares)

    def test_one_that_is_not_used(self) -> None:
        """An empty instance needs no activity, and has none."""
        found = divided(held(3, 0.9, "a"), Part(4))

        assert ("mig_activity", {"a": 1.0}) == (found.method, found.shares)

    def test_nobody_computes(self) -> None:
        """What is above idle power while no SM works goes by slice."""
        found = divided(held(1, 0.0, "a"), held(3, 0.0, "b"))

        assert ("mig_slice", {"a": 0.25, "b": 0.75}) == (found.method, found.shares)
        assert {"a", "b"} == found.resting

    def test_a_sleeping_engine_has_no_share(self) -> None:
        """By slice alone, what is above idle power is not the engine's that says that it has no work."""
        found = divided(held(4, None, "a", busy=False), held(3, None, "b", busy=True))
        assert {"a": 0.0, "b": 1.0} == found.shares
        assert {"a": 40.0, "b": 260.0} == pytest.approx(found.divide(300.0, 70.0))

        found = divided(held(4, None, "a", busy=False), held(3, None, "b", busy=False))
        assert {"a": 4 / 7, "b": 3 / 7} == pytest.approx(found.shares)


class TestOwners:
    def test_two_in_one_instance(self) -> None:
        """They divide it as they would a GPU: its idle power equally, the rest by who has work."""
        both = Part(4, 0.5, (Holder("a", busy=True), Holder("b", busy=False)))
        found = divided(both, held(3, 0.5, "c"))

        watts = found.divide(70.0 + 210.0, 70.0)
        assert {"a": 20.0 + 120.0, "b": 20.0, "c": 30.0 + 90.0} == pytest.approx(watts)

    def test_one_in_two_instances(self) -> None:
        """They add up."""
        found = divided(held(2, 0.5, "a"), held(1, 1.0, "a"), held(4, 0.5, "b"))

        assert {"a": 30.0 + 100.0, "b": 40.0 + 100.0} == pytest.approx(found.divide(270.0, 70.0))

    def test_strangers(self) -> None:
        """What nobody tells of is unknown, its slices too; what is empty is unallocated."""
        found = divided(held(2, 0.5, "a"), Part(2, 0.5, has_strangers=True), Part(1))

        assert {"a": 20.0 + 50.0} == pytest.approx(found.divide(170.0, 70.0))
        assert (30.0, 20.0 + 50.0) == pytest.approx(found.rest(170.0, 70.0))

    def test_an_instance_that_is_gone(self) -> None:
        """Who holds nothing any more has nothing, and what nobody can have used is unknown."""
        found = by_slices((), 7, ["a"])

        assert {"a": 0.0} == found.divide(100.0, 70.0)
        assert (70.0, 30.0) == pytest.approx(found.rest(100.0, 70.0))

    def test_idle_power_that_is_not_known(self) -> None:
        """Then all is what is above it: what is empty has nothing."""
        found = divided(held(1, 0.5, "a"), Part(6))

        assert ({"a": 300.0}, (0.0, 0.0)) == (found.divide(300.0, 0.0), found.rest(300.0, 0.0))


class TestLayout:
    ONE, OTHER = mig("a", 3, 0.5), mig("b", 4, 0.25)

    def test_by_process(self) -> None:
        """The instances of a workload are those in which its processes compute."""
        processes = (GpuProcess(1, mig="MIG-b"), GpuProcess(2, mig="MIG-a"), GpuProcess(3, mig="MIG-gone"))
        found = Layout((self.ONE, self.OTHER), 7, processes)

        assert ("MIG-b",) == found.of([1])
        assert ("MIG-a", "MIG-b") == found.of([1, 2, 3])
        assert () == found.of([3, 4])

    def test_strangers(self) -> None:
        """A process without a workload is one, and so is activity that nothing explains."""
        listed = Layout((self.ONE, self.OTHER), 7, (GpuProcess(1, mig="MIG-b"),))
        seen = Layout((self.ONE, mig("b", 4, 0.0)), 7, ())

        assert [True, True] == [part.has_strangers for part in listed.parts({})]
        assert [False, True] == [part.has_strangers for part in listed.parts({"MIG-a": [Holder("a")]})]
        assert [True, False] == [part.has_strangers for part in seen.parts({})]

    def test_compute_instances(self) -> None:
        """The monitor sees a GPU instance: what one compute instance does is not a stranger in the other."""
        parts = (mig("a", 1, 0.5, instance=1), mig("b", 2, 0.5, instance=1))
        found = Layout(parts, 7).parts({"MIG-a": [Holder("a")]})

        assert [(True, False), (False, False)] == [(part.is_used, part.has_strangers) for part in found]

    def test_what_is_no_layout(self) -> None:
        """A whole GPU, one that does not tell its slices, and one whose instance does not."""
        nameless = mig("c", 1)
        for slow in (
            GpuSlowReading(1.0),
            GpuSlowReading(1.0, mig=(self.ONE,)),
            GpuSlowReading(1.0, mig=(self.ONE, type(nameless)("MIG-c", 1, 0)), mig_slices=7),
        ):
            assert None is layout(slow)

        assert Layout((self.ONE,), 7) == layout(GpuSlowReading(1.0, mig=(self.ONE,), mig_slices=7))

    def test_aged(self) -> None:
        """Sizes stay; what was done, and by whom, is of its time."""
        old = Layout((self.ONE,), 7, (GpuProcess(1, mig="MIG-a"),)).aged()

        assert Layout((mig("a", 3),), 7) == old


PARTS = st.lists(
    st.builds(
        lambda slices, activity, names, strangers, busy: Part(
            slices,
            activity,
            tuple(Holder(name, busy=busy) for name in sorted(names)),
            has_strangers=strangers and not names,
        ),
        st.integers(0, 7),
        st.one_of(st.none(), st.floats(0.0, 1.0)),
        st.sets(st.sampled_from("abc")),
        st.booleans(),
        st.sampled_from([None, True, False]),
    ),
    max_size=7,
)


@given(PARTS, st.integers(1, 8), st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_whole(parts: list[Part], slices: int, joules: float, idle_joules: float) -> None:
    """However it is divided: nothing below 0, and holders + unallocated + unknown are what was used."""
    found = by_slices(parts, slices, "abc")
    given_ = found.divide(joules, idle_joules)
    rest = found.rest(joules, idle_joules)

    assert ["a", "b", "c"] == list(given_)
    assert min((*given_.values(), *rest)) >= 0.0
    assert joules == pytest.approx(sum(given_.values()) + sum(rest), rel=1e-9, abs=1e-6)
