"""The control block of control.h, field by field, for ctypes. A test compares the sizes."""

from ctypes import Structure, c_char, c_double, c_int32, c_int64, c_uint8, c_uint32, c_uint64
from typing import Any

MAGIC = 0x50574E31
MAX_GPUS = 128
MAX_SEGMENTS = 1024
MAX_FAULTS = 64
MAX_FUNCTIONS = 512
MAX_PROCESSES = 8
MAX_EVENTS = 1024
MAX_FIELDS = 320
MAX_FANS = 4
MAX_MIGS = 7
SRAM_COUNTS = 11
REMAP_BANKS = 5
GPM_METRICS = 64
THRESHOLDS = 8  # NVML_TEMPERATURE_THRESHOLD_COUNT
CLOCKS = 4  # NVML_CLOCK_COUNT: graphics, SM, memory, video
ANY_GPU = -1


class Segment(Structure):
    _fields_ = [("start_seconds", c_double), ("parameters", c_double * 5), ("kind", c_int64)]


class Mig(Structure):
    _fields_ = [
        ("uuid", c_char * 80),
        ("profile", c_char * 32),
        ("exists", c_uint32),
        ("life", c_uint32),
        ("gpu_instance", c_uint32),
        ("compute_instance", c_uint32),
        ("gpu_slices", c_uint32),
        ("compute_slices", c_uint32),
        ("multiprocessors", c_uint32),
        ("gpm_percent", c_uint32),
        ("memory_total_bytes", c_uint64),
        ("memory_reserved_bytes", c_uint64),
        ("memory_used_bytes", c_uint64),
    ]


class Gpu(Structure):
    _fields_ = [
        ("name", c_char * 96),
        ("uuid", c_char * 80),
        ("serial", c_char * 32),
        ("vbios", c_char * 32),
        ("pci_bus_id", c_char * 32),
        ("architecture", c_uint32),
        ("compute_major", c_uint32),
        ("compute_minor", c_uint32),
        ("pci_bus", c_uint32),
        ("refresh_seconds", c_double),
        ("usage_window_seconds", c_double),
        ("average_window_seconds", c_double),
        ("instant_window_seconds", c_double),
        ("module_extra_watts", c_double),
        ("memory_watts", c_double),
        ("has_energy", c_uint32),
        ("has_gpu_scope", c_uint32),
        ("has_module_scope", c_uint32),
        ("has_memory_temperature", c_uint32),
        ("limit_watts", c_double),
        ("limit_default_watts", c_double),
        ("limit_min_watts", c_double),
        ("limit_max_watts", c_double),
        ("memory_total_bytes", c_uint64),
        ("memory_reserved_bytes", c_uint64),
        ("memory_used_bytes", c_uint64),
        ("utilization_percent", c_uint32),
        ("memory_utilization_percent", c_uint32),
        ("temperature_core_celsius", c_uint32),
        ("temperature_memory_celsius", c_uint32),
        ("clock_mhz", c_uint32 * CLOCKS),
        ("clock_max_mhz", c_uint32 * CLOCKS),
        ("nvlink_count", c_uint32),
        ("odd_value_type", c_uint32),
        ("process_count", c_uint32),
        ("process_pid", c_uint32 * MAX_PROCESSES),
        ("segment_count", c_uint32),
        ("process_sm_percent", c_uint32 * MAX_PROCESSES),
        ("process_bytes", c_uint64 * MAX_PROCESSES),
        ("process_slot", c_uint32 * MAX_PROCESSES),
        ("process_draws", c_uint32 * MAX_PROCESSES),
        ("process_protected_bytes", c_uint64 * MAX_PROCESSES),
        ("minor_number", c_int32),
        ("energy_zero_seconds", c_double),
        ("energy_offset_joules", c_double),
        ("energy_glitch_joules", c_double),
        ("energy_glitch_reads", c_int64),
        ("segments", Segment * MAX_SEGMENTS),
        ("field_value", c_int64 * MAX_FIELDS),
        ("field_known", c_uint8 * MAX_FIELDS),
        ("gpm_value", c_double * GPM_METRICS),
        ("event_reasons", c_uint64),
        ("bar1_total_bytes", c_uint64),
        ("bar1_used_bytes", c_uint64),
        ("bar1_maps_memory", c_uint32),
        ("has_sram", c_uint32),
        ("sram_count", c_uint64 * SRAM_COUNTS),
        ("sram_threshold_exceeded", c_uint32),
        ("has_remap_banks", c_uint32),
        ("remap_banks", c_uint32 * REMAP_BANKS),
        ("has_gpm", c_uint32),
        ("has_margin", c_uint32),
        ("margin_celsius", c_int32),
        ("numa_node", c_int32),
        ("threshold_celsius", c_uint32 * THRESHOLDS),
        ("performance_state", c_uint32),
        ("pcie_generation", c_uint32),
        ("pcie_generation_max", c_uint32),
        ("pcie_width", c_uint32),
        ("pcie_width_max", c_uint32),
        ("fan_count", c_uint32),
        ("fan_percent", c_uint32 * MAX_FANS),
        ("encoder_percent", c_uint32),
        ("decoder_percent", c_uint32),
        ("fabric_state", c_uint32),
        ("fabric_health", c_uint32),
        ("compute_mode", c_uint32),
        ("persistence", c_uint32),
        ("virtualization_mode", c_int32),
        ("vgpu_count", c_uint32),
        ("mig_capable", c_uint32),
        ("mig_enabled", c_uint32),
        ("mig", Mig * MAX_MIGS),
    ]


