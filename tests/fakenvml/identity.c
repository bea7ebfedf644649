/* Entry points for what a GPU is: facts that do not change while the driver lives. */
#include "control.h"

#include <stdio.h>
#include <string.h>

static nvmlReturn_t copy_text(char *to, unsigned int length, const char *from) {
    if (from[0] == '\0') return NVML_ERROR_NOT_SUPPORTED;
    if (strlen(from) >= length) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, from);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    ANY_DEVICE_CALL(device);
    char full[sizeof gpu->name + sizeof mig->profile + 8];
    snprintf(full, sizeof full, mig ? "%s MIG %s" : "%s", gpu->name, mig ? mig->profile : "");
    return copy_text(name, length, full);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    ANY_DEVICE_CALL(device);
    return copy_text(uuid, length, mig ? mig->uuid : gpu->uuid);
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned int length) {
    DEVICE_CALL(device);
    return copy_text(serial, length, gpu->serial);
}

nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char *version, unsigned int length) {
    DEVICE_CALL(device);
    return copy_text(version, length, gpu->vbios);
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
    DEVICE_CALL(device);
    *index = (unsigned int)(gpu - fake_control()->gpus);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor) {
    DEVICE_CALL(device);
    if (gpu->minor_number < 0) return NVML_ERROR_NOT_SUPPORTED;
    *minor = (unsigned int)gpu->minor_number;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    DEVICE_CALL(device);
    memset(pci, 0, sizeof *pci);
    memcpy(pci->busId, gpu->pci_bus_id, sizeof pci->busId);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", gpu->pci_bus & 0xff);
    pci->bus = gpu->pci_bus;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *architecture) {
    DEVICE_CALL(device);
    *architecture = gpu->architecture;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    DEVICE_CALL(device);
    *major = (int)gpu->compute_major;
    *minor = (int)gpu->compute_minor;
    return NVML_SUCCESS;
}
