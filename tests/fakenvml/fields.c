/* nvmlDeviceGetFieldValues: one table row per field id that the fake knows. */
#include "control.h"

#include <stdio.h>
#include <time.h>

typedef nvmlReturn_t (*fake_field_t)(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value);

static int has_scope(const fake_gpu_t *gpu, unsigned int scope) {
    if (scope == NVML_POWER_SCOPE_GPU) return gpu->has_gpu_scope != 0;
    return scope == NVML_POWER_SCOPE_MODULE && gpu->has_module_scope;
}

static double extra_watts(const fake_gpu_t *gpu, unsigned int scope) {
    return scope == NVML_POWER_SCOPE_MODULE ? gpu->module_extra_watts : 0;
}

static nvmlReturn_t milliwatts(nvmlValue_t *value, double watts) {
    value->uiVal = (unsigned int)(watts * 1000 + 0.5);
    return NVML_SUCCESS;
}

static nvmlReturn_t energy(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    if (!gpu->has_energy || !has_scope(gpu, scope)) return NVML_ERROR_NOT_SUPPORTED;
    value->ullVal = fake_energy_millijoules(gpu, extra_watts(gpu, scope));
    return NVML_SUCCESS;
}

static nvmlReturn_t total_energy(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    (void)scope; /* the older id knows no scopes */
    return energy(gpu, NVML_POWER_SCOPE_GPU, value);
}

static nvmlReturn_t window(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value, double window_seconds) {
    if (window_seconds <= 0 || !has_scope(gpu, scope)) return NVML_ERROR_NOT_SUPPORTED;
    return milliwatts(value, fake_window_watts(gpu, window_seconds) + extra_watts(gpu, scope));
}

static nvmlReturn_t power_average(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    if (scope == NVML_POWER_SCOPE_MEMORY)
        return gpu->memory_watts > 0 ? milliwatts(value, gpu->memory_watts) : NVML_ERROR_NOT_SUPPORTED;
    return window(gpu, scope, value, gpu->average_window_seconds);
}

static nvmlReturn_t power_instant(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    return window(gpu, scope, value, gpu->instant_window_seconds);
}

static nvmlReturn_t limit(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value, double watts) {
    if (!has_scope(gpu, scope)) return NVML_ERROR_NOT_SUPPORTED;
    return milliwatts(value, watts + extra_watts(gpu, scope));
}

static nvmlReturn_t limit_min(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    return limit(gpu, scope, value, gpu->limit_min_watts);
}

static nvmlReturn_t limit_max(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    return limit(gpu, scope, value, gpu->limit_max_watts);
}

static nvmlReturn_t limit_default(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    return limit(gpu, scope, value, gpu->limit_default_watts);
}

static nvmlReturn_t limit_current(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    return limit(gpu, scope, value, gpu->limit_watts);
}

static nvmlReturn_t memory_temperature(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    (void)scope;
    if (!gpu->has_memory_temperature) return NVML_ERROR_NOT_SUPPORTED;
    value->uiVal = gpu->temperature_memory_celsius;
    return NVML_SUCCESS;
}

static nvmlReturn_t link_count(fake_gpu_t *gpu, unsigned int scope, nvmlValue_t *value) {
    (void)scope;
    if (gpu->nvlink_count == 0 || gpu->mig_enabled) return NVML_ERROR_NOT_SUPPORTED;
    value->uiVal = gpu->nvlink_count;
    return NVML_SUCCESS;
}

#define BLACKWELL 10
#define ALL_LINKS 0xffffffffu

static nvmlReturn_t link_bytes(fake_gpu_t *gpu, unsigned int link, nvmlValue_t *value, unsigned int unit) {
    if (gpu->nvlink_count == 0 || gpu->mig_enabled || (link != ALL_LINKS && link >= gpu->nvlink_count)) return NVML_ERROR_NOT_SUPPORTED;
    unsigned int links = link == ALL_LINKS ? gpu->nvlink_count : 1;
    value->ullVal = (unsigned long long)(fake_now() * 1024 * gpu->utilization_percent) * 1024 / unit * links;
    return NVML_SUCCESS;
}

