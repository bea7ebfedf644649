"""Division of one GPU's joules among the workloads that hold it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_agent.facts.workload import Method


class Holder(Struct, frozen=True):
    """
    Workload that holds a GPU.

    `sm_ratio` is the SM utilisation of its processes there, `busy` whether it has work; None is unknown.
    """

    name: str
    sm_ratio: float | None = None
    busy: bool | None = None


class Split(Struct, frozen=True):
    """
    Shares of a GPU: each holder's share of the joules above idle power, by name.

    `others` is the share of processes that belong to no holder; `shares` and `others` add up to 1. So do
    `idle_shares` (equal if None), `idle_others` and `unheld`, the share of idle power that nobody holds.
    `resting` are holders whose part of the GPU was idle.
    """

    method: Method
    shares: dict[str, float]
    others: float = 0.0
    idle_shares: dict[str, float] | None = None
    idle_others: float = 0.0
    unheld: float = 0.0
    resting: frozenset[str] = frozenset()

    def divide(self, joules: float, idle_joules: float) -> dict[str, float]:
        """Return joules by holder: *idle_joules* (at most all) by idle share, the rest by share."""
        idle = min(joules, idle_joules)
        idle_shares = self.idle_shares or dict.fromkeys(self.shares, 1.0 / len(self.shares))
        return {
            name: idle * idle_shares[name] + (joules - idle) * share for name, share in self.shares.items()
        }

    def rest(self, joules: float, idle_joules: float) -> tuple[float, float]:
        """Return the joules that `divide` leaves: (unallocated, unknown)."""
        idle = min(joules, idle_joules)
        return idle * self.unheld, idle * self.idle_others + (joules - idle) * self.others


def split(holders: Sequence[Holder], others_sm_ratio: float = 0.0) -> Split:
    """
    Choose how to divide a GPU among *holders*, of which there is at least one.

    By the SM utilisation of their processes if it is known for all of them, else among those that have work,
    else equally. *others_sm_ratio* is the SM utilisation of all other processes on the GPU.
    """
    if len(holders) == 1:
        return Split("exclusive", {holders[0].name: 1.0})
    sm_ratios = [holder.sm_ratio for holder in holders if holder.sm_ratio is not None]
    total = sum(sm_ratios) + others_sm_ratio
    if len(sm_ratios) == len(holders) and total > 0.0:
        shares = {holder.name: (holder.sm_ratio or 0.0) / total for holder in holders}
        return Split("sm_share", shares, others_sm_ratio / total)
    busy = [holder.name for holder in holders if holder.busy]
    if busy and all(holder.busy is not None for holder in holders):
        shares = {holder.name: 1.0 / len(busy) if holder.busy else 0.0 for holder in holders}
        return Split("busy_share", shares)
    return equally(holder.name for holder in holders)


def equally(names: Iterable[str]) -> Split:
    """Divide a GPU equally; a single holder has all of it."""
    shares = dict.fromkeys(names, 1.0)
    method: Method = "exclusive" if len(shares) == 1 else "equal"
    return Split(method, {name: 1.0 / len(shares) for name in shares})
