"""Memory errors (ECC) of a GPU, by kind, type and location."""

from typing import Literal

from msgspec import Struct

EccKind = Literal["volatile", "aggregate"]
"""Since the driver was loaded, or over the board's lifetime."""

EccType = Literal["corrected", "uncorrected"]

EccLocation = Literal["all", "l1", "l2", "device_memory", "register_file", "texture", "cbu"]
"""Location of errors; `all` is the board's own sum, which may be more than that of the other locations."""


class EccCount(Struct, frozen=True):
    """Memory errors of one kind, type and location."""

    kind: EccKind
    type: EccType
    location: EccLocation
    errors: int
