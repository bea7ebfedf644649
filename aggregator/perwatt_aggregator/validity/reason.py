"""Reason of a figure: a row of the tables in this folder."""

from msgspec import Struct


class Reason(Struct, frozen=True):
    """A reason: whether it makes the figure invalid, its meaning, and what to do about it."""

    name: str
    invalidates: bool
    meaning: str
    cure: str
