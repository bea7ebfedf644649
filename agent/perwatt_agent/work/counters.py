"""Add up what the reporters of one job say of one unit, and never count anything twice."""

from typing import Protocol

from perwatt_agent.work.report import WorkReport

MAX_KEYS = 256

Reporter = int | None
"""A rank, or None for who has none."""


class Tally(Protocol):
    """One job's count of one unit. `total` falls only when `add` says that the count began anew."""

    total: float

    def add(self, post: WorkReport) -> bool:
        """Take a report; return whether the count began anew."""
        ...


class GlobalTotals:
    """
    Every reporter gives the total of the whole job: the highest counts.

    A reporter whose own total falls was restarted, and the job with it: the count goes on from what it
    says now. The others join the new life when their totals fall too; until then they tell of the old.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._life = 0
        self._said: dict[Reporter, tuple[int, float]] = {}

    def add(self, post: WorkReport) -> bool:
        life, before = self._said.get(post.rank, (self._life, 0.0))
        began = False
        if post.amount < before:
            began = life == self._life
            self._life += began
            life = self._life
        self._said[post.rank] = (life, post.amount)
        if began:
            self.total = post.amount
        elif life == self._life:
            self.total = max(self.total, post.amount)
        return began


class RankTotals:
    """
    Every rank gives its own total, and what they did adds up.

    A rank's first total is where its count begins: what it did before, and the joules that it took
    for it, were before our time. After a fall, all that a rank says is new: it was restarted.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._said: dict[Reporter, float] = {}

    def add(self, post: WorkReport) -> bool:
        before = self._said.get(post.rank, post.amount)
        self._said[post.rank] = post.amount
        self.total += post.amount - before if post.amount >= before else post.amount
        return False


class Increments:
    """
    Every report is new work, unless its key is among the last MAX_KEYS, which all units of a job share.

    With scope rank a key belongs to its rank; else to the job, so that of many ranks that tell of the
    same step with the same key one counts.
    """

    def __init__(self, keys: dict[int, None]) -> None:
        self.total = 0.0
        self._keys = keys

    def add(self, post: WorkReport) -> bool:
        # The hash of a key takes less memory than the key; two that are the same are as likely as none.
        key = hash((post.unit, post.rank if post.scope == "rank" else None, post.key))
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self.total += post.amount
        return False


def tally_for(post: WorkReport, keys: dict[int, None]) -> Tally:
    """The tally that counts as *post* does; *keys* are those of its job."""
    if post.increment is not None:
        return Increments(keys)
    return RankTotals() if post.scope == "rank" else GlobalTotals()
