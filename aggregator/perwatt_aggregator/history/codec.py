"""
Blob of one tick: owners, flags and values as little-endian numbers of 32 bits.

Many owners are kept by column, with the bytes of equal significance together, and compressed; few owners are
kept by row, which is read at once.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from perwatt_aggregator.history.values import NAMES

_HEADER = struct.Struct("<BBI")
_ROWS, _COLUMNS = 0, 1
_FEW_OWNERS = 64
_ZERO, _CONSTANT, _FULL = 0, 1, 2
_LEVEL = 1


class Block(Struct, frozen=True):
    """Owners and flags by their numbers in the database, and for each value of NAMES those of all owners."""

    owners: Sequence[int]
    flags: Sequence[int]
    columns: Sequence[Sequence[float] | None]

    def rows(self) -> Iterator[tuple[int, int, list[float]]]:
        """Each owner with its flags and its values."""
        zeros = [0.0] * len(self.owners)
        columns = [zeros if column is None else column for column in self.columns]
        for owner, flags, *values in zip(self.owners, self.flags, *columns, strict=True):
            yield owner, flags, values


def encode(owners: Sequence[int], flags: Sequence[int], rows: Sequence[Sequence[float]]) -> bytes:
    """The blob of *rows*, one for each of *owners*."""
    if len(owners) <= _FEW_OWNERS:
        body = _bytes("I", owners) + _bytes("I", flags) + _bytes("f", [one for row in rows for one in row])
        return _HEADER.pack(_ROWS, len(NAMES), len(owners)) + body
    kinds, kept = bytearray(), bytearray()
    for column in zip(*rows, strict=True):
        first = column[0]
        if not any(column):
            kinds.append(_ZERO)
        elif column.count(first) == len(column):
            kinds.append(_CONSTANT)
            kept += _bytes("f", [first])
        else:
            kinds.append(_FULL)
            kept += _bytes("f", column)
    steps = [after - before for before, after in zip((0, *owners), owners)]  # noqa: B905 - one less
    body = bytes(kinds) + zlib.compress(_split(_bytes("i", steps) + _bytes("I", flags) + bytes(kept)), _LEVEL)
    return _HEADER.pack(_COLUMNS, len(NAMES), len(owners)) + body


def decode(blob: bytes) -> Block:
    """The owners, flags and values of a blob."""
    kind, width, count = _HEADER.unpack_from(blob)
    body = blob[_HEADER.size :]
    if kind == _ROWS:
        values = _floats(body[8 * count :])
        columns = [values[place::width] for place in range(width)]
        return Block(_whole("I", body[: 4 * count]), _whole("I", body[4 * count : 8 * count]), columns)
    kinds, body = body[:width], _joined(zlib.decompress(body[width:]))
    owners, last = [], 0
    for step in _whole("i", body[: 4 * count]):
        last += step
        owners.append(last)
    flags, place = _whole("I", body[4 * count : 8 * count]), 8 * count
    found: list[Sequence[float] | None] = []
    for one in kinds:
        size = (0, 4, 4 * count)[one]
        values = _floats(body[place : place + size])
        found.append(None if one == _ZERO else values * count if one == _CONSTANT else values)
        place += size
    return Block(owners, flags, found)


def _bytes(kind: str, values: Sequence[float]) -> bytes:
    packed: array[float] = array(kind, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _whole(kind: Literal["i", "I"], body: bytes) -> "array[int]":
    values = array(kind, body)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _floats(body: bytes) -> "array[float]":
    values = array("f", body)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _split(body: bytes) -> bytes:
    """All first bytes of the numbers, then all second ones, and so on: like bytes compress well."""
    return b"".join(body[place::4] for place in range(4))


def _joined(body: bytes) -> bytes:
    quarter = len(body) // 4
    whole = bytearray(len(body))
    for place in range(4):
        whole[place::4] = body[place * quarter : (place + 1) * quarter]
    return bytes(whole)
