"""Families of GPU memory errors: ECC errors, memory taken out of use, and what the driver asks for."""

from collections.abc import Callable
from typing import get_args

from perwatt_agent.facts.ecc import EccKind, EccLocation, EccType
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.gpu_status import RecoveryAction
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import Values, each, entries, of_slow_reading, only, state
from perwatt_exporter.page.family import Family

KINDS: tuple[str, ...] = get_args(EccKind)
ERRORS: tuple[str, ...] = get_args(EccType)
LOCATIONS: tuple[str, ...] = tuple(place for place in get_args(EccLocation) if place != "all")
SRAM_ERRORS = ("corrected", "parity", "secded")
SRAM_PARTS = ("l2", "sm", "pcie", "microcontroller", "other")
AVAILABILITIES = ("max", "high", "partial", "low", "none")
ACTIONS: tuple[str, ...] = get_args(RecoveryAction)


def _sums(slow: GpuSlowReading) -> Values:
    return (((one.kind, one.type), one.errors) for one in slow.ecc_errors if one.location == "all")


def _places(slow: GpuSlowReading) -> Values:
    return (
        ((one.kind, one.type, one.location), one.errors) for one in slow.ecc_errors if one.location != "all"
    )


def _sram(slow: GpuSlowReading) -> Values:
    found = slow.sram_errors
    if found is not None:
        yield ("volatile", "corrected"), found.volatile_corrected
        yield ("volatile", "parity"), found.volatile_parity
        yield ("volatile", "secded"), found.volatile_secded
        yield ("aggregate", "corrected"), found.aggregate_corrected
        yield ("aggregate", "parity"), found.aggregate_parity
        yield ("aggregate", "secded"), found.aggregate_secded


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
        "The same memory errors by the part of the GPU in which they occurred, if the GPU reports it.",
        _places,
        ("kind", "error", "location"),
        {"kind": KINDS, "error": ERRORS, "location": LOCATIONS},
    ),
    of_slow_reading(
        "perwatt_gpu_sram_errors_total",
        "Memory errors in the SRAM of the chip, of the same kinds. Uncorrectable errors were found by "
        "parity or by an error-correcting code (secded). Ampere and newer; may need root.",
        _sram,
        ("kind", "error"),
        {"kind": KINDS, "error": SRAM_ERRORS},
    ),
    of_slow_reading(
        "perwatt_gpu_sram_uncorrected_errors_total",
        "Uncorrectable memory errors in the SRAM over the board's life, by the part of the chip.",
        entries(lambda slow: slow.sram_errors.aggregate_uncorrected if slow.sram_errors else {}),
        ("part",),
        {"part": SRAM_PARTS},
    ),
    _flag(
        "perwatt_gpu_sram_threshold_exceeded",
        "1 if there were more uncorrectable errors in the SRAM than NVIDIA's field diagnostic accepts.",
        lambda slow: slow.sram_errors.threshold_exceeded if slow.sram_errors else None,
    ),
    of_slow_reading(
        "perwatt_gpu_retired_pages_total",
        "Memory pages retired over the board's life, by the kind of error that was the cause; boards "
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
        "1 if memory pages will be retired at the next reset of the GPU.",
        lambda slow: slow.retired_pages_pending,
    ),
    of_slow_reading(
        "perwatt_gpu_remapped_rows_total",
        "Memory rows replaced by spare rows over the board's life, by the kind of error that was the "
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
        "1 if memory rows will be remapped at the next reset of the GPU.",
        lambda slow: slow.remapped_rows_pending,
    ),
    _flag(
        "perwatt_gpu_remapped_rows_failed",
        "1 if a memory row could not be remapped: replace the board.",
        lambda slow: slow.remapped_rows_failed,
    ),
    of_slow_reading(
        "perwatt_gpu_remap_banks",
        "Memory banks by how many of their spare rows are left: max is all of them; a bank with none cannot "
        "replace a further row. Ampere and newer.",
        entries(lambda slow: slow.remap_banks),
        ("availability",),
        {"availability": AVAILABILITIES},
    ),
    of_slow_reading(
        "perwatt_gpu_recovery_action",
        "1 for the action that the driver recommends for the GPU, else 0; none means that no action is "
        "needed.",
        state(ACTIONS, lambda slow: slow.recovery_action),
        ("action",),
        {"action": ACTIONS},
    ),
)
