"""Leaves of the ledger, and the tree that adds them up: the name and the meaning of each entry."""

from collections.abc import Iterator

from msgspec import Struct

from perwatt_aggregator.schema.common import Boundary


class Entry(Struct, frozen=True):
    """A leaf, or a branch that is the sum of its children."""

    name: str
    meaning: str
    children: tuple["Entry", ...] = ()

    def leaves(self) -> Iterator["Entry"]:
        """The leaves below, or the entry itself if it is a leaf."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


EFFECTIVE = "effective"
WASTED = {
    "aborted": "wasted_aborted",
    "error": "wasted_error",
    "missed_slo": "wasted_missed_slo",
    "recomputed": "wasted_recomputed",
}
"""The leaf of each cause of waste."""
UNDECIDED = "undecided"
IDLE = "idle"
LOADING = "loading"
ALLOCATED_EMPTY = "allocated_empty"
UNALLOCATED = "unallocated"
UNKNOWN = "unknown"
WAITING = "waiting"
HOST_CPU = "host_cpu"
HOST_DRAM = "host_dram"
REST = "psu_and_rest"
OVERHEAD = "facility_overhead"

WASTE = Entry(
    "wasted",
    "Work that took energy and was of no use.",
    (
        Entry("wasted_aborted", "Output of requests that were aborted."),
        Entry("wasted_error", "Output of requests that failed."),
        Entry("wasted_missed_slo", "Output of requests that ended well, later than their objective."),
        Entry("wasted_recomputed", "Tokens that were computed a second time."),
    ),
)
ACTIVE = Entry(
    "active",
    "While a workload served.",
    (
        Entry(EFFECTIVE, "Work that was of use: output of requests that ended well, a job's own units."),
        WASTE,
        Entry(UNDECIDED, "Requests that have not ended yet, and what the engine cannot tell."),
    ),
)
BOARDS = Entry(
    "gpu_boards",
    "What the GPU boards took.",
    (
        ACTIVE,
        Entry(IDLE, "Held by a workload that has served, and had no request."),
        Entry(LOADING, "Held by a workload that was getting ready."),
        Entry(ALLOCATED_EMPTY, "Held by a workload that never served since it is known."),
        Entry(UNALLOCATED, "Held by nobody."),
        Entry(UNKNOWN, "Used by work that nobody explained."),
        Entry(
            WAITING,
            "What waits at the end of the window for its engine's next page, less what waited at its start: "
            "below zero where more of earlier time was handed out than waits now.",
        ),
    ),
)
HOST = Entry(
    "host",
    "What the nodes took beside their boards.",
    (
        Entry(HOST_CPU, "Processors, as RAPL measures them."),
        Entry(HOST_DRAM, "Memory, as RAPL measures it."),
        Entry(
            REST, "Power supplies, fans, drives, network, and what of processors and memory is not metered."
        ),
    ),
)
NODES = Entry("nodes", "What the nodes took at their plugs.", (BOARDS, HOST))
TREE = Entry(
    "facility",
    "What the facility took.",
    (NODES, Entry(OVERHEAD, "Cooling, power delivery and all else of the building: (PUE - 1) x nodes.")),
)
_BEYOND_BOARDS: dict[str, Boundary] = {
    TREE.name: "facility",
    OVERHEAD: "facility",
    NODES.name: "node",
    HOST.name: "node",
    **dict.fromkeys((leaf.name for leaf in HOST.leaves()), "node"),
}


def boundary_of(entry: Entry) -> Boundary:
    """The narrowest boundary that *entry* belongs to."""
    return _BEYOND_BOARDS.get(entry.name, "gpu_board")


def is_active_leaf(entry: Entry) -> bool:
    """Whether *entry* is a part of active joules, which are divided by the outcome of tokens."""
    return entry == WASTE or entry in ACTIVE.leaves()
