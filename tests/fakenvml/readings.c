/* Entry points for what a GPU does now: power, energy, memory, load, clocks, temperature, load of processes. */
#include "control.h"

#include <string.h>

static unsigned int milli(double value) { return (unsigned int)(value * 1000 + 0.5); }

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    DEVICE_CALL(device);
    if (gpu->usage_window_seconds <= 0) return NVML_ERROR_NOT_SUPPORTED;
    *milliwatts = milli(fake_window_watts(gpu, gpu->usage_window_seconds));
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
    DEVICE_CALL(device);
    if (!gpu->has_energy || !gpu->has_gpu_scope) return NVML_ERROR_NOT_SUPPORTED;
    *millijoules = fake_energy_millijoules(gpu, 0);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *milliwatts) {
    DEVICE_CALL(device);
    *milliwatts = milli(gpu->limit_watts);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t device, unsigned int *milliwatts) {
    DEVICE_CALL(device);
    *milliwatts = milli(gpu->limit_watts);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlDevice_t device, unsigned int *milliwatts) {
    DEVICE_CALL(device);
    *milliwatts = milli(gpu->limit_default_watts);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *minimum,
                                                          unsigned int *maximum) {
    DEVICE_CALL(device);
    *minimum = milli(gpu->limit_min_watts);
    *maximum = milli(gpu->limit_max_watts);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    DEVICE_CALL(device);
    if (gpu->mig_enabled) return NVML_ERROR_NOT_SUPPORTED;
    utilization->gpu = gpu->utilization_percent;
    utilization->memory = gpu->memory_utilization_percent;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    DEVICE_CALL(device);
    memory->total = gpu->memory_total_bytes;
    memory->used = gpu->memory_used_bytes + gpu->memory_reserved_bytes; /* as the first version does */
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    ANY_DEVICE_CALL(device);
    if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = mig ? mig->memory_total_bytes : gpu->memory_total_bytes;
    memory->reserved = mig ? mig->memory_reserved_bytes : gpu->memory_reserved_bytes;
    memory->used = mig ? mig->memory_used_bytes : gpu->memory_used_bytes;
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *celsius) {
    DEVICE_CALL(device);
    if (sensor != NVML_TEMPERATURE_GPU) return NVML_ERROR_INVALID_ARGUMENT;
    *celsius = gpu->temperature_core_celsius;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature) {
    DEVICE_CALL(device);
    if (temperature->version != nvmlTemperature_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensorType != NVML_TEMPERATURE_GPU) return NVML_ERROR_INVALID_ARGUMENT;
    temperature->temperature = (int)gpu->temperature_core_celsius;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *megahertz) {
    DEVICE_CALL(device);
    if ((unsigned int)type >= NVML_CLOCK_COUNT) return NVML_ERROR_INVALID_ARGUMENT;
    *megahertz = gpu->clock_mhz[type];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *megahertz) {
    DEVICE_CALL(device);
    if ((unsigned int)type >= NVML_CLOCK_COUNT) return NVML_ERROR_INVALID_ARGUMENT;
    *megahertz = gpu->clock_max_mhz[type];
    return NVML_SUCCESS;
}

/* One sample for each process that computes, taken at every full second; the room asked for is for more. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples,
                                             unsigned int *count, unsigned long long last_seen) {
    DEVICE_CALL(device);
    if (gpu->mig_enabled) return NVML_ERROR_NOT_SUPPORTED;
    unsigned long long sampled = (unsigned long long)fake_now() * 1000000ULL;
    unsigned int room = *count, found = 0;
    *count = FAKE_MAX_PROCESSES;
    if (room < FAKE_MAX_PROCESSES) return NVML_ERROR_INSUFFICIENT_SIZE;
    memset(samples, 0, room * sizeof *samples);
    for (unsigned int i = 0; sampled > last_seen && i < gpu->process_count; i++)
        if (gpu->process_sm_percent[i])
            samples[found++] = (nvmlProcessUtilizationSample_t){
                .pid = gpu->process_pid[i], .timeStamp = sampled, .smUtil = gpu->process_sm_percent[i]};
    return found ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}
