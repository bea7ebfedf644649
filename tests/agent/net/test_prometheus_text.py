"""The page parser reads what prometheus_client's own parsers read, and survives what they refuse."""

import math
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from support.engines.engine_pages import all_engine_pages, engine_page

from perwatt_agent.net.prometheus_text import PAGE_REASONS, PageError, PageParser, Series


def everything(_: str) -> bool:
    return True


def parse(page: bytes) -> list[tuple[Series, float]]:
    return PageParser(everything).parse(page)


def oracle(page: str, read=read_text) -> list[tuple[Series, float]]:
    return [
        (Series(sample.name, tuple(sorted(sample.labels.items()))), float(sample.value))
        for family in read(page)
        for sample in family.samples
    ]


def comparable(samples: list[tuple[Series, float]]) -> list[tuple[Series, str]]:
    """Samples in an order of their own, with values that make NaN equal to itself."""
    return sorted(((series, repr(value)) for series, value in samples), key=repr)


class TestOracle:
    @pytest.mark.parametrize("path", all_engine_pages(), ids=lambda path: path.stem)
    def test_real_pages(self, path: Path) -> None:
        """Every sample of a real engine's page is read as prometheus_client reads it."""
        page = path.read_bytes()
        # prometheus_client gives a counter the suffix that this one lacks; we read what stands there.
        told = page.decode().replace("llamacpp:n_tokens_max counter", "llamacpp:n_tokens_max gauge")

        assert comparable(oracle(told)) == comparable(parse(page))

    @given(
        st.lists(
            st.tuples(
                st.text(string.ascii_letters + "_:", min_size=1, max_size=5),
                st.dictionaries(
                    st.text(string.ascii_letters, min_size=1, max_size=4),
                    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
                    max_size=3,
                ),
                st.floats(),
                st.sampled_from(["", " 1234", "  -5"]),
            ),
            max_size=8,
        ),
        st.sampled_from(["\n", "\r\n"]),
    )
    def test_made_pages(self, lines: list[tuple[str, dict[str, str], float, str]], line_end: str) -> None:
        """Whatever names, label values, numbers and timestamps a page has, both parsers agree."""
        page = "".join(
            f"{name}{braces(labels)} {value!r}{timestamp}{line_end}"
            for name, labels, value, timestamp in lines
        )

        assert comparable(oracle(page)) == comparable(parse(page.encode()))

    def test_openmetrics(self) -> None:
        """Exemplars, `_created` and the end mark of OpenMetrics do not stand in the way."""
        registry = CollectorRegistry()
        Counter("work", "Work.", ["unit"], registry=registry).labels('a "} # {b').inc(3, {"trace_id": "x 1"})
        Histogram("delay_seconds", "Delay.", registry=registry).observe(0.2, {"trace_id": "y"})
        page = generate_latest(registry)

        assert comparable(oracle(page.decode(), read_openmetrics)) == comparable(parse(page))


def braces(labels: dict[str, str]) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}" if labels else ""


class TestLines:
    @pytest.mark.parametrize(
        "line",
        [
            b'up{job="a"} 5',
            b'up{job="a"} 5\n',
            b'up{job="a"} 5\r\n',
            b'up{job="a",} 5\n',
            b' up {\tjob = "a" , } 5.0 \n',
            b'up{job="a"}\t5\t1700000000000\n',
            b'up{job="a"}5\n',
            b'up{job="a"} 5 # {id="} 9"} 1 1.5\n# EOF\n',
        ],
    )
    def test_spelling(self, line: bytes) -> None:
        """All spellings of a sample that the format allows are the same sample, time after time."""
        parser = PageParser(everything)
        expected = [(Series("up", (("job", "a"),)), 5.0)]

        assert [expected, expected] == [parser.parse(line), parser.parse(line)]

    @pytest.mark.parametrize(
        "line",
        [
            b"up",
            b"up five",
            b"up 1_000",
            b"up.5",
            b"5up 5",
            b'up{job="a" 5',
            b"up{job=a} 5",
            b'up{job="a"x="b"} 5',
            b'up{job="a",job="b"} 5',
            b'up{job="\xff"} 5',
            b"up 5 6 7",
            b'up{job="' + b"a" * 70_000 + b'"} 5',
        ],
    )
    def test_malformed(self, line: bytes) -> None:
        """A line that cannot be read is skipped and counted, and its neighbours are read."""
        parser = PageParser(everything)

        assert [(Series("a"), 1.0), (Series("b"), 2.0)] == parser.parse(b"a 1\n" + line + b"\nb 2\n")
        assert 1 == parser.malformed_lines

    def test_not_finite(self) -> None:
        """NaN and infinities are legal and returned as they are."""
        (_, nan), (_, up), (_, down) = parse(b"a NaN\nb +Inf\nc -Inf\n")

        assert math.isnan(nan)
        assert (math.inf, -math.inf) == (up, down)

    def test_label(self) -> None:
        """A label that is absent reads as the empty one that it is to Prometheus."""
        series = Series("up", (("job", "a"),))

        assert ("a", "") == (series.label("job"), series.label("unit"))


