// From the caller's options to numbers: checked, resolved, the same for every pair of a call and every backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "../ebsynth_backend.h"
#include "lanes.h"

// The guide images of one frame.
struct ebs_frame {
    std::vector<int> channels;  // of each guide
    ebs::Pyramid levels;
};

namespace ebs {

// A pyramid is built down to what the smallest patch can use.
constexpr int kSmallestSide = 7;

inline void require(bool condition, const std::string& text) {
    if (!condition) throw Failure(EBS_BAD_ARGUMENT, text);
}

inline std::string text_of(Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

inline void check_options(const ebs_options& o) {
    const auto number = [](double v) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", v);
        return std::string(text);
    };
    require(o.struct_size == sizeof(ebs_options), "the caller was built for another version of ebsynth.h; rebuild it.");
    require(o.preset == EBS_GENERIC || o.preset == EBS_VIDEO, "the preset is neither generic nor video.");
    require(o.patch_size % 2 == 1 && o.patch_size >= 3 && o.patch_size <= EBS_MAX_PATCH,
            "the patch size is " + std::to_string(o.patch_size) + "; allowed are odd numbers from 3 to 33.");
    require(o.pyramid_levels >= 0, "the number of pyramid levels is negative.");
    require(o.search_vote_iters >= 0 && o.search_vote_iters <= 1000, "search-vote iterations: 0 (preset) to 1000.");
    require(o.patch_match_iters >= 0 && o.patch_match_iters <= 1000, "patch-match iterations: 0 (preset) to 1000.");
    require(o.threads >= 0 && o.threads <= 4096, "the number of threads is " + std::to_string(o.threads) +
                                                     "; allowed are 0 (all cores) to 4096.");
    require(std::isfinite(o.uniformity) && o.uniformity >= 0,
            "the uniformity is " + number(o.uniformity) + "; it must be 0 or more.");
    require(std::isfinite(o.style_weight) && o.style_weight >= 0,
            "the style's weight is " + number(o.style_weight) + "; it must be 0 or more.");
    require(o.guide_weights || o.guide_weight_count == 0, "guide weights are counted but not given.");
    for (int i = 0; i < o.guide_weight_count; ++i)
        require(std::isfinite(o.guide_weights[i]) && o.guide_weights[i] >= 0,
                "the weight of guide " + std::to_string(i + 1) + " is " + number(o.guide_weights[i]) +
                    "; it must be 0 or more.");
}

// One integer weight for each lane, the heaviest kWeightOne.
inline void plan_weights(const ebs_options& o, const std::vector<int>& guide_channels, int style_channels, ebs_plan& plan) {
    const int guides = int(guide_channels.size());
    require(!o.guide_weights || o.guide_weight_count == guides,
            std::to_string(o.guide_weight_count) + " guide weights for " + std::to_string(guides) + " guides.");
    std::vector<double> weights;
    for (int i = 0; i < guides; ++i) {
        const double weight = o.guide_weights ? double(o.guide_weights[i]) : 1.0 / guides;
        weights.insert(weights.end(), size_t(lanes_of(guide_channels[i])), weight / guide_channels[i]);
    }
    plan.guide_lanes = int(weights.size());
    plan.style_channels = style_channels;
    plan.style_lanes = lanes_of(style_channels);
    if (style_channels) weights.insert(weights.end(), size_t(plan.style_lanes), double(o.style_weight) / style_channels);
    require(weights.size() <= EBS_MAX_LANES, "too many guides.");
    const double heaviest = *std::max_element(weights.begin(), weights.end());
    require(heaviest > 0, "all weights are 0; give at least one guide or the style a weight above 0.");
    plan.energy_scale = heaviest / kWeightOne;
    for (size_t i = 0; i < weights.size(); ++i) plan.lane_weight[i] = int32_t(std::lround(weights[i] / plan.energy_scale));
}

// How hard the presets search the finest level, the next, and all coarser ones, which cost little: {rounds, sweeps, random
// candidates, radius}. Many short rounds do better than few long ones, since the vote is cheap.
// Without a style there is nothing to vote for: one round of more sweeps. A radius of 0 is the whole source.
inline ebs_level_plan preset_level(int preset, bool style, int level, int longest_side) {
    static const ebs_level_plan plans[2][2][3] = {
        {{{1, 11, 8, 0}, {1, 9, 8, 0}, {1, 16, 8, 0}}, {{10, 1, 5, 64}, {9, 1, 8, 0}, {14, 2, 8, 0}}},
        {{{1, 15, 4, 16}, {1, 13, 4, 16}, {1, 16, 4, 64}}, {{7, 1, 3, 16}, {8, 1, 3, 16}, {12, 1, 4, 32}}},
    };
    ebs_level_plan plan = plans[preset == EBS_VIDEO][style][std::min(level, 2)];
    if (plan.random_radius == 0) plan.random_radius = longest_side;
    return plan;
}

// Two frames of a clip match almost one to one by their guides alone. Where a difference of kNotable grey levels all over a
// patch costs more than all of the uniformity, its bookkeeping changes nothing that could be seen.
inline double resolve_uniformity(const ebs_options& o) {
    constexpr double kNotable = 3;
    if (o.preset == EBS_GENERIC) return double(o.uniformity);
    double guides = o.guide_weights ? 0 : 1;
    for (int i = 0; i < o.guide_weight_count; ++i) guides += double(o.guide_weights[i]);
    return o.uniformity < guides * o.patch_size * o.patch_size * kNotable * kNotable ? 0 : double(o.uniformity);
}

inline ebs_plan make_plan(const ebs_options& o, const ebs_pair& pair) {
    ebs_plan plan{};
    plan.preset = o.preset;
    plan.start = o.start != EBS_START_PRESET ? o.start : o.preset == EBS_VIDEO ? EBS_START_IDENTITY : EBS_START_RANDOM;
    plan.patch_size = o.patch_size;
    plan.extra_pass_3x3 = o.extra_pass_3x3 != 0;
    plan.vote_mode = o.vote_mode;
    plan.stop_threshold = o.stop_threshold;
    plan.sweeps_fixed = o.patch_match_iters != 0;
    plan.seed = o.seed;
    plan.uniformity = resolve_uniformity(o);
    plan.source_border = o.preset == EBS_GENERIC ? o.patch_size / 2 : 0;
    plan_weights(o, pair.source->channels, pair.style.data ? pair.style.channels : 0, plan);

    const Pyramid &source = pair.source->levels, &target = pair.target->levels;
    const auto fits = [&](size_t level) {
        return level < source.size() && level < target.size() &&
               std::min(std::min(source[level].size.height, source[level].size.width),
                        std::min(target[level].size.height, target[level].size.width)) >= 2 * o.patch_size + 1;
    };
    plan.levels = 1;
    while (plan.levels < EBS_MAX_LEVELS && (o.pyramid_levels == 0 || plan.levels < o.pyramid_levels) &&
           fits(size_t(plan.levels)))
        ++plan.levels;
    for (int level = 0; level < plan.levels; ++level) {
        const Size size = source[size_t(level)].size;
        ebs_level_plan& l = plan.level[level];
        l = preset_level(o.preset, plan.style_lanes > 0, level, std::max(size.height, size.width));
        if (o.search_vote_iters) l.rounds = o.search_vote_iters;
        if (o.patch_match_iters) l.sweeps = o.patch_match_iters;
    }
    return plan;
}

inline void check_nnf(const int16_t* nnf_yx, Size target, Size source) {
    for (size_t i = 0; i < target.pixels(); ++i) {
        const int y = nnf_yx[2 * i], x = nnf_yx[2 * i + 1];
        if (y >= 0 && x >= 0 && y < source.height && x < source.width) continue;
        throw Failure(EBS_BAD_ARGUMENT, "the NNF points to row " + std::to_string(y) + ", column " + std::to_string(x) +
                                            ", outside of the source of " + text_of(source) + ".");
    }
}

inline void check_pair(const ebs_options& o, const ebs_pair& pair, const ebs_result& result) {
    require(pair.source && pair.target, "a pair lacks its source or target frame.");
    const Size source = pair.source->levels[0].size, target = pair.target->levels[0].size;
    require(pair.source->channels == pair.target->channels,
            "the guides of source and target differ in number or channels.");
    require(!result.voted || pair.style.data, "a voted image was asked for, but the pair has no style.");
    if (o.preset == EBS_GENERIC)
        require(std::min(source.height, source.width) >= o.patch_size,
                "the source of " + text_of(source) + " is smaller than the patch size " + std::to_string(o.patch_size) +
                    "; use a smaller patch.");
    if (pair.style.data) {
        const Size style{pair.style.height, pair.style.width};
        require(style == source, "the style is " + text_of(style) + ", but its source guides are " + text_of(source) + ".");
        require(pair.style.channels >= 1 && pair.style.channels <= EBS_MAX_STYLE_CHANNELS,
                "the style has " + std::to_string(pair.style.channels) + " channels; allowed are 1 to 8.");
    }
    const auto check_map = [](const ebs_image& map, Size size, const char* what) {
        if (!map.data) return;
        require(map.channels == 1, std::string(what) + " needs 1 channel, but has " + std::to_string(map.channels) + ".");
        require(Size{map.height, map.width} == size, std::string(what) + " is " + text_of({map.height, map.width}) +
                                                         ", but its image is " + text_of(size) + ".");
    };
    check_map(pair.source_mask, source, "the source mask");
    check_map(pair.target_mask, target, "the target mask");
    if (pair.modulation)
        for (size_t i = 0; i < pair.target->channels.size(); ++i) check_map(pair.modulation[i], target, "a modulation");
    if (pair.init_nnf_yx) check_nnf(pair.init_nnf_yx, target, source);
}

}  // namespace ebs
