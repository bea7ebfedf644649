"""What becomes of asking a meter: its answer in time, or one kind of failure."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from perwatt_agent.meters.meter import MeterFailure

T = TypeVar("T")


async def answer(asked: Awaitable[T], deadline_seconds: float) -> T:
    """Wait for *asked*; whatever keeps it from coming is a MeterFailure, so that polling goes on."""
    try:
        return await asyncio.wait_for(asked, deadline_seconds)
    except MeterFailure:
        raise
    except asyncio.TimeoutError:
        raise MeterFailure("timeout", f"no answer within {deadline_seconds:g} s") from None
    except Exception as error:
        raise MeterFailure("unexpected", repr(error)) from error
