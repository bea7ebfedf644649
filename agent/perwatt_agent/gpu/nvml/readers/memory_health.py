"""Driver calls for the health of memory: errors in SRAM, and spare rows for remapping."""

import ctypes
from typing import Any

import pynvml

from perwatt_agent.facts.ecc import SramErrors
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Facts
from perwatt_agent.gpu.nvml.driver.errors import NO_PERMISSION

# Fields of nvmlRowRemapperHistogramValues_t: how many of a bank's spare rows are left.
AVAILABILITIES = ("max", "high", "partial", "low", "none")

# Part of the chip -> its field in nvmlEccSramErrorStatus_v1_t.
_SRAM_PARTS = {
    "l2": "aggregateUncBucketL2",
    "sm": "aggregateUncBucketSm",
    "pcie": "aggregateUncBucketPcie",
    "microcontroller": "aggregateUncBucketMcu",
    "other": "aggregateUncBucketOther",
}


def sram_errors(handle: Any) -> Facts:
    """
    Errors in SRAM; Ampere and newer. Raises NVMLError.

    The header asks for root. An agent without root is as it should be, so the refusal is no warning.
    """
    # Older bindings lack it.
    if not hasattr(pynvml, "c_nvmlEccSramErrorStatus_v1_t"):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    status = pynvml.c_nvmlEccSramErrorStatus_v1_t()
    call = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetSramEccErrorStatus")
    code = call(handle, ctypes.byref(status))
    pynvml._nvmlCheckReturn(pynvml.NVML_ERROR_NOT_SUPPORTED if code == NO_PERMISSION else code)
    parts = {part: values.count(getattr(status, field)) for part, field in _SRAM_PARTS.items()}
    return {
        "sram_errors": SramErrors(
            volatile_corrected=values.count(status.volatileCor),
            volatile_parity=values.count(status.volatileUncParity),
            volatile_secded=values.count(status.volatileUncSecDed),
            aggregate_corrected=values.count(status.aggregateCor),
            aggregate_parity=values.count(status.aggregateUncParity),
            aggregate_secded=values.count(status.aggregateUncSecDed),
            aggregate_uncorrected={part: errors for part, errors in parts.items() if errors is not None},
            threshold_exceeded=values.flag(status.bThresholdExceeded),
        )
    }


def remap_banks(handle: Any) -> Facts:
    """Banks of memory by how many of their spare rows are left. Raises NVMLError."""
    histogram = pynvml.nvmlDeviceGetRowRemapperHistogram(handle)
    banks = {name: values.count(getattr(histogram, name)) for name in AVAILABILITIES}
    return {"remap_banks": {name: number for name, number in banks.items() if number is not None}}
