/* Lists of processes, in each version of the call and each layout that drivers have filled. */
#include "control.h"

#include <string.h>

/* What drivers 535.43 up to 535.98 filled where the header of every other driver has 24 bytes. */
typedef struct {
    nvmlProcessInfo_v2_t common;
    unsigned long long protected_bytes;
} long_entry_t;

_Static_assert(sizeof(nvmlProcessInfo_v2_t) == 24 && sizeof(long_entry_t) == 32, "layouts of entries");

static size_t newest_entry_bytes(void) {
    const fake_control_t *control = fake_control();
    if (control->process_entry_bytes) return control->process_entry_bytes;
    return fake_driver_at_least(535, 43) && !fake_driver_at_least(535, 98) ? sizeof(long_entry_t)
                                                                           : sizeof(nvmlProcessInfo_v2_t);
}

/* The first bytes of the longest entry are the entry in each layout. */
static nvmlReturn_t list(const fake_gpu_t *gpu, const fake_mig_t *mig, int graphics, size_t entry_bytes,
                         unsigned int *count, void *entries) {
    unsigned int room = *count, found = 0;
    for (unsigned int i = 0; i < gpu->process_count; i++) {
        const fake_mig_t *at = gpu->process_slot[i] ? &gpu->mig[gpu->process_slot[i] - 1] : NULL;
        if ((mig && at != mig) || (graphics ? !gpu->process_draws[i] : gpu->process_draws[i] == 2))
            continue;
        if (found++ >= room) continue;
        long_entry_t entry;
        memset(&entry, 0, sizeof entry);
        entry.common = (nvmlProcessInfo_v2_t){gpu->process_pid[i], gpu->process_bytes[i],
                                              at ? at->gpu_instance : 0xffffffff,
                                              at ? at->compute_instance : 0xffffffff};
        entry.protected_bytes = gpu->process_protected_bytes[i];
        memcpy((char *)entries + (found - 1) * entry_bytes, &entry, entry_bytes);
    }
    *count = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

#define LIST(function, entry_type, graphics, since, entry_bytes)                                       \
    nvmlReturn_t function(nvmlDevice_t device, unsigned int *count, entry_type *entries) {              \
        ANY_DEVICE_CALL(device);                                                                        \
        if (!fake_driver_at_least(since, 0)) return NVML_ERROR_FUNCTION_NOT_FOUND;                      \
        return list(gpu, mig, graphics, entry_bytes, count, entries);                                   \
    }

LIST(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_t, 0, 510, newest_entry_bytes())
LIST(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, 0, 450, sizeof(nvmlProcessInfo_v2_t))
LIST(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t, 0, 0, sizeof(nvmlProcessInfo_v1_t))
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t, 1, 510, newest_entry_bytes())
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t, 1, 450, sizeof(nvmlProcessInfo_v2_t))