/* The one pair of counters is of links before Blackwell, the other of those since. */
static nvmlReturn_t older_link(fake_gpu_t *gpu, unsigned int link, nvmlValue_t *value) {
    return gpu->architecture < BLACKWELL ? link_bytes(gpu, link, value, 1024) : NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t newer_link(fake_gpu_t *gpu, unsigned int link, nvmlValue_t *value) {
    return gpu->architecture < BLACKWELL ? NVML_ERROR_NOT_SUPPORTED : link_bytes(gpu, link, value, 1);
}

static const struct {
    unsigned int id;
    nvmlValueType_t type;
    fake_field_t read;
} FIELDS[] = {
    {NVML_FI_DEV_MEMORY_TEMP, NVML_VALUE_TYPE_UNSIGNED_INT, memory_temperature},
    {NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, total_energy},
    {NVML_FI_DEV_NVLINK_LINK_COUNT, NVML_VALUE_TYPE_UNSIGNED_INT, link_count},
    {NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, older_link},
    {NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, older_link},
    {NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, newer_link},
    {NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, newer_link},
    {NVML_FI_DEV_ENERGY, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, energy},
    {NVML_FI_DEV_POWER_AVERAGE, NVML_VALUE_TYPE_UNSIGNED_INT, power_average},
    {NVML_FI_DEV_POWER_INSTANT, NVML_VALUE_TYPE_UNSIGNED_INT, power_instant},
    {NVML_FI_DEV_POWER_MIN_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, limit_min},
    {NVML_FI_DEV_POWER_MAX_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, limit_max},
    {NVML_FI_DEV_POWER_DEFAULT_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, limit_default},
    {NVML_FI_DEV_POWER_CURRENT_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT, limit_current},
};

/* Ids above 250 were renumbered: throttling is 251..253 in drivers 575 to 580.81 and 269..271 since, and before
 * and after that 251..253 are flags of something else. Gives the id of today, or 0 for such a flag. */
static unsigned int id_of_today(unsigned int id) {
    int renumbered = fake_driver_at_least(580, 82);
    if (id >= 251 && id <= 253) return !renumbered && fake_driver_at_least(575, 0) ? id + 18 : 0;
    return id > 250 && !renumbered ? FAKE_MAX_FIELDS : id;
}

static nvmlValueType_t type_of(unsigned int id) {
    if (id >= 193 && id <= 196) return NVML_VALUE_TYPE_SIGNED_INT;
    int small = id <= 2 || (id >= 29 && id <= 31) || id == 94 || (id >= 142 && id <= 145) || id == 230;
    return small ? NVML_VALUE_TYPE_UNSIGNED_INT : NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
}

/* What a real H100 does not show while MIG is on: remapped rows, and errors of links. */
static int refused_with_mig(unsigned int id) {
    return (id >= 142 && id <= 145) || id == 38 || id == 45 || id == 52 || id == 59 || (id >= 206 && id <= 215);
}

/* A field whose number the test has set. */
static nvmlReturn_t plain(const fake_gpu_t *gpu, nvmlFieldValue_t *field) {
    unsigned int id = id_of_today(field->fieldId);
    field->valueType = gpu->odd_value_type ? gpu->odd_value_type : type_of(id);
    field->value.sllVal = 1;
    if (id == 0) return NVML_SUCCESS;
    if (id >= FAKE_MAX_FIELDS || !gpu->field_known[id]) return NVML_ERROR_NOT_SUPPORTED;
    if (gpu->mig_enabled && refused_with_mig(id)) return NVML_ERROR_NOT_SUPPORTED;
    field->value.sllVal = gpu->field_value[id];
    return NVML_SUCCESS;
}

static nvmlReturn_t read_field(fake_gpu_t *gpu, int index, nvmlFieldValue_t *field) {
    char name[32];
    snprintf(name, sizeof name, "field:%u", field->fieldId);
    nvmlReturn_t injected = fake_count_and_suffer(name, index);
    if (injected != NVML_SUCCESS) return injected;
    for (unsigned int i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++)
        if (FIELDS[i].id == field->fieldId) {
            field->valueType = gpu->odd_value_type ? gpu->odd_value_type : FIELDS[i].type;
            return FIELDS[i].read(gpu, field->scopeId, &field->value);
        }
    return plain(gpu, field);
}

static long long microseconds_since_1970(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    DEVICE_CALL(device);
    for (int i = 0; i < count; i++) {
        values[i].timestamp = microseconds_since_1970();
        values[i].latencyUsec = 0;
        values[i].nvmlReturn = read_field(gpu, fake_index(device), &values[i]);
    }
    return NVML_SUCCESS;
}
