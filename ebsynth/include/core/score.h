// Weighted dot products of patches: the inner loop of the search.
//
// With a the target's byte, a' = a - 128 as it is stored, and b the source's byte, the energy of two patches is
//     sum w (a - b)^2 = sum w a^2 + sum w (b^2 - 256 b) - 2 sum w a' b
// where the first sum depends on the target pixel alone and the second on the source pixel alone: both lie in tables
// (tables.h), and a candidate costs the third. All of it is integer arithmetic, so that every instruction set finds the
// same numbers: a 32-bit sum holds at most 33 * 33 * 4 * 255 * 128 = 1.5e8.
#pragma once

#include "isa.h"
#include "types.h"

namespace ebs {

// A few evenly spread rows give a lower bound of the energy; the others complete it.
enum class Rows { all, sampled, others };
constexpr int kSampledRowStep = 5;

inline bool is_row_of(Rows rows, int row) {
    return rows == Rows::all || (row % kSampledRowStep == 0) == (rows == Rows::sampled);
}

struct PatchGeometry {
    int patch = 0, lanes = 0;
    ptrdiff_t source_pitch = 0, target_pitch = 0;
    // The weight of every 32-bit sum of a patch's row, and zeros up to a whole vector.
    alignas(64) int32_t weights[EBS_MAX_PATCH * 32 + 16] = {};

    PatchGeometry() = default;
    PatchGeometry(int patch, int lanes, const int32_t* lane_weights, ptrdiff_t source_pitch, ptrdiff_t target_pitch)
        : patch(patch), lanes(lanes), source_pitch(source_pitch), target_pitch(target_pitch) {
        for (int i = 0; i < patch * lanes; ++i) weights[i] = lane_weights[i % lanes];
        // Lanes that repeat within a vector are folded before they are weighed, whatever the length of the row.
        if (lanes <= 4 && lanes != 3)
            for (int i = 0; i < 4; ++i) weights[i] = lane_weights[i % lanes];
    }
};

// dots[i] = sum w a' b of one target patch with each of `count` source patches.
using DotFn = void (*)(const PatchGeometry&, const uint8_t* target, const uint8_t* const* sources, int count,
                       int64_t* dots);

struct DotKernels {
    DotFn all, sampled, others;
};

template <Rows R>
void portable_dots(const PatchGeometry& g, const uint8_t* target, const uint8_t* const* sources, int count,
                   int64_t* dots) {
    const int sums = g.patch * g.lanes;
    for (int i = 0; i < count; ++i) {
        int64_t total = 0;
        for (int lane = 0; lane < g.lanes; ++lane) {
            int32_t sum = 0;
            for (int row = 0; row < g.patch; ++row) {
                if (!is_row_of(R, row)) continue;
                const uint8_t* b = sources[i] + row * g.source_pitch + 4 * lane;
                const uint8_t* a = target + row * g.target_pitch + 4 * lane;
                for (int k = 0; k < 4 * sums; k += 4 * g.lanes)
                    for (int c = 0; c < 4; ++c) sum += int32_t(b[k + c]) * int8_t(a[k + c]);
            }
            total += int64_t(g.weights[lane]) * sum;
        }
        dots[i] = total;
    }
}

inline DotKernels portable_kernels() {
    return {portable_dots<Rows::all>, portable_dots<Rows::sampled>, portable_dots<Rows::others>};
}

}  // namespace ebs

#include "score_x86.h"

namespace ebs {

inline DotKernels choose_kernels(Isa isa, int patch, int lanes) {
#if EBS_X86
    switch (isa) {
        // Short rows waste most of a 64-byte vector.
        case Isa::avx512:
            return 4 * patch * lanes <= 32 ? avx512half::kernels(patch, lanes) : avx512::kernels(patch, lanes);
        case Isa::avxvnni: return avxvnni::kernels(patch, lanes);
        case Isa::avx2: return avx2::kernels(patch, lanes);
        case Isa::portable: break;
    }
#endif
    (void)isa, (void)patch, (void)lanes;
    return portable_kernels();
}

}  // namespace ebs
