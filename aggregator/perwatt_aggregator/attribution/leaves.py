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
    "Energy of work that was not useful.",
    (
        Entry("wasted_aborted", "Output of aborted requests."),
        Entry("wasted_error", "Output of failed requests."),
        Entry("wasted_missed_slo", "Output of successful requests that missed their latency objective."),
        Entry("wasted_recomputed", "Tokens that were computed a second time."),
    ),
)
ACTIVE = Entry(
    "active",
    "Energy while a workload served.",
    (
        Entry(EFFECTIVE, "Useful work: output of successful requests, or a job's own units."),
        WASTE,
        Entry(
            UNDECIDED, "Requests that have not ended yet, and work whose outcome the engine does not report."
        ),
    ),
)
BOARDS = Entry(
    "gpu_boards",
    "Energy of the GPU boards.",
    (
        ACTIVE,
        Entry(IDLE, "Held by a workload that has served before and had no request."),
        Entry(LOADING, "Held by a workload that was starting."),
        Entry(ALLOCATED_EMPTY, "Held by a workload that has never served since the agent observes it."),
        Entry(UNALLOCATED, "Held by nobody."),
        Entry(UNKNOWN, "Used by unknown work."),
        Entry(
            WAITING,
            "Energy that is not attributed yet at the end of the window, less that at its start. It waits "
            "for an engine's next page. Below zero if more was attributed from before the window than waits "
            "now.",
        ),
    ),
)
HOST = Entry(
    "host",
    "Energy of the nodes beside their boards.",
    (
        Entry(HOST_CPU, "Processors, as RAPL measures them."),
        Entry(HOST_DRAM, "Memory, as RAPL measures it."),
        Entry(REST, "Power supplies, fans, drives, network, and processors and memory without a meter."),
    ),
)
NODES = Entry("nodes", "Energy of the nodes at their power inlets.", (BOARDS, HOST))
TREE = Entry(
    "facility",
    "Energy of the facility.",
    (
        NODES,
        Entry(OVERHEAD, "Cooling, power delivery and everything else in the building: (PUE - 1) x nodes."),
    ),
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
