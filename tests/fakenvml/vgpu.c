/* Entry points for virtual GPUs: how the GPU is virtualized, and the instances that are active on a host. */
#include "control.h"

nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, nvmlGpuVirtualizationMode_t *mode) {
    DEVICE_CALL(device);
    if (gpu->virtualization_mode < 0) return NVML_ERROR_NOT_SUPPORTED;
    *mode = (nvmlGpuVirtualizationMode_t)gpu->virtualization_mode;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetActiveVgpus(nvmlDevice_t device, unsigned int *count, nvmlVgpuInstance_t *instances) {
    DEVICE_CALL(device);
    if (gpu->virtualization_mode != NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU) return NVML_ERROR_NOT_SUPPORTED;
    unsigned int room = *count;
    *count = gpu->vgpu_count;
    if (room < gpu->vgpu_count) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int place = 0; place < gpu->vgpu_count; place++) instances[place] = 0xc0de + place;
    return NVML_SUCCESS;
}
