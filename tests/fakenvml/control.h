/*
 * The shared control block of the fake driver: one file, mapped by the tests that write it and by every
 * process that loads the fake library. tests/fakenvml/layout.py mirrors it field by field.
 *
 * Units are in the names. Driver time starts at 0 when the driver was first loaded.
 */
#ifndef FAKENVML_CONTROL_H
#define FAKENVML_CONTROL_H

#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#include <stdint.h>

#define FAKE_MAGIC 0x50574e31
#define FAKE_MAX_GPUS 128
#define FAKE_MAX_SEGMENTS 1024
#define FAKE_MAX_FAULTS 64
#define FAKE_MAX_FUNCTIONS 512
#define FAKE_MAX_PROCESSES 8
#define FAKE_MAX_EVENTS 1024
#define FAKE_MAX_FIELDS 320
#define FAKE_MAX_FANS 4
#define FAKE_MAX_MIGS 7
#define FAKE_SRAM_COUNTS 11
#define FAKE_REMAP_BANKS 5
#define FAKE_GPM_METRICS 64 /* the rates; cumulative ones follow from them */
#define FAKE_ANY_GPU (-1)
#define FAKE_NO_GPU FAKE_MAX_GPUS /* where calls that concern no GPU are counted */

typedef enum { FAKE_CONSTANT, FAKE_SQUARE, FAKE_RAMP, FAKE_SINE } fake_kind_t;

/* A waveform from start_seconds until the next segment starts; parameters by kind, see physics.c. */
typedef struct {
    double start_seconds;
    double parameters[5];
    int64_t kind;
} fake_segment_t;

/* One MIG slot of a GPU. `life` counts the instances that it held, so that handles of the dead are refused. */
typedef struct {
    char uuid[80];
    char profile[32];
    uint32_t exists;
    uint32_t life;
    uint32_t gpu_instance;
    uint32_t compute_instance;
    uint32_t gpu_slices;
    uint32_t compute_slices;
    uint32_t multiprocessors;
    uint32_t gpm_percent; /* every GPM ratio of this instance */
    uint64_t memory_total_bytes;
    uint64_t memory_reserved_bytes;
    uint64_t memory_used_bytes;
} fake_mig_t;

typedef struct {
    char name[96];
    char uuid[80];
    char serial[32];
    char vbios[32];
    char pci_bus_id[32];
    uint32_t architecture;
    uint32_t compute_major;
    uint32_t compute_minor;
    uint32_t pci_bus;
    /* What the sensor sees: a mean over each window, taken at every refresh; 0 is "not supported". */
    double refresh_seconds;
    double usage_window_seconds;
    double average_window_seconds;
    double instant_window_seconds;
    double module_extra_watts;
    double memory_watts; /* of the memory alone, in a scope of its own; 0 is "not supported" */
    uint32_t has_energy;
    uint32_t has_gpu_scope;
    uint32_t has_module_scope;
    uint32_t has_memory_temperature;
    double limit_watts;
    double limit_default_watts;
    double limit_min_watts;
    double limit_max_watts;
    uint64_t memory_total_bytes;
    uint64_t memory_reserved_bytes;
    uint64_t memory_used_bytes;
    uint32_t utilization_percent;
    uint32_t memory_utilization_percent;
    uint32_t temperature_core_celsius;
    uint32_t temperature_memory_celsius;
    uint32_t clock_mhz[NVML_CLOCK_COUNT];
    uint32_t clock_max_mhz[NVML_CLOCK_COUNT];
    uint32_t nvlink_count;
    uint32_t odd_value_type; /* if not 0: what fields give as the type of their values */
    uint32_t process_count;
    uint32_t process_pid[FAKE_MAX_PROCESSES];
    uint32_t segment_count;
    uint32_t process_sm_percent[FAKE_MAX_PROCESSES]; /* 0 gives no sample */
    uint64_t process_bytes[FAKE_MAX_PROCESSES];
    uint32_t process_slot[FAKE_MAX_PROCESSES]; /* of the MIG instance, from 1; 0 is none */
    uint32_t process_draws[FAKE_MAX_PROCESSES]; /* 1: in the list of graphics processes too; 2: only there */
    uint64_t process_protected_bytes[FAKE_MAX_PROCESSES]; /* only long entries have it */
    int32_t minor_number; /* of its device node; -1 is "not supported" */
    /* The energy counter: zero at energy_zero_seconds, plus an offset, plus a glitch for some reads. */
    double energy_zero_seconds;
    double energy_offset_joules;
    double energy_glitch_joules;
    int64_t energy_glitch_reads;
    fake_segment_t segments[FAKE_MAX_SEGMENTS];
    /* Depth. Plain fields by their id; throttling by 269..271, whatever ids the driver has for it. */
    int64_t field_value[FAKE_MAX_FIELDS];
    uint8_t field_known[FAKE_MAX_FIELDS];
    double gpm_value[FAKE_GPM_METRICS];
    uint64_t event_reasons;
    uint64_t bar1_total_bytes;
    uint64_t bar1_used_bytes;
    uint32_t bar1_maps_memory; /* 1: all used memory is mapped through BAR1, and with MIG all there is */
    uint32_t has_sram;         /* 0 is "not supported" */
    uint64_t sram_count[FAKE_SRAM_COUNTS]; /* in the order of nvmlEccSramErrorStatus_v1_t */
    uint32_t sram_threshold_exceeded;
    uint32_t has_remap_banks;
    uint32_t remap_banks[FAKE_REMAP_BANKS]; /* with maximum, high, partial, low and no availability */
    uint32_t has_gpm;
    uint32_t has_margin;
    int32_t margin_celsius;
    int32_t numa_node; /* negative is none */
    uint32_t threshold_celsius[NVML_TEMPERATURE_THRESHOLD_COUNT]; /* 0 is "not supported" */
    uint32_t performance_state;
    uint32_t pcie_generation;
    uint32_t pcie_generation_max;
    uint32_t pcie_width;
    uint32_t pcie_width_max;
    uint32_t fan_count;
    uint32_t fan_percent[FAKE_MAX_FANS];
    uint32_t encoder_percent;
    uint32_t decoder_percent;
    uint32_t fabric_state;
    uint32_t fabric_health;
    uint32_t compute_mode;
    uint32_t persistence;
    int32_t virtualization_mode; /* negative is "not supported" */
    uint32_t vgpu_count;
    uint32_t mig_capable;
    uint32_t mig_enabled;
    fake_mig_t mig[FAKE_MAX_MIGS];
} fake_gpu_t;