class Fault(Structure):
    _fields_ = [
        ("function", c_char * 64),
        ("gpu", c_int32),
        ("active", c_int32),
        ("code", c_int32),
        ("remaining", c_int32),
        ("hang", c_int32),
        ("hanging", c_int32),
        ("latency_seconds", c_double),
    ]


class Function(Structure):
    _fields_ = [("name", c_char * 64), ("calls", c_uint64 * (MAX_GPUS + 1))]


class Event(Structure):
    _fields_ = [("xid", c_uint64), ("gpu", c_int64)]


class Control(Structure):
    _fields_ = [
        ("magic", c_uint32),
        ("gpu_count", c_uint32),
        ("generation", c_uint32),
        ("manual_time", c_uint32),
        ("now_seconds", c_double),
        ("epoch_seconds", c_double),
        ("driver_version", c_char * 32),
        ("nvml_version", c_char * 32),
        ("cuda_version", c_uint32),
        ("fault_count", c_uint32),
        ("function_count", c_uint32),
        ("function_lock", c_uint32),
        ("faults", Fault * MAX_FAULTS),
        ("functions", Function * MAX_FUNCTIONS),
        ("gpus", Gpu * MAX_GPUS),
        ("news", c_uint32),
        ("event_count", c_uint64),
        ("event_sets", c_int64),
        ("dead_sets_freed", c_int64),
        ("events", Event * MAX_EVENTS),
        ("gpm_samples", c_int64),
        ("dead_samples_freed", c_int64),
        ("mixed_samples", c_int64),
        ("process_entry_bytes", c_uint32),
    ]


SETTABLE = frozenset(name for name, *_ in Gpu._fields_ if name not in {"segments", "segment_count", "mig"})


def assign(structure: Structure, **values: Any) -> None:
    """Set fields by name: text as str, arrays as sequences, single places of arrays as a dict."""
    for name, value in values.items():
        if name not in SETTABLE:
            raise AttributeError(f"a fake GPU has no {name}")
        if isinstance(value, dict):
            for place, number in value.items():
                getattr(structure, name)[place] = number
        elif isinstance(value, str):
            setattr(structure, name, value.encode())
        elif isinstance(value, (tuple, list)):
            getattr(structure, name)[: len(value)] = value
        else:
            setattr(structure, name, value)
