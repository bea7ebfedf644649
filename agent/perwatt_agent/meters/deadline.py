"""Deadline for reading a meter; every failure becomes a MeterFailure."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from perwatt_agent.meters.meter import MeterFailure

T = TypeVar("T")


async def within_deadline(reading: Awaitable[T], deadline_seconds: float) -> T:
    """Return the result of *reading*. Raises MeterFailure for any error, so that polling continues."""
    try:
        return await asyncio.wait_for(reading, deadline_seconds)
    except MeterFailure:
        raise
    except asyncio.TimeoutError:
        raise MeterFailure("timeout", f"no answer within {deadline_seconds:g} s") from None
    except Exception as error:
        raise MeterFailure("unexpected", repr(error)) from error