class TestWanted:
    def test_collection(self) -> None:
        """Names that are not wanted are left out, also those that begin alike."""
        page = b"up 1\nup_total 2\nup_total_created 3\n" * 2
        parser = PageParser(["up_total"])

        assert [(Series("up_total"), 2.0)] * 2 == parser.parse(page)
        assert 0 == parser.malformed_lines

    def test_rule(self) -> None:
        """A rule over names serves as well as a list of them."""
        parser = PageParser(lambda name: name.startswith("perwatt_"))

        assert [(Series("perwatt_gpus"), 8.0)] == parser.parse(b"perwatt_gpus 8\nup 1\n")

    def test_families(self) -> None:
        """Families that are not asked for are passed over, whatever stands in them; all else is read."""
        page = (
            b'loose 1\n# HELP up Up.\n# TYPE up gauge\nup{job="\\n# TYPE uptime gauge"} 2\nup?\n'
            b"# TYPE uptime gauge\nuptime 3\n# TYPE a histogram\na_bucket 4\na?\na?\n# TYPE up gauge\nup 5\n"
        )
        parser = PageParser(lambda name: name != "a_bucket", families=["up", "a_bucket"])

        assert [("loose", 1.0), ("up", 2.0), ("up", 5.0)] == [
            (series.name, value) for series, value in parser.parse(page)
        ]
        assert 1 == parser.malformed_lines


class TestPages:
    @pytest.mark.parametrize(
        ("page", "reason"),
        [
            (b"\n<!DOCTYPE html><html></html>", "html"),
            (b'{"error": "no such path"}', "json"),
            (b"\x0a\x05up\x00\x01", "binary"),
            (b"404 page not found\n", "not_metrics"),
            (b"up 1\n" * 101, "too_many_lines"),
        ],
    )
    def test_refused(self, page: bytes, reason: str) -> None:
        """What is no page of metrics is refused, with a reason from the closed list."""
        with pytest.raises(PageError) as failure:
            PageParser(everything, max_lines=100).parse(page)

        assert reason == failure.value.reason
        assert reason in PAGE_REASONS

    @pytest.mark.parametrize("name", ["up_total", "up_bucket", "up_sum", "up_count", "up"])
    @pytest.mark.parametrize("typed", ["up", "up_total"])
    def test_long(self, name: str, typed: str) -> None:
        """Families that nobody wants do not count against the limit of lines; those that are wanted do."""
        if typed == "up_total" and name != "up_total":
            return
        other = b"# TYPE other gauge\n" + b"other 1\n" * 200
        wanted = f"# TYPE {typed} counter\n{name} 7\n".encode()
        parser = PageParser([name], max_lines=100)

        assert [(Series(name), 7.0)] == parser.parse(other + wanted + other)
        with pytest.raises(PageError, match="more than 100 lines"):
            parser.parse(other + wanted * 101)

    def test_empty(self) -> None:
        """A page without samples is a page."""
        assert [] == parse(b"")
        assert [] == parse(b"# HELP up Up.\n# TYPE up gauge\n# EOF\n")

    @given(st.binary(max_size=200))
    def test_rubbish(self, page: bytes) -> None:
        """Any bytes at all give samples with whole names, or PageError."""
        try:
            samples = parse(page)
        except PageError:
            return

        assert all(series.name for series, _ in samples)


class TestCache:
    def test_churn_is_forgotten(self) -> None:
        """Keys that never come again are let go, while those of every page stay known."""
        parser = PageParser(everything, cache_bytes=10_000)
        for number in range(200):
            churn = b"".join(b'a{id="%d-%d"} 1\n' % (number, line) for line in range(20))
            parser.parse(b'steady{id="x"} 1\n' + churn)

        assert len(parser._young) + len(parser._old) < 200
        assert b'steady{id="x"}' in {*parser._young, *parser._old}

    @pytest.mark.slow
    def test_hundred_thousand_labels(self) -> None:
        """A page far larger than the cache is read in full."""
        page = b"".join(b'a{id="%d"} %d\n' % (line, line) for line in range(100_000))
        parser = PageParser(everything)

        assert sum(range(100_000)) == sum(value for _, value in parser.parse(page))
        assert parser._young_bytes < 1_100_000

    def test_warm_reads_the_new_numbers(self) -> None:
        """The cache knows series, never values."""
        parser = PageParser(["vllm:generation_tokens_total"])
        pages = [engine_page(f"vllm-0.32.0-{stage}") for stage in ("1-idle", "2-warm", "4-after")]

        assert [0.0, 189.0, 4585.0] == [parser.parse(page)[0][1] for page in pages]
