"""Finding: one line of `perwatt doctor`."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """
    One fact about this machine, and the smallest fix where something is missing.

    With `blocks`, `perwatt agent` cannot start here; with `runs`, one runs here already.
    """

    status: Literal["ok", "missing", "hint"]
    subject: str
    detail: str
    fix: str = ""
    blocks: bool = False
    runs: bool = False
