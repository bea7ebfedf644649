"""Blobs of ticks."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_aggregator.history.codec import decode, encode
from perwatt_aggregator.history.values import NAMES

NUMBERS = st.floats(allow_nan=True, width=32)


@given(st.integers(1, 200), st.data())
def test_what_is_written_is_read(count: int, data: st.DataObject) -> None:
    """Owners, flags and values of 32 bits come back, whatever the number of owners is."""
    owners = sorted(data.draw(st.sets(st.integers(1, 2**31 - 1), min_size=count, max_size=count)))
    flags = data.draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
    row = data.draw(st.lists(NUMBERS, min_size=len(NAMES), max_size=len(NAMES)))
    rows = [[value if index % 3 else 0.0 for value in row] for index in range(count)]

    found = list(decode(encode(owners, flags, rows)).rows())

    assert list(zip(owners, flags, strict=True)) == [(owner, own) for owner, own, _ in found]
    for expected, (_, _, values) in zip(rows, found, strict=True):
        assert expected == pytest.approx(values, nan_ok=True, rel=1e-6)


def test_a_value_keeps_24_bits() -> None:
    """The error of a value is at most that of a 32-bit number: 6e-8 of it, and NaN stays NaN."""
    (_, _, values), *_ = decode(encode([1], [1], [[1e9 / 3.0, math.nan, *[0.0] * (len(NAMES) - 2)]])).rows()

    assert array("f", [1e9 / 3.0])[0] == values[0]
    assert abs(values[0] / (1e9 / 3.0) - 1.0) < 6e-8
    assert math.isnan(values[1])


def test_no_owners() -> None:
    """A tick in which no node was known is a tick."""
    assert [] == list(decode(encode([], [], [])).rows())
