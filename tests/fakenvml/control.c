/* Maps the control block, keeps driver time, counts calls, injects what the tests asked for. */
#define _GNU_SOURCE
#include "control.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static fake_control_t *attached;
static pthread_once_t attach_once = PTHREAD_ONCE_INIT;
static uint32_t started_generation; /* the generation in which this process called nvmlInit; 0 is none */
static int start_count;

/* For tests in this very process: from now on use this control file. Earlier mappings stay, because a
 * thread may still hang in one. */
int fakenvml_attach(const char *path);
int fakenvml_attach(const char *path) {
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return -1;
    void *mapped = mmap(NULL, sizeof(fake_control_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED || ((fake_control_t *)mapped)->magic != FAKE_MAGIC) return -1;
    __atomic_store_n(&started_generation, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&start_count, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&attached, mapped, __ATOMIC_SEQ_CST);
    return 0;
}

/* So that a test can compare the layout with its mirror in Python. */
unsigned long fakenvml_control_size(void);
unsigned long fakenvml_control_size(void) { return sizeof(fake_control_t); }

static void attach_by_environment(void) {
    const char *path = getenv("FAKENVML_CONTROL");
    if (path && !attached) fakenvml_attach(path);
}

fake_control_t *fake_control(void) {
    pthread_once(&attach_once, attach_by_environment);
    return __atomic_load_n(&attached, __ATOMIC_SEQ_CST);
}

static double monotonic_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double fake_now(void) {
    const fake_control_t *control = fake_control();
    return control->manual_time ? control->now_seconds : monotonic_seconds() - control->epoch_seconds;
}

static void sleep_seconds(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0) {
    }
}

static uint32_t hash(const char *name) {
    uint32_t hashed = 2166136261u;
    for (; *name; name++) hashed = (hashed ^ (unsigned char)*name) * 16777619u;
    return hashed;
}

/* To look through all names at each call would be a part of what an exporter seems to cost, so that it looks
 * first where the name was found last. */
static fake_function_t *function_slot(fake_control_t *control, const char *name) {
    static uint32_t found[256];
    uint32_t *last = &found[hash(name) % 256];
    uint32_t count = __atomic_load_n(&control->function_count, __ATOMIC_ACQUIRE);
    uint32_t guess = __atomic_load_n(last, __ATOMIC_RELAXED);
    if (guess < count && strcmp(control->functions[guess].name, name) == 0) return &control->functions[guess];
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(control->functions[i].name, name) == 0) {
            __atomic_store_n(last, i, __ATOMIC_RELAXED);
            return &control->functions[i];
        }
    return NULL;
}

static fake_function_t *new_function_slot(fake_control_t *control, const char *name) {
    while (__atomic_test_and_set(&control->function_lock, __ATOMIC_ACQUIRE)) sleep_seconds(1e-5);
    fake_function_t *slot = function_slot(control, name);
    if (!slot && control->function_count < FAKE_MAX_FUNCTIONS) {
        slot = &control->functions[control->function_count];
        strncpy(slot->name, name, sizeof slot->name - 1);
        __atomic_add_fetch(&control->function_count, 1, __ATOMIC_RELEASE);
    }
    __atomic_clear(&control->function_lock, __ATOMIC_RELEASE);
    return slot;
}

static void count_call(fake_control_t *control, const char *name, int gpu) {
    fake_function_t *slot = function_slot(control, name);
    if (!slot) slot = new_function_slot(control, name);
    if (!slot) return;
    int column = gpu >= 0 && gpu < FAKE_MAX_GPUS ? gpu : FAKE_NO_GPU;
    __atomic_add_fetch(&slot->calls[column], 1, __ATOMIC_RELAXED);
}

static int concerns(const fake_fault_t *fault, const char *function, int gpu) {
    if (!__atomic_load_n(&fault->active, __ATOMIC_ACQUIRE)) return 0;
    if (fault->gpu != FAKE_ANY_GPU && fault->gpu != gpu) return 0;
    if (strcmp(fault->function, "*") == 0) return fault->gpu != FAKE_ANY_GPU && !strchr(function, ':');
    return strcmp(fault->function, function) == 0;
}

static int spend(fake_fault_t *fault) {
    if (fault->remaining < 0) return 1;
    if (fault->remaining == 0) return 0;
    return __atomic_sub_fetch(&fault->remaining, 1, __ATOMIC_SEQ_CST) >= 0;
}

static void hang(fake_fault_t *fault) {
    __atomic_add_fetch(&fault->hanging, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&fault->active, __ATOMIC_ACQUIRE) && fault->hang) sleep_seconds(0.001);
    __atomic_sub_fetch(&fault->hanging, 1, __ATOMIC_SEQ_CST);
}

