"""Memory errors (ECC) of a GPU, by kind, type and location."""

from typing import Literal

from msgspec import Struct

EccKind = Literal["volatile", "aggregate"]
"""Since the driver was loaded, or over the board's life."""

EccType = Literal["corrected", "uncorrected"]

EccLocation = Literal["all", "l1", "l2", "device_memory", "register_file", "texture", "cbu"]
"""Where errors were; `all` is the board's own sum, which may hold more than the places that it names."""


class EccCount(Struct, frozen=True):
    """Memory errors of one kind, type and place."""

    kind: EccKind
    type: EccType
    location: EccLocation
    errors: int
