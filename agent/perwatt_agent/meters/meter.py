"""What a meter must offer, and how it says that it cannot."""

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
    The meter gave no reading this time; it is asked again at its next turn.

    `reason` is one of METER_REASONS; the message says what happened and what to do about it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Meter(Protocol):
    """
    One meter, read by one task at a time. `name` is unique on the node and the label of its collector.

    `interval_seconds` is how often it is worth asking: never more often than the meter is refreshed.
    `read` returns a sample for each thing that it measures, in watts and joules, stamped with the
    monotonic instant of the read, and raises MeterFailure. It must not block the loop.
    """

    @property
    def name(self) -> str: ...

    @property
    def interval_seconds(self) -> float: ...

    async def read(self) -> Sequence[MeterSample]: ...
