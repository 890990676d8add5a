// Small search tasks with everything in them that a backend may meet, made from a number.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "ebsynth_backend.h"

namespace ebs_test {

struct Wishes {
    const char* name = "";
    int height = 40, width = 53, source_height = 44, source_width = 49;
    int patch = 5, guide_lanes = 1, style_channels = 3, levels = 2;
    int preset = EBS_VIDEO;
    double uniformity = 0;
    int stop_threshold = 5;
    bool extra_pass = false, error_weighted = false;
    bool init = false, source_mask = false, target_mask = false, modulation = false;
};

// Owns what the task points to.
struct RandomTask {
    std::vector<uint8_t> source, target, style, source_mask, target_mask, modulation, voted;
    std::vector<int16_t> init, nnf;
    std::vector<float> error;
    ebs_task task{};

    RandomTask(const Wishes& w, uint32_t seed) {
        std::mt19937 random(seed);
        const int style_lanes = (w.style_channels + 3) / 4;
        source = image(random, w.source_height, w.source_width, w.guide_lanes);
        target = image(random, w.height, w.width, w.guide_lanes);
        // Patches to be found: most of the target is the source, moved.
        for (int y = 0; y < w.height; ++y)
            for (int x = 0; x < w.width; ++x) {
                const int sy = y + 3, sx = x - 2;
                if (sy >= w.source_height || sx < 0 || sx >= w.source_width || (y / 8 + x / 8) % 5 == 0) continue;
                for (int i = 0; i < 4 * w.guide_lanes; ++i)
                    target[size_t(y * w.width + x) * 4 * w.guide_lanes + i] =
                        source[size_t(sy * w.source_width + sx) * 4 * w.guide_lanes + i];
            }
        style = image(random, w.source_height, w.source_width, style_lanes);
        for (size_t i = 0; i < style.size(); ++i)
            if (int(i % size_t(4 * style_lanes)) >= w.style_channels) style[i] = 0;
        const size_t pixels = size_t(w.height) * w.width;
        for (size_t i = 0; i < pixels; ++i) {
            init.push_back(int16_t(random() % unsigned(w.source_height)));
            init.push_back(int16_t(random() % unsigned(w.source_width)));
            target_mask.push_back(random() % 4 != 0);
            for (int k = 0; k < (w.guide_lanes + 3) / 4 * 4; ++k) modulation.push_back(uint8_t(random()));
        }
        for (int i = 0; i < w.source_height * w.source_width; ++i) source_mask.push_back(random() % 3 != 0);
        nnf.resize(2 * pixels);
        error.resize(pixels);
        voted.resize(pixels * size_t(w.style_channels));
        task.height = w.height, task.width = w.width;
        task.source_height = w.source_height, task.source_width = w.source_width;
        task.source_guides = source.data(), task.target_guides = target.data();
        task.style = w.style_channels ? style.data() : nullptr;
        task.init_nnf_yx = w.init ? init.data() : nullptr;
        task.source_mask = w.source_mask ? source_mask.data() : nullptr;
        task.target_mask = w.target_mask ? target_mask.data() : nullptr;
        task.modulation = w.modulation ? modulation.data() : nullptr;
        task.result = {nnf.data(), error.data(), w.style_channels ? voted.data() : nullptr};
    }
    RandomTask(const RandomTask&) = delete;
    RandomTask& operator=(const RandomTask&) = delete;

private:
    // Waves with some noise: neither flat nor without structure.
    static std::vector<uint8_t> image(std::mt19937& random, int height, int width, int lanes) {
        std::vector<uint8_t> bytes;
        std::vector<double> phase;
        for (int i = 0; i < 4 * lanes; ++i) phase.push_back(double(random() % 1000) / 100);
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                for (int i = 0; i < 4 * lanes; ++i) {
                    const double wave = std::sin(0.31 * y + phase[i]) + std::cos(0.23 * x - phase[i] * y * 0.05);
                    bytes.push_back(uint8_t(128 + 50 * wave + int(random() % 41) - 20));
                }
        return bytes;
    }
};

inline ebs_plan plan_of(const Wishes& w, uint32_t seed) {
    ebs_plan plan{};
    plan.preset = w.preset;
    plan.start = w.preset == EBS_VIDEO ? EBS_START_IDENTITY : EBS_START_RANDOM;
    plan.patch_size = w.patch;
    plan.levels = w.levels;
    plan.extra_pass_3x3 = w.extra_pass;
    plan.vote_mode = w.error_weighted ? EBS_VOTE_ERROR : EBS_VOTE_MEAN;
    plan.stop_threshold = w.stop_threshold;
    for (int l = 0; l < w.levels; ++l) plan.level[l] = {2, 2, 2, w.preset == EBS_VIDEO ? 8 : w.source_width};
    plan.source_border = w.preset == EBS_GENERIC ? w.patch / 2 : 0;
    plan.seed = seed;
    plan.guide_lanes = w.guide_lanes;
    plan.style_channels = w.style_channels;
    plan.style_lanes = (w.style_channels + 3) / 4;
    for (int i = 0; i < plan.guide_lanes + plan.style_lanes; ++i)
        plan.lane_weight[i] = i < plan.guide_lanes ? (1 << 20) - 7919 * i : 10486;
    plan.energy_scale = 1.0 / (1 << 20);
    plan.uniformity = w.uniformity;
    return plan;
}

// One of each kind, small enough for the CPU to run the device's kernels on.
inline std::vector<Wishes> all_kinds() {
    std::vector<Wishes> kinds(15);
    auto next = [&kinds, i = size_t(0)](const char* name) mutable -> Wishes& {
        kinds[i].name = name;
        return kinds[i++];
    };
    next("video, patch 5");
    next("video, patch 11").patch = 11;
    Wishes& large = next("video, patch 21");
    large.patch = 21, large.levels = 1, large.height = 21;
    next("patch of no instance of its own").patch = 7;
    next("guides alone").style_channels = 0;
    Wishes& many = next("more lanes than a tile holds");
    many.guide_lanes = 24, many.style_channels = 8, many.patch = 11;
    many.height = 9, many.width = 35, many.source_height = 13, many.source_width = 18, many.levels = 1;
    Wishes& generic = next("generic with uniformity");
    generic.preset = EBS_GENERIC, generic.uniformity = 3500, generic.guide_lanes = 3;
    next("pass with patch 3").extra_pass = true;
    next("error-weighted vote").error_weighted = true;
    next("given start").init = true;
    next("source mask").source_mask = true;
    next("target mask").target_mask = true;
    Wishes& modulated = next("modulation");
    modulated.modulation = true, modulated.height = 20, modulated.source_height = 22;
    Wishes& thin = next("a single row");
    thin.height = 1, thin.levels = 1, thin.source_height = 3;
    Wishes& all = next("all at once");
    all.preset = EBS_GENERIC, all.uniformity = 100,
    all.init = all.source_mask = all.target_mask = all.modulation = true;
    all.error_weighted = all.extra_pass = true, all.guide_lanes = 5, all.style_channels = 7, all.patch = 7;
    all.height = 21, all.width = 23, all.source_height = 25, all.source_width = 22;
    return kinds;
}

}  // namespace ebs_test