/* What happens to a function ("*" is every function of the GPU, "field:83" one field of a batch). */
typedef struct {
    char function[64];
    int32_t gpu;
    int32_t active;
    int32_t code;
    int32_t remaining; /* calls it still hits; negative is for ever */
    int32_t hang;
    int32_t hanging; /* threads that hang in it now */
    double latency_seconds;
} fake_fault_t;

typedef struct {
    char name[64];
    uint64_t calls[FAKE_MAX_GPUS + 1];
} fake_function_t;

/* Something that a GPU told by itself. */
typedef struct {
    uint64_t xid;
    int64_t gpu;
} fake_event_t;

typedef struct {
    uint32_t magic;
    uint32_t gpu_count;
    uint32_t generation;
    uint32_t manual_time;
    double now_seconds;   /* driver time when manual_time is set */
    double epoch_seconds; /* else driver time is CLOCK_MONOTONIC less this */
    char driver_version[32];
    char nvml_version[32];
    uint32_t cuda_version;
    uint32_t fault_count;
    uint32_t function_count;
    uint32_t function_lock;
    fake_fault_t faults[FAKE_MAX_FAULTS];
    fake_function_t functions[FAKE_MAX_FUNCTIONS];
    fake_gpu_t gpus[FAKE_MAX_GPUS];
    uint32_t news;        /* counted up, and who waits for events is woken, when there may be something to hear */
    uint64_t event_count; /* ever; the newest lie in the ring */
    int64_t event_sets;   /* made and not freed */
    int64_t dead_sets_freed; /* freed though their generation was over, which may crash a real driver */
    fake_event_t events[FAKE_MAX_EVENTS];
    int64_t gpm_samples;       /* made and not freed */
    int64_t dead_samples_freed; /* freed after the library was shut down, which may crash a real driver */
    int64_t mixed_samples;     /* metrics asked of two samples that are not of one instance's life */
    uint32_t process_entry_bytes; /* 24 or 32; 0 is what this version of the driver fills */
} fake_control_t;

/* control.c */
fake_control_t *fake_control(void);
double fake_now(void);
nvmlReturn_t fake_count_and_suffer(const char *function, int gpu);
nvmlReturn_t fake_enter(const char *function, int gpu);
nvmlReturn_t fake_enter_device(const char *function, nvmlDevice_t device, fake_gpu_t **gpu);
nvmlReturn_t fake_enter_any(const char *function, nvmlDevice_t device, fake_gpu_t **gpu, fake_mig_t **mig);
nvmlReturn_t fake_start(void);
nvmlReturn_t fake_stop(void);
nvmlDevice_t fake_mig_handle(int gpu, int slot);
int fake_driver_at_least(int major, int minor);
nvmlDevice_t fake_handle(int gpu);
int fake_index(nvmlDevice_t device);

/* physics.c; windows and instants in seconds of driver time */
double fake_window_watts(const fake_gpu_t *gpu, double window_seconds);
unsigned long long fake_energy_millijoules(fake_gpu_t *gpu, double extra_watts);

/* The first line of every entry point: count the call, suffer what was injected, check the state. */
#define SYSTEM_CALL(gpu_index)                                    \
    do {                                                          \
        nvmlReturn_t entered = fake_enter(__func__, (gpu_index)); \
        if (entered != NVML_SUCCESS) return entered;              \
    } while (0)

#define DEVICE_CALL(device)                                              \
    fake_gpu_t *gpu;                                                     \
    do {                                                                 \
        nvmlReturn_t entered = fake_enter_device(__func__, device, &gpu); \
        if (entered != NVML_SUCCESS) return entered;                     \
    } while (0)

/* As DEVICE_CALL, for entry points that a MIG instance answers too; then `mig` is not NULL. */
#define ANY_DEVICE_CALL(device)                                            \
    fake_gpu_t *gpu;                                                       \
    fake_mig_t *mig;                                                       \
    do {                                                                   \
        nvmlReturn_t entered = fake_enter_any(__func__, device, &gpu, &mig); \
        if (entered != NVML_SUCCESS) return entered;                       \
    } while (0)

#endif
