"""Raw NVML numbers into base units; a sentinel or an impossible number is None, never a value."""

_UNKNOWN_U32 = 0xFFFF_FFFF
_UNKNOWN_U64 = 0xFFFF_FFFF_FFFF_FFFF

# Wider than any board, narrower than any sentinel.
_MAX_WATTS = 1_000_000
_MAX_CELSIUS = 200
_MAX_MEGAHERTZ = 100_000


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
