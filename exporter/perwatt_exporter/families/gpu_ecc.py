"""Families of GPU memory errors: ECC errors, memory taken out of use, and what the driver asks for."""

from collections.abc import Callable
from typing import get_args

from perwatt_agent.facts.ecc import EccKind, EccLocation, EccType
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.gpu_status import RecoveryAction
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import Values, each, of_slow_reading, only, state
from perwatt_exporter.page.family import Family

KINDS: tuple[str, ...] = get_args(EccKind)
ERRORS: tuple[str, ...] = get_args(EccType)
LOCATIONS: tuple[str, ...] = tuple(place for place in get_args(EccLocation) if place != "all")
ACTIONS: tuple[str, ...] = get_args(RecoveryAction)


def _sums(slow: GpuSlowReading) -> Values:
    return (((one.kind, one.type), one.errors) for one in slow.ecc_errors if one.location == "all")


def _places(slow: GpuSlowReading) -> Values:
    return (
        ((one.kind, one.type, one.location), one.errors) for one in slow.ecc_errors if one.location != "all"
    )


def _flag(name: str, help_text: str, value: Callable[[GpuSlowReading], bool | None]) -> Family[Snapshot]:
    return of_slow_reading(name, help_text, only(value))


FAMILIES: tuple[Family[Snapshot], ...] = (
    _flag(
        "perwatt_gpu_ecc_enabled",
        "1 if memory errors are corrected and counted (ECC).",
        lambda s: s.ecc_enabled,
    ),
    of_slow_reading(
        "perwatt_gpu_ecc_errors_total",
        "Memory errors of the whole GPU: volatile ones since the driver was loaded, aggregate ones over the "
        "board's life.",
        _sums,
        ("kind", "error"),
        {"kind": KINDS, "error": ERRORS},
    ),
    of_slow_reading(
        "perwatt_gpu_ecc_location_errors_total",
        "The same memory errors by the part of the GPU in which they were, where it tells.",
        _places,
        ("kind", "error", "location"),
        {"kind": KINDS, "error": ERRORS, "location": LOCATIONS},
    ),
    of_slow_reading(
        "perwatt_gpu_retired_pages_total",
        "Pages of memory that were retired over the board's life, by the errors that were the cause; boards "
        "before Ampere.",
        each(
            {
                "corrected": lambda slow: slow.retired_pages_corrected,
                "uncorrected": lambda slow: slow.retired_pages_uncorrected,
            }
        ),
        ("error",),
        {"error": ERRORS},
    ),
    _flag(
        "perwatt_gpu_retired_pages_pending",
        "1 if pages wait to be retired by a reset of the GPU.",
        lambda slow: slow.retired_pages_pending,
    ),
    of_slow_reading(
        "perwatt_gpu_remapped_rows_total",
        "Rows of memory that were replaced by spare ones over the board's life, by the errors that were the "
        "cause; Ampere and newer.",
        each(
            {
                "corrected": lambda slow: slow.remapped_rows_corrected,
                "uncorrected": lambda slow: slow.remapped_rows_uncorrected,
            }
        ),
        ("error",),
        {"error": ERRORS},
    ),
    _flag(
        "perwatt_gpu_remapped_rows_pending",
        "1 if rows wait to be remapped by a reset of the GPU.",
        lambda slow: slow.remapped_rows_pending,
    ),
    _flag(
        "perwatt_gpu_remapped_rows_failed",
        "1 if a row could not be remapped: the board is to be replaced.",
        lambda slow: slow.remapped_rows_failed,
    ),
    of_slow_reading(
        "perwatt_gpu_recovery_action",
        "1 for what the driver asks for to make the GPU whole, else 0; none is all well.",
        state(ACTIONS, lambda slow: slow.recovery_action),
        ("action",),
        {"action": ACTIONS},
    ),
)
