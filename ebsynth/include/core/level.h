// One level of the pyramid of one pair: all that the sweeps read and write.
#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "../ebsynth_backend.h"
#include "lanes.h"
#include "mask.h"
#include "occupancy.h"
#include "score.h"
#include "tables.h"
#include "vote.h"

namespace ebs {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

// Scales of the guides' weights for every target pixel, one byte a lane, padded as the target is.
struct Modulation {
    std::vector<uint8_t> scale;  // empty: none
    bool any() const { return !scale.empty(); }
};

struct Level {
    Field source, target;
    PatchGeometry geometry;
    DotKernels kernels{};
    AccumulateFn accumulate = nullptr;
    PatchSums source_sums, guide_sums, target_sums;  // target_sums: guides and the style as last voted
    int guide_lanes = 0, style_lanes = 0, style_channels = 0, border = 0;
    const int32_t* lane_weights = nullptr;
    bool bounded = false;

    std::vector<Ballot> ballots;  // the style in groups of three channels; empty without style
    Mask source_mask, target_mask;
    Modulation modulation;

    std::vector<Point> nnf;
    std::vector<int64_t> energy;    // of each pixel's correspondence when it was last looked at
    bool energy_is_current = false; // no vote since
    Mask awake;                     // patches whose style moved in the last vote; empty: all
    Occupancy occupancy;
    float occupancy_price = 0;      // integer energy for each unit of overlap; 0: no occupancy term

    Size size() const { return target.size; }
    bool has_style() const { return style_lanes > 0; }

    bool allows(Point n) const {
        return source_mask.empty() || source_mask[size_t(n.y) * source.size.width + n.x];
    }

    // Exact energies of guides and style.
    void energies(int y, int x, const Point* candidates, int count, int64_t* out) const {
        if (modulation.any()) return modulated_energies(y, x, candidates, count, out);
        const uint8_t* patches[kMaxCandidates];
        for (int i = 0; i < count; ++i) patches[i] = source.patch(candidates[i].y, candidates[i].x);
        kernels.all(geometry, target.patch(y, x), patches, count, out);
        const int64_t constant = target_sums.all[size_t(y) * target.size.width + x];
        for (int i = 0; i < count; ++i) out[i] = constant + source_sum(candidates[i]) - 2 * out[i];
    }

    int64_t source_sum(Point n) const { return source_sums.all[size_t(n.y) * source.size.width + n.x]; }

    static constexpr int kMaxCandidates = 16;

private:
    void modulated_energies(int y, int x, const Point* candidates, int count, int64_t* out) const {
        const int patch = geometry.patch, lanes = geometry.lanes;
        const int pitch = target.size.width + 2 * target.pad;
        for (int i = 0; i < count; ++i) {
            int64_t total = 0;
            for (int row = 0; row < patch; ++row) {
                const uint8_t* a = target.patch(y, x) + row * target.pitch;
                const uint8_t* b = source.patch(candidates[i].y, candidates[i].x) + row * source.pitch;
                const uint8_t* scale = &modulation.scale[(size_t(y + row) * pitch + x) * lanes];
                for (int k = 0; k < patch * lanes; ++k) {
                    int32_t sum = 0;
                    for (int c = 4 * k; c < 4 * k + 4; ++c) {
                        const int difference = (a[c] ^ target.flip) - b[c];
                        sum += difference * difference;
                    }
                    total += int64_t(geometry.weights[k % lanes]) * sum * scale[k];
                }
            }
            out[i] = total / 255;
        }
    }
};

// Paints the target's style lanes with the mean vote and makes the sums that depend on it. With a threshold of 0 or more,
// only patches in which some colour moved by more stay awake.
inline void vote_style(Level& level, int stop_threshold, Pool& pool) {
    const Size size = level.size();
    const bool watch = stop_threshold >= 0 && level.energy_is_current;
    Mask moved(watch ? size.pixels() : 0);
    for (size_t group = 0; group < level.ballots.size(); ++group) {
        const int first = int(group) * kVoteChannels, channels = std::min(kVoteChannels, level.style_channels - first);
        for_vote_bands(pool, size.height, [&](int begin, int end) {
            vote_rows(level.ballots[group], level.nnf.data(), size, begin, end, nullptr, level.accumulate,
                      [&](int y, const uint8_t* means) {
                          uint8_t* to = level.target.pixel(y, 0) + 4 * level.guide_lanes + first;
                          for (int x = 0; x < size.width; ++x, to += level.target.pixel_bytes(), means += 4) {
                              int most = 0;
                              for (int c = 0; c < channels; ++c) {
                                  const uint8_t mean = means[c] ^ level.target.flip;
                                  most = std::max(most, std::abs(int(int8_t(mean)) - int(int8_t(to[c]))));
                                  to[c] = mean;
                              }
                              if (watch) moved[size_t(y) * size.width + x] |= most > stop_threshold;
                          }
                      });
        });
    }
    // Channels that fill no lane count as 0 in the sums.
    level.target.replicate(level.guide_lanes);
    level.target_sums = level.guide_sums;
    add_patch_sums(level.target, level.guide_lanes, level.target.lanes, level.lane_weights, level.bounded, pool,
                   level.target_sums);
    level.awake.clear();
    if (watch) level.awake = dilate(moved, size, level.target.pad);
    level.energy_is_current = false;
}

}  // namespace ebs
