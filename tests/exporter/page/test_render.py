"""The renderer against prometheus_client, which is its oracle."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString
from support.exposition.pages import collect, oracle, points, rendered
from support.exposition.samples import SAMPLES

from perwatt_agent.facts.engine_counts import Histogram
from perwatt_exporter.families.all import ALL
from perwatt_exporter.http.negotiate import Format
from perwatt_exporter.page.family import Family
from perwatt_exporter.page.process import ProcessMetrics
from perwatt_exporter.page.render import SPARE_SERIES, Renderer, format_value, page

FORMATS: tuple[Format, ...] = ("text", "openmetrics")
ODD_SECONDS: Family[Any] = Family(
    "perwatt_odd_seconds", "histogram", "Odd seconds.", ("zebra", "ape"), lambda _: ()
)
ODD: Family[Any] = Family("perwatt_odd", "gauge", 'a "help" \\ of\ntwo lines', ("zebra", "ape"), lambda _: ())


class TestFormatValue:
    @given(st.floats() | st.integers(-(2**80), 2**80))
    def test_any_number(self, value: float) -> None:
        """Every number is written exactly as prometheus_client writes it."""
        assert floatToGoString(value) == format_value(value)

    @given(st.integers(0, 2**64 - 1))
    def test_any_bits(self, bits: int) -> None:
        """The same holds for every pattern of bits that a float can have."""
        (value,) = struct.unpack("d", struct.pack("Q", bits))

        assert floatToGoString(value) == format_value(value)

    @pytest.mark.parametrize(
        ("expected", "value"),
        [
            ("1.0", 1),
            ("999999.0", 999_999),
            ("1e+06", 1_000_000),
            ("1.2345678e+07", 12_345_678),
            ("-1000000.0", -1_000_000),
            ("1e+16", 1e16),
            ("+Inf", float("inf")),
        ],
    )
    def test_known(self, expected: str, value: float) -> None:
        """Positive numbers turn to exponents at a million."""
        assert expected == format_value(value)


@pytest.mark.parametrize("form", FORMATS)
class TestAgainstOracle:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_samples(self, name: str, form: Format) -> None:
        """A page is byte for byte what prometheus_client writes for the same families."""
        collected = collect(ALL, SAMPLES[name]())

        assert oracle(collected, form) == rendered(collected, form)

    def test_process(self, form: Format) -> None:
        """The process's own metrics come out as prometheus_client would write them."""
        collected = [(family, list(samples)) for family, samples in ProcessMetrics()()]

        assert oracle(collected, form) == rendered(collected, form)

    @given(
        st.lists(
            st.tuples(
                st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
                st.floats(),
            )
        )
    )
    def test_odd_labels(self, form: Format, samples: list[tuple[tuple[str, str], float]]) -> None:
        """Help and label values are escaped, and labels sorted, as prometheus_client does it."""
        collected = [(ODD, samples)]

        assert oracle(collected, form) == rendered(collected, form)


@pytest.mark.parametrize("form", FORMATS)
class TestHistograms:
    @given(
        st.lists(
            st.tuples(
                st.lists(st.floats(0.0, allow_infinity=False), unique=True, max_size=6).map(sorted),
                st.floats(0.0, allow_infinity=False),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_from_page_to_page(self, form: Format, pages: list[tuple[list[float], float]]) -> None:
        """Whether counts move, stand still or get other buckets: each page is prometheus_client's own."""
        renderer: Renderer[Any] = Renderer()
        for bounds, total in pages:
            shown = Histogram(tuple(bounds), tuple(float(n) for n in range(len(bounds))), 9.0, total)
            collected = [(ODD_SECONDS, [(("a", "b"), shown)])]

            assert oracle(collected, form) == page(renderer.collected(collected, form), form)

    def test_one_line_each(self, form: Format) -> None:
        """The last bucket and the count are the same number, and every bucket has its bound."""
        text = rendered([(ODD_SECONDS, [(("a", "b"), Histogram((0.5,), (1.0,), 3.0, 2.5))])], form).decode()

        assert [
            'perwatt_odd_seconds_bucket{ape="b",le="0.5",zebra="a"} 1.0',
            'perwatt_odd_seconds_bucket{ape="b",le="+Inf",zebra="a"} 3.0',
            'perwatt_odd_seconds_count{ape="b",zebra="a"} 3.0',
            'perwatt_odd_seconds_sum{ape="b",zebra="a"} 2.5',
        ] == [line for line in text.splitlines() if not line.startswith("#")]


class TestParsers:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_strict_openmetrics(self, name: str) -> None:
        """The strict OpenMetrics parser reads every sample of the page."""
        collected = [*collect(ALL, SAMPLES[name]()), *((f, list(s)) for f, s in ProcessMetrics()())]
        text = rendered(collected, "openmetrics").decode()

        families = {family.name: family for family in parse_openmetrics(text)}

        assert {f.stem: f.kind for f, samples in collected if samples} == {
            name: family.type for name, family in families.items()
        }
        assert sum(len(points(*one)) for one in collected) == sum(len(f.samples) for f in families.values())

    @pytest.mark.parametrize("name", SAMPLES)
    def test_text(self, name: str) -> None:
        """The text parser gives back exactly the series that were collected."""
        collected = collect(ALL, SAMPLES[name]())
        expected = {
            (name, *sorted(labels.items())): value
            for one in collected
            for name, labels, value in points(*one)
        }

        parsed = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse_text(rendered(collected, "text").decode())
            for sample in family.samples
        }

        assert expected == parsed


class TestRenderer:
    def test_family_without_samples(self) -> None:
        """A family without samples leaves no trace, and an empty page is a page."""
        assert b"" == rendered([(ODD, ())], "text")
        assert b"# EOF\n" == rendered([(ODD, ())], "openmetrics")

    def test_lone_surrogate(self) -> None:
        """A name that is no valid Unicode costs its own characters, not the page."""
        assert b'perwatt_odd{ape="",zebra="a?b"} 1.0\n' in rendered([(ODD, [(("a\udc80b", ""), 1)])], "text")

    def test_wrong_number_of_label_values(self) -> None:
        """A row whose values do not fit its labels is a mistake that is not passed over."""
        with pytest.raises(ValueError, match="zip"):
            rendered([(ODD, [(("alone",), 1)])], "text")

    def test_series_are_bounded(self) -> None:
        """However label values churn, the renderer keeps prefixes in proportion to the page."""
        renderer: Renderer[Any] = Renderer()
        for turn in range(50):
            samples = [((str(turn), str(n)), 1.0) for n in range(20)]
            assert oracle([(ODD, samples)], "text") == page(
                renderer.collected([(ODD, samples)], "text"), "text"
            )

            kept = sum(len(writer._series) for writer in renderer._writers.values())
            assert 2 * len(samples) + SPARE_SERIES >= kept
