"""Which PUE is in use: the measured one, or why the stated one."""

import pytest

from perwatt_agent.meters.config import MeterConfig
from perwatt_aggregator.facility.config import PueConfig
from perwatt_aggregator.facility.history import EnergyHistory, MeasuredEnergies, measured_energies
from perwatt_aggregator.facility.pue import pue_in_use

NOW = 1_800_000_000.0
DAY = 86400.0
METER = MeterConfig(kind="json", url="http://meter/", path="kwh", unit="kilowatt_hours")
LIVE = PueConfig(1.4, "live", category=2, facility_meter=METER)


def energies(
    pue: float = 1.2, seconds: float = DAY, span: float = DAY, age: float = 30.0
) -> MeasuredEnergies:
    return MeasuredEnergies(pue * 1e9, 1e9, seconds, span, age)


class TestLive:
    def test_in_use(self) -> None:
        """What was measured goes before what was stated, with its period, age and category."""
        pue, reasons = pue_in_use(LIVE, energies(), NOW)

        assert pue is not None
        assert (1.2, "live", 2, DAY, 30.0, 0.02) == (
            pytest.approx(pue.ratio),
            pue.kind,
            pue.category,
            pue.period_seconds,
            pue.age_seconds,
            pue.uncertainty_ratio,
        )
        assert () == reasons

    @pytest.mark.parametrize(
        ("known", "reason"),
        [
            (None, "pue_period_short"),
            (energies(seconds=840.0, span=840.0), "pue_period_short"),
            (energies(age=3700.0), "pue_stale"),
            (energies(seconds=0.94 * DAY), "pue_coverage_low"),
            (energies(0.99), "pue_below_one"),
            (energies(1000.0), "pue_implausible"),
            (MeasuredEnergies(0.0, 0.0, DAY, DAY, 0.0), "pue_implausible"),
        ],
    )
    def test_refused(self, known: MeasuredEnergies | None, reason: str) -> None:
        """A PUE that is not usable has a reason, and the stated ratio replaces it as a static one."""
        pue, reasons = pue_in_use(LIVE, known, NOW)

        assert pue is not None
        assert (1.4, "static", None, (reason,)) == (pue.ratio, pue.kind, pue.category, reasons)

    def test_refused_with_nothing_stated(self) -> None:
        """Without a stated ratio there is none at all."""
        config = PueConfig(kind="live", facility_meter=METER)

        assert (None, ("pue_below_one", "no_pue")) == pue_in_use(config, energies(0.5), NOW)


class TestStated:
    def test_static(self) -> None:
        """One that is assumed has no age."""
        pue, reasons = pue_in_use(PueConfig(1.25), None, NOW)

        assert pue is not None
        assert (1.25, "static", None, None, ()) == (
            pue.ratio,
            pue.kind,
            pue.age_seconds,
            pue.period_seconds,
            reasons,
        )

    def test_interim(self) -> None:
        """One that was measured has the age of its measurement."""
        pue, _ = pue_in_use(PueConfig(1.3, "interim", measured_until=NOW - 90 * DAY), None, NOW)

        assert pue is not None
        assert ("interim", 90 * DAY) == (pue.kind, pue.age_seconds)

    def test_measured_long_ago(self) -> None:
        """One of years ago is no better than assumed."""
        config = PueConfig(1.3, "category", category=3, measured_until=NOW - 800 * DAY)
        pue, reasons = pue_in_use(config, None, NOW)

        assert pue is not None
        assert ("static", None, ("pue_stale",)) == (pue.kind, pue.category, reasons)

    def test_uncertainty_is_the_operators(self) -> None:
        """A stated uncertainty goes before the default."""
        pue, _ = pue_in_use(PueConfig(1.3, uncertainty=0.01), None, NOW)

        assert pue is not None
        assert 0.01 == pue.uncertainty_ratio

    def test_none(self) -> None:
        """Without a stated ratio there is no PUE."""
        assert (None, ("no_pue",)) == pue_in_use(None, None, NOW)


class TestMeasured:
    @staticmethod
    def history(*watts: float, period: float = 3600.0, start: float = 0.0) -> EnergyHistory:
        history = EnergyHistory(period)
        for minute, power in enumerate(watts):
            if power:
                history.add(start + 60.0 * minute, start + 60.0 * (minute + 1), 60.0 * power)
        return history

    def test_a_ratio_of_sums(self) -> None:
        """A PUE is a sum over a sum: fixed losses weigh little when IT is busy. Not a mean of ratios."""
        facility, it = self.history(20.0, 110.0), self.history(10.0, 100.0)
        known = measured_energies(facility, (it,), 120.0)

        assert known is not None
        assert 130.0 / 110.0 == pytest.approx(known.facility_joules / known.it_joules)
        assert (2.0 + 1.1) / 2 != pytest.approx(known.facility_joules / known.it_joules)

    def test_only_of_the_same_time(self) -> None:
        """A minute that one of them lacks counts for neither."""
        facility, it = self.history(12.0, 12.0, 12.0, 0.0, 12.0), self.history(10.0, 0.0, 10.0, 10.0, 10.0)
        known = measured_energies(facility, (it,), 300.0)

        assert known is not None
        assert (3 * 720.0, 3 * 600.0) == (known.facility_joules, known.it_joules)
        assert (180.0, 300.0) == (known.seconds, known.span_seconds)

    def test_every_node_counts(self) -> None:
        """IT as the sum of nodes is known only while all of them are."""
        nodes = (self.history(5.0, 5.0, 5.0), self.history(5.0, 0.0, 5.0))
        known = measured_energies(self.history(12.0, 12.0, 12.0), nodes, 180.0)

        assert known is not None
        assert (120.0, 1200.0) == (known.seconds, known.it_joules)
        assert measured_energies(self.history(12.0), (*nodes, EnergyHistory(3600.0)), 180.0) is None

    def test_only_the_period(self) -> None:
        """What is older than the period does not count, nor does what has no IT at all."""
        watts = [12.0] * 20 + [24.0] * 15
        known = measured_energies(
            self.history(*watts, period=900.0), (self.history(*[10.0] * 35, period=900.0),), 2100.0
        )

        assert known is not None
        assert (2.4, 900.0) == (pytest.approx(known.facility_joules / known.it_joules), known.seconds)
        assert measured_energies(self.history(1.0), (), 60.0) is None

    def test_age_is_that_of_the_older_side(self) -> None:
        """A meter that fell silent makes the PUE old, however fresh the other is."""
        known = measured_energies(self.history(*[12.0] * 30), (self.history(*[10.0] * 20),), 1800.0)

        assert known is not None
        assert 600.0 == known.age_seconds
