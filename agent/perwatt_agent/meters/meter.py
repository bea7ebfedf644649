"""Protocol of a meter, and the failure of a read."""

from collections.abc import Sequence
from typing import Protocol

from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.net.failures import reasons

METER_REASONS = reasons(
    "absent",
    "permission_denied",
    "timeout",
    "hung",
    "unreachable",
    "refused",
    "malformed",
    "stale",
    "implausible",
    "unexpected",
)


class MeterFailure(Exception):
    """
    A read gave no reading; the meter is read again at its next turn.

    `reason` is one of METER_REASONS; the message says what happened and what to do about it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Meter(Protocol):
    """
    One meter, read by one task at a time. `name` is unique on the node and the label of its collector.

    `interval_seconds` is the time between reads, never shorter than the meter's own refresh. `read` returns a
    sample for each thing that it measures, in watts and joules, with the monotonic instant of the read, and
    raises MeterFailure. It must not block the loop.
    """

    @property
    def name(self) -> str: ...

    @property
    def interval_seconds(self) -> float: ...

    async def read(self) -> Sequence[MeterSample]: ...
