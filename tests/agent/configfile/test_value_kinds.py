"""Texts become values in base units, or are refused with what was expected."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.configfile.value_kinds import (
    ADDRESS,
    BOOLEAN,
    READABLE_FILE,
    TEXT,
    URL,
    duration,
    host_and_port,
    number,
    show_duration,
)

ANY_DURATION = duration(0.0, math.inf)


class TestDuration:
    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.25, "250ms"), (1.0, "1s"), (1.5, "1.5s"), (300.0, "5m"), (3600.0, "1h")]
    )
    def test_units(self, seconds: float, text: str) -> None:
        """A duration is a number with its unit, and is shown in the largest unit that needs no fraction."""
        assert seconds == ANY_DURATION.read(text)
        assert text == show_duration(seconds)

    @given(st.floats(0.001, 1e6))
    def test_what_is_shown_reads_back(self, seconds: float) -> None:
        """Writing and reading a duration changes it by less than a nanosecond."""
        assert math.isclose(seconds, ANY_DURATION.read(show_duration(seconds)), rel_tol=1e-12, abs_tol=1e-9)

    @given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]))
    def test_any_whole_number_with_a_unit(self, amount: int, unit: tuple[str, float]) -> None:
        """The value is the amount times its unit."""
        assert amount * unit[1] == ANY_DURATION.read(f"{amount}{unit[0]}")

    @given(st.one_of(st.integers().map(str), st.floats().map(str)))
    def test_a_bare_number_is_never_one(self, text: str) -> None:
        """Without a unit nobody knows what was meant."""
        with pytest.raises(ValueError, match="a duration from"):
            ANY_DURATION.read(text)

    @pytest.mark.parametrize(
        "text", ["", "s", "1 s", "-1s", "1S", "1min", "1d", "1m30s", "99ms", "61s", "nan"]
    )
    def test_refused(self, text: str) -> None:
        """Other units, signs, spaces and what is out of bounds are refused."""
        with pytest.raises(ValueError, match="from 100ms to 1m"):
            duration(0.1, 60.0).read(text)


class TestNumber:
    @pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (1.25, "1.25"), (1000.0, "1e3")])
    def test_accepted(self, value: float, text: str) -> None:
        """Any form of a finite number will do."""
        assert value == number(1.0).read(text)

    @pytest.mark.parametrize("text", ["", "0.99", "inf", "nan", "one", "1,5"])
    def test_refused(self, text: str) -> None:
        """Neither what is out of bounds nor what is not a number passes."""
        with pytest.raises(ValueError, match="a number of at least 1"):
            number(1.0).read(text)


class TestAddress:
    @pytest.mark.parametrize(
        ("expected", "text"),
        [
            (("0.0.0.0", 9836), "0.0.0.0:9836"),
            (("", 9836), ":9836"),
            (("::1", 80), "[::1]:80"),
            (("gpu-1.example", 0), "gpu-1.example:0"),
        ],
    )
    def test_parts(self, expected: tuple[str, int], text: str) -> None:
        """An address is kept as it was written; its parts are host and port."""
        assert text == ADDRESS.read(text)
        assert expected == host_and_port(text)

    @pytest.mark.parametrize("text", ["", "9836", "host", "host:", "host:http", "::1:80", "h:65536", "a/b:1"])
    def test_refused(self, text: str) -> None:
        """A port alone, or a host alone, is not an address."""
        with pytest.raises(ValueError, match="HOST:PORT"):
            ADDRESS.read(text)


class TestOthers:
    @pytest.mark.parametrize(
        "text",
        ["127.0.0.1:8000", "ftp://h/", "http://", "http://h:port/", "http://a b/", "http://me:pw@h/", ""],
    )
    def test_url_refused(self, text: str) -> None:
        """A URL has a scheme that can be fetched and a host, and holds no password."""
        with pytest.raises(ValueError, match="a URL such as"):
            URL.read(text)

    def test_boolean(self) -> None:
        """Only `true` and `false`: YAML's yes, no, on and off are too easily something else."""
        assert (True, False) == (BOOLEAN.read("true"), BOOLEAN.read("false"))
        with pytest.raises(ValueError, match="true or false"):
            BOOLEAN.read("yes")

    @pytest.mark.parametrize("text", ["", " ", " padded"])
    def test_text_refused(self, text: str) -> None:
        """A name is not empty and has no blanks around it."""
        with pytest.raises(ValueError, match="not empty"):
            TEXT.read(text)

    def test_file_must_exist(self, tmp_path: Path) -> None:
        """A file that is named is read at start, not missed later."""
        present = tmp_path / "token"
        present.write_text("t")

        assert present == READABLE_FILE.read(str(present))
        with pytest.raises(ValueError, match="a file that can be read"):
            READABLE_FILE.read(str(tmp_path / "absent"))
