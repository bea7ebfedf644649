"""Bases of families: the facts that a family is read from; the same objects give the same samples."""

from perwatt_agent.facts.snapshot import Snapshot

Facts = tuple[object, ...]


def identities(snapshot: Snapshot) -> Facts:
    """What is said of GPUs once a driver generation."""
    return tuple(gpu.info for gpu in snapshot.gpus)


def states(snapshot: Snapshot) -> Facts:
    """Which GPUs there are, and whether they answer."""
    return (*identities(snapshot), *(gpu.state for gpu in snapshot.gpus))


def slow_readings(snapshot: Snapshot) -> Facts:
    """What is read of GPUs every 10-15 s; None while one does not answer."""
    return (*identities(snapshot), *(gpu.slow if gpu.state == "ok" else None for gpu in snapshot.gpus))


def judgements(snapshot: Snapshot) -> Facts:
    """How GPUs fare; a judgement is made of words, and these are always the same objects."""
    known = (gpu.health for gpu in snapshot.gpus)
    words = ((None,) if health is None else (health.state, *health.reasons) for health in known)
    return (*identities(snapshot), *(word for judgement in words for word in judgement))


def xids(snapshot: Snapshot) -> Facts:
    """The XID errors of GPUs; those of a GPU that has none are the one empty tuple."""
    return (*identities(snapshot), *(gpu.xids for gpu in snapshot.gpus))


def backend(snapshot: Snapshot) -> Facts:
    """What the GPU backend is, and whether it answers."""
    return (snapshot.backend,)


def workloads(snapshot: Snapshot) -> Facts:
    """All that is told of workloads."""
    return snapshot.workloads


def meters(snapshot: Snapshot) -> Facts:
    """The host around the GPUs."""
    return (snapshot.host, snapshot.node_model, snapshot.node_meters, *snapshot.meters)
