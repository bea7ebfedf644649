"""Metric families of the history: whether ticks are kept, and why not."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from perwatt_aggregator.history.history import FAILURES, History
from perwatt_exporter.page.family import Family, Sample

S = TypeVar("S")


def history_families(history_of: Callable[[S], History | None]) -> tuple[Family[S], ...]:
    """The families of the history that *history_of* finds in a state; without samples if there is none."""

    def up(state: S) -> Iterator[Sample]:
        if (history := history_of(state)) is not None:
            yield (), not history.is_degraded

    def last_tick(state: S) -> Iterator[Sample]:
        history = history_of(state)
        if history is not None and history.last_tick_unix is not None:
            yield (), history.last_tick_unix

    def size(state: S) -> Iterator[Sample]:
        if (history := history_of(state)) is not None:
            yield (), history.file_bytes

    def failures(state: S) -> Iterator[Sample]:
        if (history := history_of(state)) is not None:
            for reason in FAILURES:
                yield (reason,), history.failures[reason]

    return (
        Family(
            "perwatt_history_up",
            "gauge",
            "1 while ticks of the history are kept, 0 while they are lost; live answers go on.",
            (),
            up,
        ),
        Family(
            "perwatt_history_last_tick_timestamp_seconds",
            "gauge",
            "End of the newest tick that this process has kept in the history.",
            (),
            last_tick,
        ),
        Family("perwatt_history_bytes", "gauge", "Size of the history's file.", (), size),
        Family(
            "perwatt_history_failures_total",
            "counter",
            "Ticks of the history that were lost, by reason.",
            ("reason",),
            failures,
            {"reason": FAILURES},
        ),
    )
