"""Duplicates: nodes that show what another node shows already, so that nothing counts twice."""

import logging
from collections.abc import Iterable

from perwatt_aggregator.readings.agent import Agent, Marks

logger = logging.getLogger(__name__)


class Duplicates:
    """
    The nodes that have the same agent, or a GPU in common, with a node before them.

    One agent may be configured by its name and by its address, and two agents may read the same GPUs. Agents
    that share a folder, and so an id, have starts of their own. Simulated GPUs are called after their host,
    whichever agent simulates them. A node that does not answer now is no duplicate: its GPUs may have moved
    to another one. `found` is the latest result.
    """

    def __init__(self) -> None:
        self._read: list[tuple[str, Marks]] = []
        self.found: dict[str, str] = {}
        self._logged: dict[str, str] = {}

    def of(self, agents: Iterable[Agent], now: float) -> dict[str, str]:
        """Return those of *agents* that are duplicates, and the node that each shows; log each once."""
        read = [(agent.target.node, agent.marks) for agent in agents if not agent.is_stale(now)]
        # Requests come more often than nodes and GPUs change.
        if read != self._read:
            self._read, self.found = read, _duplicates(read)
            self._log()
        return self.found

    def _log(self) -> None:
        for node, original in self.found.items():
            if self._logged.get(node) != original:
                logger.warning(
                    "%s shows an agent or a GPU of %s, and is left out of all sums; remove one of them from "
                    "`sources`",
                    node,
                    original,
                )
        self._logged.update(self.found)


def _duplicates(read: Iterable[tuple[str, Marks]]) -> dict[str, str]:
    found: dict[str, str] = {}
    owners: dict[tuple[str, ...], str] = {}
    for node, marks in read:
        before = next((owners[mark] for mark in marks if mark in owners), None)
        if before is not None:
            found[node] = before
        else:
            owners |= dict.fromkeys(marks, node)
    return found


def read_one_gpu(one: Agent, other: Agent) -> bool:
    """
    Whether both agents read a GPU now, or are the same agent, so that they are on one machine.

    If a GPU in common answers only one of them, it may have moved to another machine.
    """
    first, second = one.sample, other.sample
    if first is None or second is None:
        return False
    if first.agent and (first.agent, first.agent_start) == (second.agent, second.agent_start):
        return True
    common = first.gpus.keys() & second.gpus.keys()
    return any(first.gpus[gpu].up and second.gpus[gpu].up for gpu in common)
