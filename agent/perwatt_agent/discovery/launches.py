"""Recognition of engine launches: which engine a program is, its port, its GPUs and its role."""

import re
from collections.abc import Sequence
from functools import cache

from perwatt_agent.discovery.command_line import has_option, number
from perwatt_agent.discovery.rank_coverage import RequestedGpus
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.launch import Launch
from perwatt_agent.facts.workload import Role

# Each pattern is compiled once, at its first use. `re` remembers them too, but finds them several times
# slower, and each process of a node is compared with those of all engines.
pattern_of = cache(re.compile)

# A launch that names its part of a disaggregated engine; every other launch does both parts.
_ROLES: tuple[tuple[str, Role], ...] = (
    (r"--disaggregation[-_]mode[ =]prefill\b|--is-prefill-worker\b", "prefill"),
    (r"--disaggregation[-_]mode[ =]decode\b|--is-decode-worker\b", "decode"),
    (r"\bkv_role\W+kv_producer\b", "prefill"),
    (r"\bkv_role\W+kv_consumer\b", "decode"),
    (r"(?i)--(server[-_])?role[ =](context|prefill)\b", "prefill"),
    (r"(?i)--(server[-_])?role[ =](generation|decode)\b", "decode"),
)
_CONNECTOR = r"\bkv_connector\W+(\w+)"
# Connectors to a further cache of the engine, or to several connectors. All others join it to other workers.
_OWN_CACHE = r"Multi|\w*(Offload|Cache|Storage|Store|KV)\w*Connector"


def kind_of(program: str, kinds: Sequence[EngineKind] = ENGINES) -> EngineKind | None:
    """Return the first of *kinds* whose launch signature matches a program; None if none does."""
    return next(
        (kind for kind in kinds if kind.launch is not None and pattern_of(kind.launch.serves).match(program)),
        None,
    )


def launch_port(launch: Launch, command: Sequence[str], variable: str = "") -> int | None:
    """Return the port in a command line, else the port in *variable*; None if neither has a valid one."""
    port = number(command, launch.port_options)
    if port is None and variable.isdecimal():
        port = int(variable)
    return port if port is not None and 0 < port < 65536 else None


def gpus_requested(launch: Launch, command: Sequence[str]) -> int | None:
    """Return how many GPUs a launch requests for the ranks that it starts; None if it hides its options."""
    requested = requested_gpus(launch, command)
    return None if requested is None else requested.gpus


def requested_gpus(launch: Launch, command: Sequence[str]) -> RequestedGpus | None:
    """Return the GPUs and ranks that a launch requests; None if its command line hides its options."""
    per_rank = gpus_per_rank(launch, command)
    if per_rank is None:
        return None
    return RequestedGpus(per_rank, ranks_requested(launch, command), has_ranks=launch.ranks is not None)


def gpus_per_rank(launch: Launch, command: Sequence[str]) -> int | None:
    """Return how many GPUs one data-parallel rank of a launch requests; None if its command line hides it."""
    is_title = len(command) == 1 and "::" in command[0]
    if not launch.degrees or is_title or "--config" in command:
        return None
    is_flat = bool(launch.flat_with) and launch.flat_with in command
    gpus = 1
    for options in launch.degrees[:-1] if is_flat else launch.degrees:
        if launch.ranks is None or options != launch.ranks.degree:
            gpus *= number(command, options) or 1
    return gpus


def ranks_requested(launch: Launch, command: Sequence[str]) -> int:
    """Return how many data-parallel ranks this launch starts itself; 1 for an engine without ranks."""
    ranks = launch.ranks
    if ranks is None or has_option(command, ranks.single):
        return 1
    return number(command, ranks.local) or number(command, ranks.degree) or 1


def own_rank(launch: Launch, program: str) -> int | None:
    """Return the number of the data-parallel rank that a program serves alone; None if it does not."""
    pattern = launch.ranks.own_server if launch.ranks else None
    match = pattern_of(pattern).match(program) if pattern else None
    return int(match[1]) if match else None


def rank_port(launch: Launch, command: Sequence[str], port: int, rank: int) -> int:
    """Return the port of a rank's own page, for a launch at *port*."""
    first = number(command, launch.ranks.first) if launch.ranks else None
    return port + rank - (first or 0)


def leads_to(launch: Launch, programs: Sequence[str]) -> bool:
    """Return whether *programs*, from a process on a GPU up to this launch, belong to this engine."""
    return launch.through is None or any(pattern_of(launch.through).match(program) for program in programs)


def shares_kv(command: Sequence[str], kinds: Sequence[EngineKind] = ENGINES) -> bool:
    """Return whether a launch without a role exchanges KV caches with other workers."""
    text = " ".join(command)
    if role_of(command) != "mixed":
        return False
    if any(not re.match(_OWN_CACHE, name) for name in re.findall(_CONNECTOR, text)):
        return True
    patterns = (kind.launch.shares_kv for kind in kinds if kind.launch is not None)
    return any(pattern_of(pattern).search(text) for pattern in patterns if pattern is not None)


def role_of(command: Sequence[str]) -> Role:
    """Return the role that a command line gives its workload."""
    text = " ".join(command)
    return next((role for pattern, role in _ROLES if pattern_of(pattern).search(text)), "mixed")
