// Sums over patches of what depends on one image alone; see score.h.
#pragma once

#include <vector>

#include "lanes.h"
#include "score.h"

namespace ebs {

// For every pixel, the sum over its patch and over its patch's sampled rows.
struct PatchSums {
    std::vector<int64_t> all, sampled;
};

namespace detail {

// Each pixel's weighted term of one padded row: w a^2 for the target, w (b^2 - 256 b) for the source.
inline void terms_of_row(const Field& field, int padded_row, int first_lane, int last_lane, const int32_t* weights,
                         int64_t* out) {
    const int width = field.size.width + 2 * field.pad, step = field.pixel_bytes();
    const int linear = field.flip ? 0 : 256;
    for (int lane = first_lane; lane < last_lane; ++lane) {
        const uint8_t* p = &field.bytes[size_t(padded_row) * field.pitch + 4 * lane];
        const int64_t weight = weights[lane];
        for (int x = 0; x < width; ++x, p += step) {
            int32_t sum = 0;
            for (int c = 0; c < 4; ++c) {
                const int v = p[c] ^ field.flip;
                sum += v * (v - linear);
            }
            out[x] = weight * sum + (lane == first_lane ? 0 : out[x]);
        }
    }
}

}  // namespace detail

// Adds the lanes' terms to `sums`, whose tables are made if they are empty.
// A target's unused channel holds 0 ^ 0x80 and so counts as 0, like the source's.
inline void add_patch_sums(const Field& field, int first_lane, int last_lane, const int32_t* weights, bool sampled,
                           Pool& pool, PatchSums& sums) {
    const int width = field.size.width, height = field.size.height, patch = 2 * field.pad + 1;
    sums.all.resize(field.size.pixels());
    if (sampled) sums.sampled.resize(field.size.pixels());
    if (first_lane == last_lane) return;
    std::vector<int64_t> rows(size_t(height + 2 * field.pad) * width);
    for_rows(pool, height + 2 * field.pad, [&](int begin, int end) {
        std::vector<int64_t> terms(width + 2 * field.pad);
        for (int y = begin; y < end; ++y) {
            detail::terms_of_row(field, y, first_lane, last_lane, weights, terms.data());
            int64_t sum = 0, *to = &rows[size_t(y) * width];
            for (int x = 0; x < patch - 1; ++x) sum += terms[x];
            for (int x = 0; x < width; ++x) {
                sum += terms[x + patch - 1];
                to[x] = sum;
                sum -= terms[x];
            }
        }
    });
    for_rows(pool, height, [&](int begin, int end) {
        std::vector<int64_t> column(width);
        for (int y = begin; y < end; ++y) {
            // The window slides down: add the row that enters, drop the one that left.
            for (int row = y == begin ? 0 : patch - 1; row < patch; ++row) {
                const int64_t* in = &rows[size_t(y + row) * width];
                for (int x = 0; x < width; ++x) column[x] += in[x];
            }
            if (y > begin) {
                const int64_t* left = &rows[size_t(y - 1) * width];
                for (int x = 0; x < width; ++x) column[x] -= left[x];
            }
            int64_t* to = &sums.all[size_t(y) * width];
            for (int x = 0; x < width; ++x) to[x] += column[x];
            if (!sampled) continue;
            to = &sums.sampled[size_t(y) * width];
            for (int row = 0; row < patch; row += kSampledRowStep) {
                const int64_t* in = &rows[size_t(y + row) * width];
                for (int x = 0; x < width; ++x) to[x] += in[x];
            }
        }
    });
}

}  // namespace ebs
