/* Power as a function of time, its exact integral, and what sensors and the energy counter show of it. */
#include "control.h"

#include <math.h>

/* Instants that fall on a refresh must not slip below it by rounding. */
#define GRID_TOLERANCE 1e-9

static double on_seconds(double elapsed, double period, double duty) {
    double periods = floor(elapsed / period);
    return periods * period * duty + fmin(elapsed - periods * period, period * duty);
}

/* Joules of one segment from its start until `elapsed` seconds later. */
static double segment_joules(const fake_segment_t *segment, double elapsed) {
    const double *p = segment->parameters;
    switch (segment->kind) {
    case FAKE_SQUARE: /* low, high, period, duty, phase */
        return p[0] * elapsed +
               (p[1] - p[0]) * (on_seconds(elapsed + p[4], p[2], p[3]) - on_seconds(p[4], p[2], p[3]));
    case FAKE_RAMP: { /* first, last, duration; holds the last */
        double rising = fmin(elapsed, p[2]);
        return p[0] * rising + (p[1] - p[0]) * rising * rising / (2 * p[2]) + p[1] * (elapsed - rising);
    }
    case FAKE_SINE: { /* mean, amplitude, period, phase */
        double speed = 2 * M_PI / p[2];
        return p[0] * elapsed + p[1] / speed * (cos(speed * p[3]) - cos(speed * (elapsed + p[3])));
    }
    default: /* level */
        return p[0] * elapsed;
    }
}

static double joules_until(const fake_gpu_t *gpu, double instant) {
    double joules = 0;
    for (uint32_t i = 0; i < gpu->segment_count; i++) {
        double start = gpu->segments[i].start_seconds;
        if (instant <= start) break;
        double end = i + 1 < gpu->segment_count ? fmin(instant, gpu->segments[i + 1].start_seconds) : instant;
        joules += segment_joules(&gpu->segments[i], end - start);
    }
    return joules;
}

static double last_refresh(const fake_gpu_t *gpu, double instant) {
    return floor(instant / gpu->refresh_seconds + GRID_TOLERANCE) * gpu->refresh_seconds;
}

/* The mean over the window that ends at the last refresh, or over what there is of it since time 0. */
double fake_window_watts(const fake_gpu_t *gpu, double window_seconds) {
    double end = fmax(last_refresh(gpu, fake_now()), gpu->refresh_seconds);
    double start = fmax(end - window_seconds, 0);
    return (joules_until(gpu, end) - joules_until(gpu, start)) / (end - start);
}

static double glitch_joules(fake_gpu_t *gpu) {
    if (gpu->energy_glitch_reads <= 0) return 0;
    return __atomic_sub_fetch(&gpu->energy_glitch_reads, 1, __ATOMIC_SEQ_CST) >= 0 ? gpu->energy_glitch_joules : 0;
}

/* The counter as it stood at the last refresh; extra_watts is what a wider scope adds. */
unsigned long long fake_energy_millijoules(fake_gpu_t *gpu, double extra_watts) {
    double zero = gpu->energy_zero_seconds;
    double end = fmax(last_refresh(gpu, fake_now()), zero);
    double counted = joules_until(gpu, end) - joules_until(gpu, zero) + extra_watts * (end - zero);
    double joules = fmax(counted + gpu->energy_offset_joules + glitch_joules(gpu), 0);
    return joules * 1000 < (double)UINT64_MAX ? (unsigned long long)(joules * 1000 + 0.5) : UINT64_MAX;
}