static nvmlReturn_t suffer(fake_control_t *control, const char *function, int gpu) {
    uint32_t count = __atomic_load_n(&control->fault_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        fake_fault_t *fault = &control->faults[i];
        if (!concerns(fault, function, gpu) || !spend(fault)) continue;
        if (fault->latency_seconds > 0) sleep_seconds(fault->latency_seconds);
        if (fault->hang) hang(fault);
        if (fault->code != NVML_SUCCESS) return (nvmlReturn_t)fault->code;
    }
    return NVML_SUCCESS;
}

nvmlReturn_t fake_count_and_suffer(const char *function, int gpu) {
    fake_control_t *control = fake_control();
    if (!control) return NVML_ERROR_DRIVER_NOT_LOADED;
    count_call(control, function, gpu);
    return suffer(control, function, gpu);
}

static int is_started(void) {
    return __atomic_load_n(&started_generation, __ATOMIC_SEQ_CST) == fake_control()->generation;
}

nvmlReturn_t fake_enter(const char *function, int gpu) {
    nvmlReturn_t code = fake_count_and_suffer(function, gpu);
    if (code != NVML_SUCCESS) return code;
    return is_started() ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

/* A handle says its generation, its GPU, and for a MIG instance its slot (from 1) and that slot's life: one
 * from before a driver reload, or of an instance that was destroyed, is refused. */
static nvmlDevice_t handle_of(int gpu, int slot, uint32_t life) {
    uintptr_t driver = (uintptr_t)fake_control()->generation << 40, instance = (uintptr_t)(life & 0xffff) << 16;
    return (nvmlDevice_t)(driver | instance | (uintptr_t)(gpu + 1) << 4 | (uintptr_t)slot);
}

nvmlDevice_t fake_handle(int gpu) { return handle_of(gpu, 0, 0); }

nvmlDevice_t fake_mig_handle(int gpu, int slot) {
    return handle_of(gpu, slot + 1, fake_control()->gpus[gpu].mig[slot].life);
}

int fake_index(nvmlDevice_t device) { return (int)((uintptr_t)device >> 4 & 0xfff) - 1; }

static int slot_of(nvmlDevice_t device) { return (int)((uintptr_t)device & 0xf) - 1; }

nvmlReturn_t fake_enter_any(const char *function, nvmlDevice_t device, fake_gpu_t **gpu, fake_mig_t **mig) {
    int index = fake_index(device), slot = slot_of(device);
    nvmlReturn_t code = fake_enter(function, index);
    if (code != NVML_SUCCESS) return code;
    fake_control_t *control = fake_control();
    if (index < 0 || (uint32_t)index >= control->gpu_count || slot >= FAKE_MAX_MIGS) return NVML_ERROR_INVALID_ARGUMENT;
    *gpu = &control->gpus[index];
    *mig = slot < 0 ? NULL : &(*gpu)->mig[slot];
    if (*mig && (!(*gpu)->mig_enabled || !(*mig)->exists)) return NVML_ERROR_INVALID_ARGUMENT;
    return device == (*mig ? fake_mig_handle(index, slot) : fake_handle(index)) ? NVML_SUCCESS
                                                                               : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t fake_enter_device(const char *function, nvmlDevice_t device, fake_gpu_t **gpu) {
    fake_mig_t *mig;
    nvmlReturn_t code = fake_enter_any(function, device, gpu, &mig);
    return code == NVML_SUCCESS && mig ? NVML_ERROR_NOT_SUPPORTED : code;
}

int fake_driver_at_least(int major, int minor) {
    int has_major = 0, has_minor = 0;
    sscanf(fake_control()->driver_version, "%d.%d", &has_major, &has_minor);
    return has_major > major || (has_major == major && has_minor >= minor);
}

nvmlReturn_t fake_start(void) {
    nvmlReturn_t code = fake_count_and_suffer("nvmlInitWithFlags", FAKE_NO_GPU);
    if (code != NVML_SUCCESS) return code;
    if (!is_started()) __atomic_store_n(&start_count, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&started_generation, fake_control()->generation, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&start_count, 1, __ATOMIC_SEQ_CST);
    return NVML_SUCCESS;
}

nvmlReturn_t fake_stop(void) {
    nvmlReturn_t code = fake_enter("nvmlShutdown", FAKE_NO_GPU);
    if (code != NVML_SUCCESS) return code;
    if (__atomic_sub_fetch(&start_count, 1, __ATOMIC_SEQ_CST) <= 0)
        __atomic_store_n(&started_generation, 0, __ATOMIC_SEQ_CST);
    return NVML_SUCCESS;
}
