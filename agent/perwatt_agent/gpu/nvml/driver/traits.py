"""Options and traits: the operator's settings, and what of a board and its driver decides how to read."""

from msgspec import Struct

from perwatt_agent.facts.gpm import GpmMode
from perwatt_agent.facts.gpu_reading import Detail

BLACKWELL = 10
"""nvmlDeviceArchitecture_t; what is newer than the header has a greater number."""


class Options(Struct, frozen=True):
    """
    The operator's settings: performance monitoring, how many processes of a GPU are listed, and how much
    detail is read.
    """

    gpm: GpmMode = "auto"
    top_processes: int = 0
    detail: Detail = "full"


class Traits(Struct, frozen=True):
    """
    One GPU with one driver.

    `usage_is_mean` says what nvmlDeviceGetPowerUsage means on this architecture. `driver` is the driver's
    version in numbers; field ids above 250 and new counters go by it, never by the binding's constants.
    `numa_node` is set where the operating system owns the memory. `mig` says whether MIG is on at first.

    `reports_power_caps` is False on GeForce boards of Turing: at 39 of 250 W, an RTX 2080 SUPER counted up to
    9 of 15 seconds as time at its power cap.
    """

    driver: tuple[int, ...] = ()
    architecture: int = 0
    usage_is_mean: bool = False
    numa_node: int | None = None
    mig: bool = False
    reports_power_caps: bool = True


def version_numbers(version: str) -> tuple[int, ...]:
    """580.95.05 -> (580, 95, 5); what is no number ends it."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
