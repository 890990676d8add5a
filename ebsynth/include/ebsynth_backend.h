/* What the core hands to an accelerated backend, and what it expects back.
 *
 * The CUDA backend is one shared object, libebsynth_cuda.so, which exports ebs_cuda_backend(). The core finds it linked
 * into the program (a weak symbol) or loads it from the folder of the core itself, so that one install serves machines
 * with and without a device. The core checks all arguments; a backend sees only valid tasks.
 *
 * Pixels come as *lanes*: groups of four bytes, [c0 c1 c2 c3], unused channels 0 in source and target alike. All channels
 * of a lane share one integer weight, so that the energy
 *     sum over lanes l, patch pixels p of weight[l] * (source[l, p] - target[l, p])^2       (int64, exact)
 * is the same number on every device. Multiply by `energy_scale` for the energy in the caller's units.
 */
#ifndef EBSYNTH_BACKEND_H
#define EBSYNTH_BACKEND_H

#include "ebsynth.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EBS_BACKEND_VERSION 1
#define EBS_MAX_LANES 32
#define EBS_MAX_LEVELS 16

/* How a level is searched: `rounds` times (vote the style; `sweeps` propagation sweeps with random search). */
typedef struct ebs_level_plan {
    int32_t rounds, sweeps;
    int32_t random_candidates; /* a pixel and sweep */
    int32_t random_radius;     /* of the first one, pixels of the level; a quarter for each further one */
} ebs_level_plan;

/* All that the pairs of one call share. */
typedef struct ebs_plan {
    int32_t preset, start, patch_size, levels, extra_pass_3x3, vote_mode, stop_threshold;
    ebs_level_plan level[EBS_MAX_LEVELS]; /* [0] is the finest */
    int32_t sweeps_fixed; /* 1: make all sweeps; 0: those that no longer help may be left out, as the CPU does */
    int32_t source_border; /* no patch is centred nearer than this to the source's edge (0: borders are replicated) */
    uint32_t seed;
    int32_t guide_lanes, style_lanes, style_channels;
    int32_t lane_weight[EBS_MAX_LANES]; /* guides first, then style */
    double energy_scale;
    double uniformity; /* in the caller's units; 0: no occupancy term */
} ebs_plan;

/* One pair: host pointers, dense, level 0 only (halve by (a + b + c + d + 2) >> 2, sizes by floor). */
typedef struct ebs_task {
    int32_t height, width, source_height, source_width; /* the first two are the target's */
    const uint8_t* source_guides; /* source_height x source_width x guide_lanes x 4 */
    const uint8_t* target_guides; /* height x width x guide_lanes x 4 */
    const uint8_t* style;         /* source_height x source_width x style_lanes x 4, or NULL */
    const int16_t* init_nnf_yx;   /* or NULL */
    const uint8_t* source_mask;   /* source_height x source_width, 0 where no patch is centred, or NULL */
    const uint8_t* target_mask;   /* height x width, 0 where the start is kept, or NULL */
    const uint8_t* modulation;    /* height x width x guide_lanes rounded up to fours: v / 255 scales the lane, or NULL */
    ebs_result result;
} ebs_task;

typedef struct ebs_backend {
    uint32_t version; /* EBS_BACKEND_VERSION */
    /* Number of usable devices. If 0, one line in message says why. */
    int32_t (*device_count)(char* message, size_t message_size);
    /* Runs all tasks. On failure writes one line into message. The sizes of tasks may differ. */
    ebs_status (*estimate)(const ebs_task* tasks, int32_t count, const ebs_plan* plan,
                           int (*progress)(void* user, const ebs_progress* state), void* progress_user, char* message,
                           size_t message_size);
} ebs_backend;

EBS_EXPORT const ebs_backend* ebs_cuda_backend(void);

#ifdef __cplusplus
}
#endif
#endif
