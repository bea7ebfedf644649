/* Entry points for what a GPU tells in depth: why it is slow, its links, fans, modes and margins. */
#include "control.h"

#include <stddef.h>
#include <string.h>

#define NUMBER(function, type, value)                          \
    nvmlReturn_t function(nvmlDevice_t device, type *number) { \
        DEVICE_CALL(device);                                   \
        *number = (type)(value);                               \
        return NVML_SUCCESS;                                   \
    }

#define NUMBER_WHERE(function, type, value, known)             \
    nvmlReturn_t function(nvmlDevice_t device, type *number) { \
        DEVICE_CALL(device);                                   \
        if (!(known)) return NVML_ERROR_NOT_SUPPORTED;         \
        *number = (type)(value);                               \
        return NVML_SUCCESS;                                   \
    }

NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, gpu->event_reasons)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, gpu->event_reasons)
NUMBER(nvmlDeviceGetPerformanceState, nvmlPstates_t, gpu->performance_state)
NUMBER(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, gpu->persistence)
NUMBER(nvmlDeviceGetComputeMode, nvmlComputeMode_t, gpu->compute_mode)
NUMBER(nvmlDeviceGetNumFans, unsigned int, gpu->fan_count)
NUMBER_WHERE(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, gpu->pcie_generation, gpu->pcie_generation)
NUMBER_WHERE(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, gpu->pcie_generation_max, gpu->pcie_generation_max)
NUMBER_WHERE(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, gpu->pcie_width, gpu->pcie_width)
NUMBER_WHERE(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, gpu->pcie_width_max, gpu->pcie_width_max)
NUMBER_WHERE(nvmlDeviceGetNumaNodeId, unsigned int, gpu->numa_node, gpu->numa_node >= 0)

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *percent) {
    DEVICE_CALL(device);
    if (fan >= gpu->fan_count || fan >= FAKE_MAX_FANS) return NVML_ERROR_INVALID_ARGUMENT;
    *percent = gpu->fan_percent[fan];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *margin) {
    DEVICE_CALL(device);
    if (margin->version != nvmlMarginTemperature_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!gpu->has_margin) return NVML_ERROR_NOT_SUPPORTED;
    margin->marginTemperature = gpu->margin_celsius;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t threshold,
                                               unsigned int *celsius) {
    DEVICE_CALL(device);
    if ((unsigned int)threshold >= NVML_TEMPERATURE_THRESHOLD_COUNT) return NVML_ERROR_INVALID_ARGUMENT;
    if (!gpu->threshold_celsius[threshold]) return NVML_ERROR_NOT_SUPPORTED;
    *celsius = gpu->threshold_celsius[threshold];
    return NVML_SUCCESS;
}

static nvmlReturn_t codec(nvmlDevice_t device, const char *function, int encodes, unsigned int *percent,
                          unsigned int *period_us) {
    fake_gpu_t *gpu;
    nvmlReturn_t code = fake_enter_device(function, device, &gpu);
    if (code != NVML_SUCCESS) return code;
    if (gpu->mig_enabled) return NVML_ERROR_NOT_SUPPORTED;
    *percent = encodes ? gpu->encoder_percent : gpu->decoder_percent;
    *period_us = 167000;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us) {
    return codec(device, __func__, 1, percent, period_us);
}

nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us) {
    return codec(device, __func__, 0, percent, period_us);
}

/* Versions 2 and 3 of the struct; the latter ends with the summary of health. */
nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *fabric) {
    DEVICE_CALL(device);
    if (fabric->version != nvmlGpuFabricInfo_v2 && fabric->version != nvmlGpuFabricInfo_v3)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!gpu->fabric_state) return NVML_ERROR_NOT_SUPPORTED;
    fabric->state = (nvmlGpuFabricState_t)gpu->fabric_state;
    fabric->status = NVML_SUCCESS;
    if (fabric->version == nvmlGpuFabricInfo_v3) fabric->healthSummary = (unsigned char)gpu->fabric_health;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *memory) {
    DEVICE_CALL(device);
    unsigned long long mapped = gpu->mig_enabled ? gpu->memory_total_bytes - gpu->memory_reserved_bytes
                                                 : gpu->memory_used_bytes;
    memory->bar1Total = gpu->bar1_total_bytes;
    memory->bar1Used = gpu->bar1_used_bytes + (gpu->bar1_maps_memory ? mapped : 0);
    memory->bar1Free = memory->bar1Total - memory->bar1Used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *status) {
    DEVICE_CALL(device);
    if (status->version != nvmlEccSramErrorStatus_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!gpu->has_sram) return NVML_ERROR_NOT_SUPPORTED;
    memcpy((char *)status + offsetof(nvmlEccSramErrorStatus_t, aggregateUncParity), gpu->sram_count, sizeof gpu->sram_count);
    status->bThresholdExceeded = gpu->sram_threshold_exceeded;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *values) {
    DEVICE_CALL(device);
    if (!gpu->has_remap_banks) return NVML_ERROR_NOT_SUPPORTED;
    memcpy(values, gpu->remap_banks, sizeof gpu->remap_banks);
    return NVML_SUCCESS;
}
