/* Entry points that perwatt does not call but that other monitors do, so that they run over this fake too. */
#include "control.h"

/* What a data-centre board without display or ECC errors answers. */
#define NOT_SUPPORTED(function, ...)                          \
    nvmlReturn_t function(nvmlDevice_t device, __VA_ARGS__) { \
        DEVICE_CALL(device);                                  \
        (void)gpu;                                            \
        return NVML_ERROR_NOT_SUPPORTED;                      \
    }

#define ANSWER(function, type, answer)                        \
    nvmlReturn_t function(nvmlDevice_t device, type *value) { \
        DEVICE_CALL(device);                                  \
        (void)gpu;                                            \
        *value = answer;                                      \
        return NVML_SUCCESS;                                  \
    }

/* The parameters are NVIDIA's; that nothing is done with them is the point. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

NOT_SUPPORTED(nvmlDeviceGetDriverModel, nvmlDriverModel_t *current, nvmlDriverModel_t *pending)
NOT_SUPPORTED(nvmlDeviceGetDriverModel_v2, nvmlDriverModel_t *current, nvmlDriverModel_t *pending)
NOT_SUPPORTED(nvmlDeviceGetFanSpeed, unsigned int *speed)

ANSWER(nvmlDeviceGetDisplayMode, nvmlEnableState_t, NVML_FEATURE_DISABLED)
ANSWER(nvmlDeviceGetDisplayActive, nvmlEnableState_t, NVML_FEATURE_DISABLED)

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current, nvmlEnableState_t *pending) {
    DEVICE_CALL(device);
    (void)gpu;
    *current = *pending = NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t error,
                                         nvmlEccCounterType_t counter, unsigned long long *errors) {
    DEVICE_CALL(device);
    (void)gpu;
    *errors = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, nvmlPcieUtilCounter_t counter,
                                         unsigned int *kilobytes_per_second) {
    DEVICE_CALL(device);
    *kilobytes_per_second = 1000 * gpu->utilization_percent;
    return NVML_SUCCESS;
}
