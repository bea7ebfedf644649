"""Row store: the same values as a table of all rows, at the cost of those that were read."""

import math
import random
from itertools import pairwise

import pytest

from perwatt_aggregator.readings.column import Column
from perwatt_aggregator.readings.row_store import SERIES_BYTES, VALUE_BYTES, RowStore
from perwatt_aggregator.readings.sample import GPU_ENERGY, OUTPUT_TOKENS, Counter

CAPACITY = 20
COUNTERS = [Counter(name, gpu=str(number)) for name in (GPU_ENERGY, OUTPUT_TOKENS) for number in range(5)]

Table = dict[Counter, dict[int, float]]


def random_store(seed: int) -> tuple[RowStore[Counter, Column], Table, int]:
    """A store after some hundred rows in which counters come, pause and end, and the same as a table."""
    chance, store, table = random.Random(seed), RowStore[Counter, Column](CAPACITY), Table()
    raw = dict.fromkeys(COUNTERS, 0.0)
    presence = dict.fromkeys(COUNTERS, 1.0)
    for row in range(200):
        for counter in COUNTERS:
            if chance.random() < 0.05:
                presence[counter] = chance.choice((0.0, 0.0, 0.5, 1.0))
            raw[counter] += chance.choice((0.0, 1.0, 7.0))
            if chance.random() < presence[counter]:
                column = store.resume(counter, row)
                if column is None:
                    store.start(counter, Column(row, raw[counter]))
                else:
                    column.add(raw[counter], counts=True)
                table.setdefault(counter, {})[row] = raw[counter]
        store.end_row(row)
    return store, table, 199


def kept(readings: dict[int, float], first: int, last: int) -> list[tuple[int, float]]:
    return [(row, value) for row, value in readings.items() if first <= row <= last]


@pytest.mark.parametrize("seed", range(20))
def test_windows(seed: int) -> None:
    """Increase, span and moves of every counter between any two rows are those of its readings."""
    store, table, last_row = random_store(seed)
    for first in range(last_row - CAPACITY + 1, last_row):
        for last in range(first + 1, last_row + 1):
            for counter, readings in table.items():
                read = kept(readings, first, last)
                column = store.get(counter)
                expected = read[-1][1] - read[0][1] if len(read) > 1 else None
                if column is None:
                    assert not kept(readings, last_row - CAPACITY + 1, last_row)
                    continue

                assert expected == column.increase(first, last)
                assert ((read[0][0], read[-1][0]) if len(read) > 1 else None) == column.span(first, last)
                moved = sum(after > before for (_, before), (_, after) in pairwise(read))
                assert moved == column.moves(first, last)


@pytest.mark.parametrize("seed", range(20))
def test_ended(seed: int) -> None:
    """Each counter is live, or ended with a value in the rows, or gone."""
    store, table, last_row = random_store(seed)
    first_row = last_row - CAPACITY + 1

    assert {one for one in table if max(table[one]) == last_row} == store.live.keys()
    assert {one for one in table if max(table[one]) >= first_row} == set(store)
    for row in range(first_row, last_row):
        assert {one for one in table if row < max(table[one]) < last_row} == {
            counter for counter, _ in store.ended_since(row)
        }


@pytest.mark.parametrize("seed", range(20))
def test_bytes(seed: int) -> None:
    """The memory is counted as series come, pause and end."""
    store, _, _ = random_store(seed)
    columns = [store[counter] for counter in store]
    names = sum(len(part) for counter in store for part in counter)

    assert len(columns) == len(store)
    values = sum(len(column.values) for column in columns)
    assert names + len(store) * SERIES_BYTES + values * VALUE_BYTES == store.bytes


def test_nothing_of_an_ended_one() -> None:
    """A counter that ended long ago is started again."""
    store = RowStore[Counter, Column](CAPACITY)
    store.start(COUNTERS[0], Column(0, 5.0))
    for row in range(CAPACITY):
        store.end_row(row)
    assert COUNTERS[0] in store
    assert [COUNTERS[0]] == store.end_row(CAPACITY)

    assert store.resume(COUNTERS[0], CAPACITY + 1) is None
    assert store.bytes == 0
    assert not math.isnan(Column(0, 5.0).at(0))
