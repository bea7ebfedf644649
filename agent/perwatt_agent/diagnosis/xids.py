"""
XID errors by class: a broken GPU (fatal), one that may break (warning), or a fault of the program.

NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors) has the meanings; the fatal ones are those that
operators alert on.
"""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.event import Severity
from perwatt_agent.facts.health import XidCount

XidClass = Literal["fatal", "warning", "application"]


class Xid(Struct, frozen=True):
    """Class and meaning of one XID error."""

    kind: XidClass
    meaning: str


XIDS: dict[int, Xid] = {
    8: Xid("application", "the GPU stopped processing"),
    13: Xid("application", "a kernel did something illegal"),
    31: Xid("application", "a kernel used a wrong address"),
    32: Xid("application", "a corrupted push buffer"),
    43: Xid("application", "the GPU stopped processing a failed program"),
    45: Xid("application", "a program was terminated, often after another error"),
    48: Xid("fatal", "a memory error that could not be corrected (double bit)"),
    61: Xid("warning", "a breakpoint in the GPU's microcontroller"),
    62: Xid("fatal", "the GPU's microcontroller halted"),
    63: Xid("warning", "a memory row was remapped, or a page retired"),
    64: Xid("fatal", "a memory row could not be remapped, or a page not retired"),
    68: Xid("application", "the video decoder failed"),
    69: Xid("application", "the graphics engine was given a wrong class"),
    74: Xid("fatal", "NVLink failed"),
    79: Xid("fatal", "the GPU fell off the bus"),
    92: Xid("warning", "many corrected memory errors (single bit)"),
    94: Xid("warning", "an uncorrectable memory error that hit one program only"),
    95: Xid("fatal", "an uncorrectable memory error that was not contained"),
    109: Xid("warning", "a context switch took too long"),
    110: Xid("warning", "a security fault"),
    119: Xid("fatal", "the GPU's system processor (GSP) does not answer"),
    120: Xid("fatal", "the GPU's system processor (GSP) failed"),
    121: Xid("warning", "the link between CPU and GPU corrected errors"),
    140: Xid("warning", "uncorrectable memory errors that were not recovered"),
    143: Xid("warning", "the GPU could not be initialised"),
    154: Xid("warning", "the driver asks for another action to recover the GPU"),
}
UNNAMED = 999
_UNLISTED = Xid("warning", "an error that perwatt does not know; see NVIDIA's catalogue of XID errors")
_NAMELESS = Xid("warning", "an error that the driver cannot name")

SEVERITY: dict[XidClass, Severity] = {"fatal": "critical", "warning": "warning", "application": "info"}

# Further kinds of errors of one GPU are counted together.
MAX_CODES = 32
OTHER = "other"


def meaning_of(code: int) -> Xid:
    return XIDS.get(code, _NAMELESS if code == UNNAMED else _UNLISTED)


class XidCounter:
    """Counts of one GPU's XID errors, as `counts`; the number of kinds is bounded."""

    def __init__(self) -> None:
        self._counts: dict[str, XidCount] = {}
        self.counts: tuple[XidCount, ...] = ()

    def add(self, code: int, unix_seconds: float) -> None:
        xid = "unknown" if code == UNNAMED else str(code)
        if xid not in self._counts and len(self._counts) >= MAX_CODES:
            xid = OTHER
        before = self._counts.get(xid)
        self._counts[xid] = XidCount(xid, (before.count if before else 0) + 1, unix_seconds)
        self.counts = tuple(self._counts.values())
