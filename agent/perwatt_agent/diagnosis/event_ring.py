"""The newest events of this agent's life."""

from collections import Counter, deque

from msgspec.structs import replace

from perwatt_agent.facts.event import EVENT_KINDS, Event

MAX_EVENTS = 1_000


class EventRing:
    """
    Keeps the newest events, numbered from 1 as they come.

    `run` tells this agent's numbers from those of the one before: a cursor is a run and a number.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._counts: Counter[str] = Counter(dict.fromkeys(EVENT_KINDS, 0))

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._events[-1].number if self._events else 0

    def add(self, event: Event) -> None:
        """Take in an event, whatever number it has so far."""
        self._counts[event.kind] += 1
        self._events.append(replace(event, number=self.last + 1))

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many events there were of each kind."""
        return tuple(self._counts.items())

    def newest(self, since: int, limit: int) -> tuple[Event, ...]:
        """At most *limit* events after the one numbered *since*, newest first."""
        found: list[Event] = []
        for event in reversed(self._events):
            if event.number <= since or len(found) == limit:
                break
            found.append(event)
        return tuple(found)
