"""Page owner: which agent serves a page, and whether several agents serve it in turn."""

from collections.abc import Hashable

from perwatt_aggregator.readings.sample import NodeSample

SEVERAL_SECONDS = 900.0
"""So long after the last change back, one page still counts as served by several agents."""


class PageOwner:
    """
    The agent behind one address.

    An agent is known by its id, and by its start within one id; an agent without an id by its GPUs. Another
    agent in its place is a new machine, whose counters have nothing to do with those of before. One that
    comes back after another has served means that both serve in turn.
    """

    def __init__(self) -> None:
        self._last: NodeSample | None = None
        self._last_seen: dict[Hashable, float] = {}
        self._returned_at: float | None = None
        self._changed_at: float | None = None

    def update(self, sample: NodeSample) -> bool:
        """Take in a reading; return whether another agent served the one before."""
        key, now = _key(sample), sample.monotonic_seconds
        if key is None:
            return False
        last, self._last = self._last, sample
        is_other = last is not None and _is_other(last, sample)
        is_restarted = (
            last is not None and last.agent == sample.agent and last.agent_start != sample.agent_start
        )
        if (is_other or is_restarted) and self._served(key, now):
            self._returned_at = now
        if is_other:
            self._changed_at = now
        self._last_seen = {one: at for one, at in self._last_seen.items() if now - at < SEVERAL_SECONDS}
        self._last_seen[key] = now
        return is_other

    def has_several(self, now: float) -> bool:
        """Whether agents have taken turns lately, at monotonic time *now*."""
        return self._returned_at is not None and now - self._returned_at < SEVERAL_SECONDS

    def has_changed(self, now: float) -> bool:
        """Whether another agent took the place of one lately, at monotonic time *now*."""
        return self._changed_at is not None and now - self._changed_at < SEVERAL_SECONDS

    def _served(self, key: Hashable, now: float) -> bool:
        at = self._last_seen.get(key)
        return at is not None and now - at < SEVERAL_SECONDS


def _key(sample: NodeSample) -> Hashable:
    """The agent and its start, or its GPUs; None if the page tells neither."""
    return (sample.agent, sample.agent_start) if sample.agent else frozenset(sample.gpus) or None


def _is_other(one: NodeSample, other: NodeSample) -> bool:
    if one.agent and other.agent:
        return one.agent != other.agent
    return bool(one.gpus and other.gpus) and one.gpus.keys().isdisjoint(other.gpus)
