"""Memory errors (ECC) of a GPU, by kind, type and location."""

from typing import Literal

from msgspec import Struct

EccKind = Literal["volatile", "aggregate"]
"""Since the driver was loaded, or over the board's lifetime."""

EccType = Literal["corrected", "uncorrected"]

EccLocation = Literal["all", "l1", "l2", "device_memory", "register_file", "texture", "cbu"]
"""Location of errors; `all` is the board's own sum, which may be more than that of the other locations."""


class SramErrors(Struct, frozen=True):
    """
    Memory errors in the SRAM of a GPU: caches, registers and other memory on the chip.

    Uncorrectable errors are found by parity or by SEC-DED code. `aggregate_uncorrected` has them by the part
    of the chip, over the board's lifetime. `threshold_exceeded` says whether there were more than NVIDIA's
    field diagnostic accepts.
    """

    volatile_corrected: int | None = None
    volatile_parity: int | None = None
    volatile_secded: int | None = None
    aggregate_corrected: int | None = None
    aggregate_parity: int | None = None
    aggregate_secded: int | None = None
    aggregate_uncorrected: dict[str, int] = {}
    threshold_exceeded: bool | None = None


class EccCount(Struct, frozen=True):
    """Memory errors of one kind, type and location."""

    kind: EccKind
    type: EccType
    location: EccLocation
    errors: int
