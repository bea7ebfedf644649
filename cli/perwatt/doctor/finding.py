"""Finding: one line of `perwatt doctor`."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """
    One fact about this machine, and the smallest fix where something is missing.

    With `blocks`, `perwatt agent` cannot start here.
    """

    status: Literal["ok", "missing", "hint"]
    subject: str
    detail: str
    fix: str = ""
    blocks: bool = False
