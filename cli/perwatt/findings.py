"""What `perwatt doctor` finds."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One fact about this machine. `blocks` tells that the agent cannot start here because of it."""

    status: Literal["ok", "missing", "hint"]
    subject: str
    detail: str
    cure: str = ""
    blocks: bool = False
