/* GPU performance monitoring: samples, and what two of them say. Rates are what the test has set. */
#include "control.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEWEST_SECONDS 0.1 /* two samples must lie further apart */
#define FIRST_CUMULATIVE NVML_GPM_METRIC_SM_CYCLES_ELAPSED
#define LAST_CUMULATIVE NVML_GPM_METRIC_FP16_CYCLES_ACTIVE
#define HOPPER 9

struct nvmlGpmSample_st {
    double seconds; /* negative while nothing was taken */
    int gpu;
    int slot;
    uint32_t life;
    uint32_t generation;
};

static int instance_slot(const fake_gpu_t *gpu, unsigned int gpu_instance) {
    for (int slot = 0; slot < FAKE_MAX_MIGS; slot++)
        if (gpu->mig[slot].exists && gpu->mig[slot].gpu_instance == gpu_instance) return slot;
    return -1;
}

static nvmlReturn_t take(const fake_gpu_t *gpu, int slot, nvmlGpmSample_t sample) {
    if (!sample) return NVML_ERROR_INVALID_ARGUMENT;
    if (!gpu->has_gpm || (gpu->mig_enabled && slot < 0)) return NVML_ERROR_NOT_SUPPORTED;
    *sample = (struct nvmlGpmSample_st){
        .seconds = fake_now(),
        .gpu = (int)(gpu - fake_control()->gpus),
        .slot = slot,
        .life = slot < 0 ? 0 : gpu->mig[slot].life,
        .generation = fake_control()->generation,
    };
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support) {
    DEVICE_CALL(device);
    if (support->version != NVML_GPM_SUPPORT_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = gpu->has_gpm;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample) {
    SYSTEM_CALL(FAKE_NO_GPU);
    *sample = malloc(sizeof **sample);
    if (!*sample) return NVML_ERROR_MEMORY;
    (*sample)->seconds = -1;
    __atomic_add_fetch(&fake_control()->gpm_samples, 1, __ATOMIC_SEQ_CST);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample) {
    nvmlReturn_t code = fake_enter(__func__, FAKE_NO_GPU);
    if (code == NVML_ERROR_UNINITIALIZED) __atomic_add_fetch(&fake_control()->dead_samples_freed, 1, __ATOMIC_SEQ_CST);
    if (code != NVML_SUCCESS) return code;
    free(sample);
    __atomic_sub_fetch(&fake_control()->gpm_samples, 1, __ATOMIC_SEQ_CST);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample) {
    DEVICE_CALL(device);
    return take(gpu, -1, sample);
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpu_instance, nvmlGpmSample_t sample) {
    DEVICE_CALL(device);
    int slot = gpu->mig_enabled ? instance_slot(gpu, gpu_instance) : -1;
    return slot < 0 ? NVML_ERROR_NOT_FOUND : take(gpu, slot, sample);
}

static int same_source(nvmlGpmSample_t one, nvmlGpmSample_t other) {
    return one->gpu == other->gpu && one->slot == other->slot && one->life == other->life &&
           one->generation == other->generation;
}

static double rate(const fake_gpu_t *gpu, int slot, unsigned int id) {
    return slot < 0 ? gpu->gpm_value[id] : gpu->mig[slot].gpm_percent;
}

/* Cycles since the driver was loaded; all but those that elapsed follow the SMs' activity. */
static double cycles(const fake_gpu_t *gpu, int slot, unsigned int id, double seconds) {
    double elapsed = seconds * gpu->clock_mhz[NVML_CLOCK_SM] * 1e6;
    return id == FIRST_CUMULATIVE ? elapsed : elapsed * rate(gpu, slot, NVML_GPM_METRIC_SM_UTIL) / 100;
}

static nvmlReturn_t measure(const fake_gpu_t *gpu, nvmlGpmSample_t first, nvmlGpmSample_t last, unsigned int id,
                            double *value) {
    if (id >= FIRST_CUMULATIVE && id <= LAST_CUMULATIVE) {
        *value = cycles(gpu, last->slot, id, last->seconds);
        return fake_driver_at_least(595, 0) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
    }
    if (id == 0 || id >= FAKE_GPM_METRICS) return NVML_ERROR_INVALID_ARGUMENT;
    if (gpu->gpm_value[id] < 0) return NVML_ERROR_NOT_SUPPORTED;
    *value = last->seconds - first->seconds > FEWEST_SECONDS ? rate(gpu, last->slot, id) : NAN;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get) {
    if (!get->sample1 || !get->sample2) return NVML_ERROR_INVALID_ARGUMENT;
    SYSTEM_CALL(get->sample1->gpu);
    if (get->version != NVML_GPM_METRICS_GET_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (get->sample1->seconds < 0 || get->sample2->seconds < 0) return NVML_ERROR_INVALID_ARGUMENT;
    fake_control_t *control = fake_control();
    if (!same_source(get->sample1, get->sample2)) __atomic_add_fetch(&control->mixed_samples, 1, __ATOMIC_SEQ_CST);
    const fake_gpu_t *gpu = &control->gpus[get->sample1->gpu];
    for (unsigned int i = 0; i < get->numMetrics; i++) {
        nvmlGpmMetric_t *metric = &get->metrics[i];
        char name[32];
        snprintf(name, sizeof name, "gpm:%u", metric->metricId);
        metric->nvmlReturn = fake_count_and_suffer(name, get->sample1->gpu);
        if (metric->nvmlReturn == NVML_SUCCESS)
            metric->nvmlReturn = measure(gpu, get->sample1, get->sample2, metric->metricId, &metric->value);
    }
    return NVML_SUCCESS;
}
