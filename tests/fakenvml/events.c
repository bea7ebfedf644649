/* What the driver tells by itself: XID errors to event sets, bind and unbind to system event sets. */
#include "control.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A set hears what happens after it was made, of the GPUs that were registered in it. */
struct nvmlEventSet_st {
    uint32_t generation;
    unsigned char hears[FAKE_MAX_GPUS];
    uint64_t heard;
};

static double real_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    SYSTEM_CALL(FAKE_NO_GPU);
    fake_control_t *control = fake_control();
    nvmlEventSet_t made = calloc(1, sizeof *made);
    if (!made) return NVML_ERROR_MEMORY;
    made->generation = control->generation;
    made->heard = __atomic_load_n(&control->event_count, __ATOMIC_ACQUIRE);
    __atomic_add_fetch(&control->event_sets, 1, __ATOMIC_SEQ_CST);
    *set = made;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    /* The real library may crash here; this one tells on who does it. */
    if (set->generation != fake_control()->generation)
        __atomic_add_fetch(&fake_control()->dead_sets_freed, 1, __ATOMIC_SEQ_CST);
    SYSTEM_CALL(FAKE_NO_GPU);
    __atomic_sub_fetch(&fake_control()->event_sets, 1, __ATOMIC_SEQ_CST);
    free(set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    DEVICE_CALL(device);
    (void)gpu;
    *types = nvmlEventTypeXidCriticalError;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    DEVICE_CALL(device);
    (void)gpu;
    if (types & ~nvmlEventTypeXidCriticalError) return NVML_ERROR_NOT_SUPPORTED;
    set->hears[fake_index(device)] = 1;
    return NVML_SUCCESS;
}

static int next_event(nvmlEventSet_t set, nvmlEventData_t *data) {
    const fake_control_t *control = fake_control();
    while (set->heard < __atomic_load_n(&control->event_count, __ATOMIC_ACQUIRE)) {
        const fake_event_t *event = &control->events[set->heard++ % FAKE_MAX_EVENTS];
        if (!set->hears[event->gpu]) continue;
        *data = (nvmlEventData_t){.device = fake_handle((int)event->gpu),
                                  .eventType = nvmlEventTypeXidCriticalError,
                                  .eventData = event->xid,
                                  .gpuInstanceId = 0xffffffff,
                                  .computeInstanceId = 0xffffffff};
        return 1;
    }
    return 0;
}

/* Sleeps until somebody counts `news` up and wakes us, as the real one sleeps until its device wakes it. */
static void await_news(uint32_t seen, double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    syscall(SYS_futex, &fake_control()->news, FUTEX_WAIT, seen, &left, NULL, 0);
}

/* Waits, but not where a test drives the time by hand. */
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms) {
    SYSTEM_CALL(FAKE_NO_GPU);
    double end = real_seconds() + (fake_control()->manual_time ? 0 : timeout_ms * 1e-3);
    for (;;) {
        uint32_t seen = __atomic_load_n(&fake_control()->news, __ATOMIC_ACQUIRE);
        if (set->generation != fake_control()->generation) return NVML_ERROR_UNINITIALIZED;
        if (next_event(set, data)) return NVML_SUCCESS;
        double left = end - real_seconds();
        if (left <= 0) return NVML_ERROR_TIMEOUT;
        await_news(seen, left);
    }
}
