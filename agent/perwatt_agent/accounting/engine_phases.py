"""Activity of an engine between two of its pages: active, idle, loading or unknown."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.engine_counts import EngineCounts

Doing = Literal["active", "idle", "loading", "unknown"]

# Engines report their start to the second or better; a smaller step of the clock is no restart.
START_TOLERANCE_SECONDS = 2.0
_CUMULATIVE = (
    "output_tokens",
    "prompt_computed_tokens",
    "prompt_cached_tokens",
    "effective_output_tokens",
    "requests_ok",
)


class Phase(Struct, frozen=True):
    """One interval of monotonic time, and the activity of the engine in it."""

    start: float
    end: float
    doing: Doing


class Page(Struct, frozen=True):
    """
    One page of an engine.

    `born` is the start of its process, and `refused_at` the last failed fetch since the previous page, both
    in monotonic seconds. `replaced` means that its processes are different ones than before.
    """

    monotonic_seconds: float
    counts: EngineCounts
    born: float | None = None
    refused_at: float | None = None
    replaced: bool = False


def restarted(before: EngineCounts, after: EngineCounts) -> bool:
    """Whether *after* comes from another process: another start, another model, or a count that fell."""
    if before.model != after.model:
        return True
    starts = (before.process_start_unix_seconds, after.process_start_unix_seconds)
    if None not in starts and abs(starts[1] - starts[0]) > START_TOLERANCE_SECONDS:  # type: ignore[operator]
        return True
    if any(_fell(amount, after.work.get(unit)) for unit, amount in before.work.items()):
        return True
    return any(_fell(getattr(before, name), getattr(after, name)) for name in _CUMULATIVE)


def phases(since: float, before: EngineCounts | None, page: Page) -> tuple[Phase, ...]:
    """
    Divide the time from *since* to *page* by activity; *before* is the previous page, if any.

    An engine that continued was active if its tokens grew or requests ran, else idle. A new engine was
    loading from its start until it no longer refused; the time before its start is unknown.
    """
    end = page.monotonic_seconds
    if before is not None and not page.replaced and not restarted(before, page.counts):
        return (Phase(since, end, _doing(before, page.counts)),) if end > since else ()
    refused_at = _within(since, page.refused_at, end)
    if page.born is None:
        ready, born = (refused_at if refused_at is not None else since), None
    else:
        born = min(max(page.born, since), end)
        ready = max(born, refused_at) if refused_at is not None else born
    was_there_before = page.born is not None and page.born <= since and refused_at is None
    serving: Doing = "active" if _has_served(page.counts, was_there_before) else "idle"
    cuts: list[Phase] = [
        Phase(since, ready if born is None else born, "unknown"),
        Phase(ready if born is None else born, ready, "loading"),
        Phase(ready, end, serving),
    ]
    return tuple(phase for phase in cuts if phase.end > phase.start)


def has_work(before: EngineCounts | None, after: EngineCounts) -> bool | None:
    """Whether an engine has work at the time of its page *after*; None if the page does not show it."""
    if before is not None and not restarted(before, after):
        return _doing(before, after) == "active"
    return None if after.requests_running is None else after.requests_running > 0


def _fell(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and after < before


def _within(start: float, instant: float | None, end: float) -> float | None:
    return instant if instant is not None and start < instant < end else None


def _doing(before: EngineCounts, after: EngineCounts) -> Doing:
    # A count that appears late was 0 before: some engines show a counter only after its first use.
    moved = before.work != after.work or any(
        (getattr(before, name) or 0) != (getattr(after, name) or 0) for name in _CUMULATIVE
    )
    return "active" if moved or before.requests_running or after.requests_running else "idle"


def _has_served(counts: EngineCounts, was_there_before: bool) -> bool:
    # The counts of an engine that started before the agent say nothing about the time since then.
    return bool(counts.requests_running) or (not was_there_before and bool(counts.output_tokens))
