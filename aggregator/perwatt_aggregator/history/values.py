"""Values of a history: what is kept of one owner in one tick. All are sums, so that they add up."""

from typing import Final

from msgspec import Struct

NAMES: Final = (
    *("expected", "covered", "covered_at_node", "readings", "running"),
    *("output", "prompt_computed", "prompt_cached", "effective_output", "ok", "aborted", "error", "work"),
    *("gpu_board", "gpu_board_idle", "gpu_board_unknown", "gpu_board_deviation"),
    *("node", "node_idle", "node_unknown", "node_deviation"),
    *("facility", "facility_idle", "facility_unknown", "facility_deviation"),
    *("cost", "capital", "grams"),
)
"""
Seconds are multiplied by GPUs. `expected` are those of the owner, `covered` those with good readings,
`readings` are times GPUs, and `running` are requests times seconds. By boundary: joules, those of them while
no workload served, those of work that is not known, and joules times their relative uncertainty. NaN is a
value that is not known, and so is every sum with it.
"""
PLACE: Final = {name: place for place, name in enumerate(NAMES)}

CURRENCY, CARBON, UNIT = "_currency", "_carbon", "_unit"
"""Labels of an owner beside the dimensions: of its money, of its grams, and of its work in other units."""

OUTPUT_COUNTED, PROMPT_COUNTED, WORK_COUNTED, MEASURED = "+output", "+prompt", "+work", "+joules"
"""Flags of an owner: its output tokens, prompt tokens or other work are counted, its joules are measured."""


class Kept(Struct):
    """What is kept of one owner: the values in the order of NAMES, and flags: reasons and provenance."""

    values: list[float]
    flags: frozenset[str] = frozenset()

    def add(self, other: "Kept") -> None:
        """Add what is kept of another owner, or of another time."""
        self.values = [one + two for one, two in zip(self.values, other.values, strict=True)]
        if other.flags is not self.flags:
            self.flags |= other.flags


class Tick(Struct, frozen=True):
    """
    What is kept of all owners in the `seconds` from `start` on, in Unix seconds.

    Owners are known by their labels, as JSON.
    """

    start: int
    seconds: int
    owners: dict[str, Kept]
