"""Duplicates: nodes that show what another node shows already, so that nothing counts twice."""

from collections.abc import Iterable

from perwatt_aggregator.readings.agent import Agent


def duplicates(agents: Iterable[Agent], now: float) -> dict[str, str]:
    """
    Return the nodes that have the same agent, or a GPU in common, with a node before them, and that node.

    One agent may be configured by its name and by its address, and two agents may read the same GPUs. Agents
    that share a folder, and so an id, have starts of their own. Simulated GPUs are called after their host,
    whichever agent simulates them. A node that does not answer now is no duplicate: its GPUs may have moved
    to another one.
    """
    found: dict[str, str] = {}
    owners: dict[tuple[str, ...], str] = {}
    for agent in agents:
        sample = agent.sample
        if sample is None or agent.is_stale(now):
            continue
        marks: list[tuple[str, ...]] = [("gpu", gpu) for gpu in sample.gpus if not gpu.startswith("SIM-")]
        if sample.agent:
            marks.append(("agent", sample.agent, sample.agent_start))
        before = next((owners[mark] for mark in marks if mark in owners), None)
        if before is not None:
            found[agent.target.node] = before
            continue
        owners |= dict.fromkeys(marks, agent.target.node)
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
