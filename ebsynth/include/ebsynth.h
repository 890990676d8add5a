/* The C interface of the engine: guided patch matching and voting.
 *
 * Vocabulary: for every pixel of a *target* frame the nearest-neighbour field (NNF) names a pixel of a *source* frame,
 * so that the patches around both look alike in all *guides*. *Voting* paints the target from an image that lies over the
 * source (the *style*): every target pixel is the mean of what the overlapping patches bring there.
 *
 * Energy of a correspondence, as in the published Ebsynth: the sum over the patch of weight * difference^2 of all guide
 * channels (source against target) and all style channels (source against the voted target), plus `uniformity` times how
 * much more often than its share the source patch is used. A guide's weight is spread evenly over its channels.
 *
 * Results depend on the arguments and the seed alone: neither the number of threads, nor the batch, nor the instruction
 * set changes a byte. All functions may be called from several threads at once; a frame is immutable once created.
 */
#ifndef EBSYNTH_H
#define EBSYNTH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define EBS_EXPORT
#else
#define EBS_EXPORT __attribute__((visibility("default")))
#endif

/* Grows with every change that an older caller would notice. */
#define EBS_API_VERSION 1

#define EBS_MAX_PATCH 33
#define EBS_MAX_SIDE 32767
#define EBS_MAX_STYLE_CHANNELS 8
#define EBS_MAX_GUIDE_CHANNELS 24

typedef enum ebs_status {
    EBS_OK = 0,
    EBS_BAD_ARGUMENT = 1,  /* the caller's to mend; ebs_last_error() says how */
    EBS_UNAVAILABLE = 2,   /* an instruction set or device that this machine or build lacks */
    EBS_OUT_OF_MEMORY = 3,
    EBS_CANCELLED = 4,     /* the progress callback asked for it; results are undefined */
    EBS_DEVICE_ERROR = 5,  /* what the device reported */
    EBS_INTERNAL = 6
} ebs_status;

typedef enum ebs_preset {
    EBS_GENERIC = 0, /* any pair of images: random start, sources inside the border, uniformity */
    EBS_VIDEO = 1    /* two frames of one clip: identity start, replicated borders, small adaptive search */
} ebs_preset;

/* AUTO: the device where there is one, the CPU where there is none or its memory is full. */
typedef enum ebs_backend_choice { EBS_BACKEND_AUTO = 0, EBS_BACKEND_CPU = 1, EBS_BACKEND_CUDA = 2 } ebs_backend_choice;

typedef enum ebs_start {
    EBS_START_PRESET = 0, /* random for EBS_GENERIC, identity for EBS_VIDEO */
    EBS_START_RANDOM = 1,
    EBS_START_IDENTITY = 2
} ebs_start;

typedef enum ebs_vote_mode {
    EBS_VOTE_MEAN = 0,
    EBS_VOTE_ERROR = 1 /* patches that match badly count for less */
} ebs_vote_mode;

/* A view of 8-bit interleaved pixels; nothing is copied or owned. A stride of 0 means dense. data == NULL: no image. */
typedef struct ebs_image {
    const uint8_t* data;
    int32_t height, width, channels;
    ptrdiff_t row_stride;   /* bytes from one row to the next */
    ptrdiff_t pixel_stride; /* bytes from one pixel to the next; its channels lie side by side */
} ebs_image;

/* The guide images of one frame with their pyramid: built once, then source or target of any number of pairs. */
typedef struct ebs_frame ebs_frame;

/* Copies `count` guide images of one size. At most EBS_MAX_GUIDE_CHANNELS channels in all. */
EBS_EXPORT ebs_status ebs_frame_create(const ebs_image* guides, int32_t count, ebs_frame** frame);
EBS_EXPORT void ebs_frame_free(ebs_frame* frame);
/* Any of the out pointers may be NULL. */
EBS_EXPORT void ebs_frame_size(const ebs_frame* frame, int32_t* height, int32_t* width, int32_t* guides,
                               int32_t* channels);

/* Where the search stands. The energy (the sum over all target pixels after a sweep, without the uniformity term) comes
 * only with `trace`; it is NaN otherwise. Pairs of a batch report in any order, never two at once. */
typedef struct ebs_progress {
    double fraction; /* of the whole call, 0 to 1 */
    int32_t pair, level, round, sweep; /* level 0 is the finest; round and sweep count from 0 */
    double energy;
} ebs_progress;

