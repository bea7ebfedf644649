/* Entry points of the library itself: start, stop, versions, and finding GPUs. */
#include "control.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return fake_start();
}

nvmlReturn_t nvmlInit_v2(void) { return fake_start(); }

nvmlReturn_t nvmlShutdown(void) { return fake_stop(); }

const char *nvmlErrorString(nvmlReturn_t result) { return result == NVML_SUCCESS ? "Success" : "fake driver error"; }

static nvmlReturn_t copy_text(char *to, unsigned int length, const char *from) {
    if (strlen(from) >= length) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, from);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    SYSTEM_CALL(FAKE_NO_GPU);
    return copy_text(version, length, fake_control()->driver_version);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    SYSTEM_CALL(FAKE_NO_GPU);
    return copy_text(version, length, fake_control()->nvml_version);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    SYSTEM_CALL(FAKE_NO_GPU);
    *version = (int)fake_control()->cuda_version;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    SYSTEM_CALL(FAKE_NO_GPU);
    *version = (int)fake_control()->cuda_version;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) {
    SYSTEM_CALL(FAKE_NO_GPU);
    snprintf(name, length, "process-%u", pid);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    SYSTEM_CALL(FAKE_NO_GPU);
    *count = fake_control()->gpu_count;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    SYSTEM_CALL((int)index);
    if (index >= fake_control()->gpu_count) return NVML_ERROR_INVALID_ARGUMENT;
    *device = fake_handle((int)index);
    return NVML_SUCCESS;
}

static int find(const char *wanted, size_t offset) {
    const fake_control_t *control = fake_control();
    for (uint32_t i = 0; control && i < control->gpu_count; i++)
        if (strcmp((const char *)&control->gpus[i] + offset, wanted) == 0) return (int)i;
    return FAKE_NO_GPU;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    int index = find(uuid, offsetof(fake_gpu_t, uuid));
    SYSTEM_CALL(index);
    if (index == FAKE_NO_GPU) return NVML_ERROR_NOT_FOUND;
    *device = fake_handle(index);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pci_bus_id, nvmlDevice_t *device) {
    int index = find(pci_bus_id, offsetof(fake_gpu_t, pci_bus_id));
    SYSTEM_CALL(index);
    if (index == FAKE_NO_GPU) return NVML_ERROR_NOT_FOUND;
    *device = fake_handle(index);
    return NVML_SUCCESS;
}
