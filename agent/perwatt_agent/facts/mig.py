"""MIG instances: the parts into which one GPU is divided."""

from msgspec import Struct

from perwatt_agent.facts.gpm import GpmReading


class MigReading(Struct, frozen=True, omit_defaults=True):
    """
    One MIG instance of a GPU, by its UUID. Power and energy belong to the whole board, so they are not here.

    `gpm` is the reading of its GPU instance, which other compute instances may share.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str = ""
    gpu_slices: int | None = None
    compute_slices: int | None = None
    multiprocessors: int | None = None
    memory_used_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    memory_total_bytes: int | None = None
    gpm: GpmReading | None = None
