"""How far figures may be off: meters, windows, alignment, PUE."""

import math

import pytest
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed
from support.fleet.ledger_trees import flat

from perwatt_aggregator.facility.config import FacilityConfig, PueConfig
from perwatt_aggregator.validity.uncertainty import (
    DEFAULTS,
    UncertaintyConfig,
    combined,
    of_alignment,
    of_difference,
    of_sum,
    of_window,
)

METERED = FacilityConfig(pue=PueConfig(1.25))


def after_a_minute(config: UncertaintyConfig | None = None, backend: str = "nvml") -> Followed:
    machine = serving_machine()
    machine.backend = backend
    fleet = Followed([machine], METERED, uncertainty=config or UncertaintyConfig())
    fleet.look()
    fleet.run(60.0, node_watts=900.0)
    return fleet


class TestArithmetic:
    def test_independent_ones_add_in_squares(self) -> None:
        """Three and four are five; one that is not known makes all unknown."""
        assert (0.05, None) == (pytest.approx(combined(0.03, 0.04)), combined(0.03, None))

    def test_window(self) -> None:
        """Two edges, each anywhere within a period; and what is not covered."""
        assert 5.0 / (math.sqrt(6.0) * 60.0) == pytest.approx(of_window(60.0, 5.0, 1.0))
        assert 0.1 / math.sqrt(3.0) == pytest.approx(of_window(60.0, 0.0, 0.9))
        assert 0.5 / (math.sqrt(3.0) * 60.0) == pytest.approx(of_alignment(60.0, 0.5))

    @pytest.mark.parametrize(("period", "seconds", "measured"), [(15.0, 600.0, 0.005), (60.0, 3120.0, 0.009)])
    def test_it_holds_on_real_traces(self, period: float, seconds: float, measured: float) -> None:
        """What sampling was off by on published wall traces is within twice of what is said."""
        assert measured <= 2.0 * of_window(seconds, period, 1.0) < 10.0 * measured

    def test_sums_and_differences(self) -> None:
        """Meters of a class are off together; a rest has the errors of both that it is the difference of."""
        assert 0.04 == pytest.approx(of_sum([(100.0, 0.05), (100.0, 0.03), (0.0, None)]))
        assert (None, None) == (of_sum([(1.0, None)]), of_sum([]))
        assert math.hypot(45.0, 15.0) / 600.0 == pytest.approx(of_difference(900.0, 0.05, 300.0, 0.05))


class TestFigures:
    def test_meter_classes(self) -> None:
        """The meter's class speaks for the boundary at which it stands."""
        fleet = after_a_minute(UncertaintyConfig({"ipmi": 0.01}))
        board, node = fleet.item(), fleet.item(boundary="node")

        assert DEFAULTS["counter"] == pytest.approx(board.relative_uncertainty, abs=5e-4)
        assert 0.01 == pytest.approx(node.relative_uncertainty, abs=2e-3)

    def test_pue_adds_to_the_facility(self) -> None:
        """At the facility there is the PUE's as well, in squares."""
        fleet = after_a_minute()
        node, facility = (fleet.item(boundary=boundary) for boundary in ("node", "facility"))
        pue = fleet.aggregator.facility_states()[0].pue

        assert pue is not None
        assert pue.uncertainty_ratio > 0.0
        assert combined(node.relative_uncertainty, pue.uncertainty_ratio) == pytest.approx(
            facility.relative_uncertainty
        )

    def test_estimates_are_less_certain(self) -> None:
        """A node by a stated ratio is less certain than one with a meter."""
        stated = Followed([serving_machine()], FACILITY)
        stated.look()
        stated.run(60.0)
        measured = after_a_minute().item(boundary="node").relative_uncertainty or 1.0

        assert (stated.item(boundary="node").relative_uncertainty or 0.0) > 3.0 * measured

    def test_simulated_is_not_uncertain(self) -> None:
        """What nobody measured has no uncertainty of measurement."""
        fleet = after_a_minute(backend="simulated")

        assert {None} == {
            fleet.item(boundary=boundary).relative_uncertainty
            for boundary in ("gpu_board", "node", "facility")
        }

    def test_ledger(self) -> None:
        """The rest of a node is a difference, and so the least certain of its parts."""
        tree = flat(after_a_minute().tree())
        ratios = {name: entry.relative_uncertainty or 0.0 for name, entry in tree.items()}

        assert ratios["psu_and_rest"] > ratios["nodes"] > 0.0
        assert ratios["facility"] > ratios["nodes"]
