/* Entry points for MIG: the mode, and the instances in their slots, of which any may be empty. */
#include "control.h"

#include <string.h>

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    DEVICE_CALL(device);
    if (!gpu->mig_capable) return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = gpu->mig_enabled;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    DEVICE_CALL(device);
    *count = gpu->mig_capable ? FAKE_MAX_MIGS : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *handle) {
    DEVICE_CALL(device);
    if (!gpu->mig_capable) return NVML_ERROR_NOT_SUPPORTED;
    if (!gpu->mig_enabled || index >= FAKE_MAX_MIGS) return NVML_ERROR_INVALID_ARGUMENT;
    if (!gpu->mig[index].exists) return NVML_ERROR_NOT_FOUND;
    *handle = fake_mig_handle(fake_index(device), (int)index);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id) {
    ANY_DEVICE_CALL(device);
    (void)gpu;
    if (!mig) return NVML_ERROR_INVALID_ARGUMENT;
    *id = mig->gpu_instance;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id) {
    ANY_DEVICE_CALL(device);
    (void)gpu;
    if (!mig) return NVML_ERROR_INVALID_ARGUMENT;
    *id = mig->compute_instance;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes) {
    ANY_DEVICE_CALL(device);
    (void)gpu;
    if (!mig) return NVML_ERROR_NOT_SUPPORTED;
    memset(attributes, 0, sizeof *attributes);
    attributes->multiprocessorCount = mig->multiprocessors;
    attributes->gpuInstanceSliceCount = mig->gpu_slices;
    attributes->computeInstanceSliceCount = mig->compute_slices;
    attributes->memorySizeMB = mig->memory_total_bytes >> 20;
    return NVML_SUCCESS;
}
