"""What a reason is."""

from msgspec import Struct


class Reason(Struct, frozen=True):
    """A reason: whether it makes the figure invalid, what it means, and what cures it."""

    name: str
    invalidates: bool
    meaning: str
    cure: str