/* Set by ebs_options_init; change what you need. */
typedef struct ebs_options {
    uint32_t struct_size; /* sizeof(ebs_options) of the caller's header */
    int32_t preset;       /* ebs_preset */
    int32_t backend;      /* ebs_backend_choice */
    int32_t start;        /* ebs_start, for pairs without init_nnf_yx */
    int32_t patch_size;   /* odd, 3 to EBS_MAX_PATCH */
    int32_t pyramid_levels;    /* 0: as many as leave the smaller side >= 2 * patch_size + 1; more are cut to that */
    int32_t search_vote_iters; /* rounds of search and vote a level; 0: the preset's schedule */
    int32_t patch_match_iters; /* sweeps a round; 0: the preset's schedule */
    int32_t stop_threshold;    /* a patch whose voted colours moved by no more rests for a round; < 0: never rest */
    int32_t extra_pass_3x3;    /* 1: a last pass with patch size 3 and no uniformity */
    int32_t vote_mode;         /* ebs_vote_mode of the voted result */
    int32_t threads;           /* 0: all cores this process may use */
    uint32_t seed;
    float uniformity; /* 3500 for EBS_GENERIC, 0 for EBS_VIDEO, which also drops one that the guides outweigh:
                         weight * patch_size^2 * 9 > uniformity */
    float style_weight;
    const float* guide_weights; /* one for each guide image of the frames; NULL: 1 / count for each */
    int32_t guide_weight_count;
    int32_t disable_bound; /* 1: never reject a candidate by a partial sum (same result, slower; for tests) */
    int32_t trace;         /* 1: report energies */
    int (*progress)(void* user, const ebs_progress* state); /* NULL, or called now and then; not 0 cancels */
    void* progress_user;
} ebs_options;

/* Defaults: patch 5, all levels, style weight 1, stop threshold 5; what 0 leaves to the preset is 0. */
EBS_EXPORT ebs_status ebs_options_init(ebs_options* options, int32_t preset);

/* One search. Source and target may differ in size, not in the number and channels of their guides. */
typedef struct ebs_pair {
    const ebs_frame* source;
    const ebs_frame* target;
    ebs_image style;             /* the source's size; no image: match by the guides alone */
    const int16_t* init_nnf_yx;  /* target height x width x (row, column), dense; NULL: options.start */
    ebs_image source_mask;       /* 1 channel: where 0, no patch is centred; no image: everywhere allowed */
    ebs_image target_mask;       /* 1 channel: where 0, the start is kept; no image: search everywhere */
    const ebs_image* modulation; /* one for each guide, 1 channel, the target's size: scales the guide's weight by v / 255
                                    there (an empty image: 1); NULL: none */
} ebs_pair;

/* The caller's buffers, dense; a NULL one is not filled. */
typedef struct ebs_result {
    int16_t* nnf_yx;  /* target height x width x (row, column) into the source */
    float* error;     /* target height x width: energy of guides and style, without uniformity */
    uint8_t* voted;   /* target height x width x style channels */
} ebs_result;

EBS_EXPORT ebs_status ebs_estimate(const ebs_pair* pairs, const ebs_result* results, int32_t count,
                                   const ebs_options* options);

/* Paints a target of height x width x image.channels from `image`, which lies over the source. `error` (height x width,
 * from ebs_estimate) makes it error-weighted; NULL: the mean. Channels: 1 to EBS_MAX_STYLE_CHANNELS. */
EBS_EXPORT ebs_status ebs_vote(const int16_t* nnf_yx, int32_t height, int32_t width, const ebs_image* image,
                               int32_t patch_size, const float* error, int32_t threads, uint8_t* voted);

/* What the last failed call of this thread had to say: one line, never NULL. */
EBS_EXPORT const char* ebs_last_error(void);

EBS_EXPORT int32_t ebs_api_version(void);
/* "avx512", "avxvnni", "avx2" or "portable": what a search will use, after EBSYNTH_ISA. NULL (and an error) if that names
 * one which is unknown or which this machine lacks. */
EBS_EXPORT const char* ebs_isa(void);
/* 1 if the CUDA backend is built in or found, and sees a device. */
EBS_EXPORT int32_t ebs_cuda_available(void);

#ifdef __cplusplus
}
#endif
#endif
