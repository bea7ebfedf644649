"""Ring buffer of the newest events, with cursors for clients that read on from their last answer."""

from collections import Counter, deque
from typing import Generic, TypeVar

from perwatt_agent.facts.event import EVENT_KINDS, Event

MAX_EVENTS = 1_000

E = TypeVar("E", bound=Event)


class EventRing(Generic[E]):
    """
    The newest *capacity* events, numbered from 1 in the order in which they were added.

    `run` identifies this process: a cursor is a run and a number.
    """

    def __init__(self, run: str, capacity: int = MAX_EVENTS) -> None:
        self.run = run
        self.last = 0
        self._events: deque[E] = deque(maxlen=capacity)
        self._counts: Counter[str] = Counter(dict.fromkeys(EVENT_KINDS, 0))

    @property
    def cursor(self) -> str:
        """The cursor after the newest event."""
        return f"{self.run}-{self.last}"

    def add(self, event: E) -> None:
        """Add an event; the oldest one is dropped if the ring is full."""
        self._counts[event.kind] += 1
        self._events.append(event)
        self.last += 1

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many events there were of each kind."""
        return tuple(self._counts.items())

    def number_of(self, cursor: str) -> int:
        """The number in a cursor; 0 for a cursor of another run, all events of this run being newer."""
        run, _, number = cursor.rpartition("-")
        return int(number) if run == self.run and number else 0

    def newest(self, since: int, limit: int) -> tuple[E, ...]:
        """At most *limit* events after the one numbered *since*, newest first: their numbers fall."""
        count = max(0, min(self.last - since, len(self._events), limit))
        return tuple(self._events[-1 - index] for index in range(count))
