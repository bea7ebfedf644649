"""Raw NVML numbers into base units; a sentinel or an impossible number is None, never a value."""

from collections.abc import Sequence
from typing import TypeVar, get_args

from perwatt_agent.facts.gpu_status import RecoveryAction

T = TypeVar("T")

_UNKNOWN_U32 = 0xFFFF_FFFF
_UNKNOWN_U64 = 0xFFFF_FFFF_FFFF_FFFF

# Wider than any board, narrower than any sentinel.
_MAX_WATTS = 1_000_000
_MAX_CELSIUS = 200
_MAX_MEGAHERTZ = 100_000
_MAX_LINK = 1024
_MAX_PERFORMANCE_STATE = 15

_RECOVERY_ACTIONS: tuple[RecoveryAction, ...] = get_args(RecoveryAction)


def joules(millijoules: float) -> float | None:
    return millijoules / 1000 if 0 <= millijoules < _UNKNOWN_U64 else None


def watts(milliwatts: float) -> float | None:
    return milliwatts / 1000 if 0 <= milliwatts < min(_UNKNOWN_U32, _MAX_WATTS * 1000) else None


def limit_watts(milliwatts: float) -> float | None:
    """A limit of 0 is how some boards say that they have none."""
    return watts(milliwatts) if milliwatts else None


def core_celsius(celsius: float) -> float | None:
    """A running board is never below freezing, but drivers say -1 for "not available"."""
    return float(celsius) if 0 <= celsius <= _MAX_CELSIUS else None


def memory_celsius(celsius: float) -> float | None:
    """Boards without a memory sensor say 0."""
    return core_celsius(celsius) if celsius else None


def ratio(percent: int) -> float | None:
    return percent / 100 if 0 <= percent <= 100 else None


def hertz(megahertz: int) -> float | None:
    return megahertz * 1e6 if 0 <= megahertz <= _MAX_MEGAHERTZ else None


def memory_bytes(amount: int, total: int) -> int | None:
    return amount if 0 <= amount <= total < _UNKNOWN_U64 else None


def full_ratio(percent: int) -> float | None:
    """A share that some drivers report a little above 100 %, as of fans."""
    return min(percent, 100) / 100 if 0 <= percent <= 200 else None


def margin_celsius(celsius: float) -> float | None:
    """A distance to a limit; negative beyond the limit."""
    return float(celsius) if -_MAX_CELSIUS <= celsius <= _MAX_CELSIUS else None


def nanoseconds(amount: float) -> float | None:
    return amount / 1e9 if 0 <= amount < _UNKNOWN_U64 and amount != _UNKNOWN_U32 else None


def count(amount: float) -> int | None:
    return int(amount) if 0 <= amount < _UNKNOWN_U64 and amount != _UNKNOWN_U32 else None


def kibibytes(amount: float) -> int | None:
    return None if (whole := count(amount)) is None else whole * 1024


def flag(number: float) -> bool | None:
    return bool(number) if number in (0, 1) else None


def performance_state(number: int) -> int | None:
    """0 is the fastest; 32 means unknown."""
    return number if 0 <= number <= _MAX_PERFORMANCE_STATE else None


def link_number(number: int) -> int | None:
    """A generation or a width; 0 means that there is no link."""
    return number if 0 < number < _MAX_LINK else None


def named(names: Sequence[T], number: int) -> T | None:
    """The name of an enumeration's number; None for a number newer than this table."""
    return names[number] if 0 <= number < len(names) else None


def recovery_action(number: float) -> RecoveryAction:
    """ "other" for an action newer than this table."""
    return named(_RECOVERY_ACTIONS, int(number)) or "other"
