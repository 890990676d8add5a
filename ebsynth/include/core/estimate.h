// One pair, coarse to fine.
#pragma once

#include <functional>
#include <mutex>

#include "maps.h"
#include "outliers.h"
#include "plan.h"
#include "sweep.h"

namespace ebs {

// A sweep that lowers the mean energy by less is the last, on levels large enough to cost time.
constexpr double kWorthASweep = 0.01;
constexpr size_t kCostlyLevel = 1 << 16;

// Told of every sweep; returns false to stop.
using SweepReport = std::function<bool(int level, int round, int sweep, size_t pixels, double energy)>;

class PairSearch {
public:
    PairSearch(const ebs_pair& pair, const ebs_plan& plan, bool bounded, bool trace, Isa isa, Pool& pool,
               SweepReport report)
        : pair_(pair), plan_(plan), isa_(isa), pool_(pool), report_(std::move(report)), bounded_(bounded), trace_(trace),
          source_masks_(mask_pyramid(pair.source_mask, pair.source->levels[0].size, plan.levels)),
          target_masks_(mask_pyramid(pair.target_mask, pair.target->levels[0].size, plan.levels)) {
        if (pair.style.data) {
            Lanes finest(pair.source->levels[0].size, plan.style_lanes);
            pack(pair.style, 0, finest);
            style_ = build_pyramid(std::move(finest), kSmallestSide);
        }
        if (pair.modulation) modulation_ = build_pyramid(modulation_lanes(pair, plan.guide_lanes), kSmallestSide);
    }

    void run(const ebs_result& result) {
        std::vector<Point> nnf;
        Size coarser{0, 0};
        std::unique_ptr<Level> level;
        for (int l = plan_.levels - 1; l >= 0; --l) {
            level = make_level(l, plan_.patch_size, plan_.uniformity);
            level->nnf = l == plan_.levels - 1 ? first_nnf(*level, l) : enlarge(nnf, coarser, *level);
            search(*level, l, l < plan_.levels - 1);
            nnf = level->nnf;
            coarser = level->size();
        }
        if (plan_.extra_pass_3x3) {
            level = make_level(0, 3, 0);
            level->nnf = std::move(nnf);
            admit(*level, 0);
            search(*level, 0, false);
        }
        deliver(*level, result);
    }

private:
    std::unique_ptr<Level> make_level(int l, int patch, double uniformity) {
        auto level = std::make_unique<Level>();
        const size_t i = size_t(l);
        const Lanes* style = style_.empty() ? nullptr : &style_[i];
        level->source = make_field(pair_.source->levels[i], style, plan_.style_lanes, patch / 2, false, pool_);
        level->target = make_field(pair_.target->levels[i], nullptr, plan_.style_lanes, patch / 2, true, pool_);
        level->geometry = PatchGeometry(patch, level->source.lanes, plan_.lane_weight, level->source.pitch,
                                        level->target.pitch);
        level->kernels = choose_kernels(isa_, patch, level->source.lanes);
        level->accumulate = choose_accumulate(isa_);
        level->guide_lanes = plan_.guide_lanes;
        level->style_lanes = plan_.style_lanes;
        level->style_channels = plan_.style_channels;
        level->lane_weights = plan_.lane_weight;
        level->border = plan_.source_border ? patch / 2 : 0;
        level->bounded = bounded_ && patch >= 11 && modulation_.empty();
        if (!modulation_.empty()) level->modulation = modulation_of(l, patch / 2);
        level->source_mask = source_masks_[i];
        level->target_mask = target_masks_[i];
        add_patch_sums(level->source, 0, level->source.lanes, plan_.lane_weight, level->bounded, pool_,
                       level->source_sums);
        add_patch_sums(level->target, 0, plan_.guide_lanes, plan_.lane_weight, level->bounded, pool_, level->guide_sums);
        level->target_sums = level->guide_sums;
        for (int first = 0; first < plan_.style_channels; first += kVoteChannels)
            level->ballots.emplace_back(style->size, patch / 2, std::min(kVoteChannels, plan_.style_channels - first),
                                        [&](int y, int x) { return style->at(y, x) + first; });
        level->energy.assign(level->size().pixels(), kUnknown);
        if (uniformity > 0) set_occupancy(*level, uniformity);
        return level;
    }

    // uniformity * (mean use of the patch's pixels / the use that is everyone's share).
    void set_occupancy(Level& level, double uniformity) {
        const double area = double(level.geometry.patch) * level.geometry.patch;
        const double share = double(level.size().pixels()) / double(level.source.size.pixels()) * area;
        const double price = uniformity / (area * share) / plan_.energy_scale;
        // All patches on one pixel must stay far from overflow.
        const double limit = 1e18 / (area * area * double(level.size().pixels()));
        level.occupancy_price = float(std::min(price, limit));
        level.occupancy = Occupancy(level.source.size, level.geometry.patch);
    }

    Point mapped(const Level& level, int y, int x) const {
        const Size from = level.size(), to = level.source.size;
        return {int16_t(int64_t(y) * to.height / from.height), int16_t(int64_t(x) * to.width / from.width)};
    }

    Point given(const Level& level, int l, int y, int x) const {
        const Size full = pair_.target->levels[0].size;
        const int fy = std::min(y << l, full.height - 1), fx = std::min(x << l, full.width - 1);
        const int16_t* n = pair_.init_nnf_yx + 2 * (size_t(fy) * full.width + fx);
        return {int16_t(std::min(n[0] >> l, level.source.size.height - 1)),
                int16_t(std::min(n[1] >> l, level.source.size.width - 1))};
    }

    Point start_of(const Level& level, int l, int y, int x) const {
        if (pair_.init_nnf_yx) return given(level, l, y, x);
        if (plan_.start == EBS_START_IDENTITY) return mapped(level, y, x);
        const Size source = level.source.size;
        const uint32_t bits = scramble(uint32_t(y * level.size().width + x), scramble(plan_.seed, 1));
        return {int16_t(pick(bits >> 16, level.border, source.height - 1 - level.border)),
                int16_t(pick(bits, level.border, source.width - 1 - level.border))};
    }

    std::vector<Point> first_nnf(Level& level, int l) {
        level.nnf.resize(level.size().pixels());
        for (int y = 0; y < level.size().height; ++y)
            for (int x = 0; x < level.size().width; ++x)
                level.nnf[size_t(y) * level.size().width + x] = start_of(level, l, y, x);
        admit(level, l);
        return std::move(level.nnf);
    }

    std::vector<Point> enlarge(const std::vector<Point>& nnf, Size coarser, Level& level) {
        level.nnf.resize(level.size().pixels());
        for (int y = 0; y < level.size().height; ++y)
            for (int x = 0; x < level.size().width; ++x) {
                const Point n = nnf[size_t(std::min(y / 2, coarser.height - 1)) * coarser.width +
                                    std::min(x / 2, coarser.width - 1)];
                level.nnf[size_t(y) * level.size().width + x] = {int16_t(2 * n.y + (y & 1)), int16_t(2 * n.x + (x & 1))};
            }
        admit(level, 1);
        return std::move(level.nnf);
    }

    // Moves every correspondence to where the level lets patches be centred. `l` only varies the randomness.
    void admit(Level& level, int l) {
        const Size source = level.source.size;
        std::vector<Point> allowed;
        if (!level.source_mask.empty()) {
            for (int y = level.border; y < source.height - level.border; ++y)
                for (int x = level.border; x < source.width - level.border; ++x)
                    if (level.allows({int16_t(y), int16_t(x)})) allowed.push_back({int16_t(y), int16_t(x)});
            require(!allowed.empty(), "the source mask leaves no place for a patch.");
        }
        for (size_t i = 0; i < level.nnf.size(); ++i) {
            Point& n = level.nnf[i];
            n.y = int16_t(clamp(n.y, level.border, source.height - 1 - level.border));
            n.x = int16_t(clamp(n.x, level.border, source.width - 1 - level.border));
            if (!level.allows(n))
                n = allowed[uint64_t(scramble(uint32_t(i), plan_.seed + uint32_t(l))) * allowed.size() >> 32];
        }
    }

    // Where the caller's NNF is better than what the coarser levels found.
    void adopt_given(Level& level, int l) {
        const Size size = level.size();
        for_rows(pool_, size.height, [&](int begin, int end) {
            for (int y = begin; y < end; ++y)
                for (int x = 0; x < size.width; ++x) {
                    Point& n = level.nnf[size_t(y) * size.width + x];
                    const Point both[2] = {n, given(level, l, y, x)};
                    if (both[0] == both[1] || !level.allows(both[1])) continue;
                    if (both[1].y < level.border || both[1].x < level.border ||
                        both[1].y >= level.source.size.height - level.border ||
                        both[1].x >= level.source.size.width - level.border)
                        continue;
                    int64_t energy[2];
                    level.energies(y, x, both, 2, energy);
                    if (energy[1] < energy[0]) n = both[1];
                }
        });
    }

    void keep_masked(Level& level, int l) {
        if (l != 0 || level.target_mask.empty()) return;
        for (int y = 0; y < level.size().height; ++y)
            for (int x = 0; x < level.size().width; ++x) {
                const size_t id = size_t(y) * level.size().width + x;
                if (!level.target_mask[id]) level.nnf[id] = start_of(level, 0, y, x);
            }
        admit(level, 0);
    }

    void search(Level& level, int l, bool adopt) {
        keep_masked(level, l);
        const ebs_level_plan& steps = plan_.level[l];
        double mean = 0;
        for (int round = 0; round < steps.rounds; ++round) {
            if (level.has_style()) vote_style(level, plan_.stop_threshold, pool_);
            if (round == 0 && adopt && pair_.init_nnf_yx) adopt_given(level, l);
            if (round == 0 && level.occupancy_price > 0) level.occupancy.count(level.nnf);
            const double round_energy = mean;
            for (int k = 0; k < steps.sweeps; ++k) {
                const uint32_t seed = scramble(plan_.seed, uint32_t(((l * 1024) + round) * 1024 + k + 2));
                const double before = mean;
                mean = sweep(level, {(k + round * steps.sweeps) % 2 == 0, seed, steps.random_candidates,
                                     steps.random_radius, mean, round_energy},
                             pool_);
                const bool cheap = level.occupancy_price == 0 && level.size().pixels() < kCostlyLevel;
                if (cheap && round * steps.sweeps + k == 1) search_outliers(level, mean, pool_);
                double energy = std::numeric_limits<double>::quiet_NaN();
                if (trace_) energy = total_energy(level);
                if (!report_(l, round, k, level.size().pixels(), energy))
                    throw Failure(EBS_CANCELLED, "cancelled by the caller.");
                // With nothing to vote for, sweeps only go on while they help.
                const bool may_stop = !level.has_style() && !plan_.sweeps_fixed && level.size().pixels() > kCostlyLevel;
                if (may_stop && k > 1 && mean > before * (1 - kWorthASweep)) break;
            }
        }
    }

    double total_energy(const Level& level) const {
        double sum = 0;
        for (int y = 0; y < level.size().height; ++y)
            for (int x = 0; x < level.size().width; ++x) {
                int64_t energy;
                level.energies(y, x, &level.nnf[size_t(y) * level.size().width + x], 1, &energy);
                sum += double(energy);
            }
        return sum * plan_.energy_scale;
    }

    void deliver(Level& level, const ebs_result& result) {
        const size_t count = level.size().pixels();
        const bool weighted = plan_.vote_mode == EBS_VOTE_ERROR && result.voted;
        if (result.nnf_yx) std::memcpy(result.nnf_yx, level.nnf.data(), count * sizeof(Point));
        if (level.has_style() && (result.error || result.voted)) vote_style(level, -1, pool_);
        std::vector<float> own;
        float* error = result.error;
        if (weighted && !error) error = (own.resize(count), own.data());
        if (error) {
            refresh_energies(level, pool_);
            for (size_t i = 0; i < count; ++i) error[i] = float(double(level.energy[i]) * plan_.energy_scale);
        }
        if (!result.voted) return;
        if (weighted) {
            const std::vector<uint16_t> weights = vote_weights(error, count);
            vote_image(level.source.size, plan_.style_channels, [&](int y, int x) { return style_[0].at(y, x); },
                       level.nnf.data(), level.size(), level.geometry.patch, weights.data(), isa_, pool_, result.voted);
            return;
        }
        uint8_t* to = result.voted;
        for (int y = 0; y < level.size().height; ++y)
            for (int x = 0; x < level.size().width; ++x) {
                const uint8_t* style = level.target.pixel(y, x) + 4 * plan_.guide_lanes;
                for (int c = 0; c < plan_.style_channels; ++c) *to++ = style[c] ^ level.target.flip;
            }
    }

    Modulation modulation_of(int l, int pad) const {
        const Lanes& maps = modulation_[size_t(l)];
        const int lanes = plan_.guide_lanes + plan_.style_lanes, height = maps.size.height, width = maps.size.width;
        Modulation out;
        out.scale.assign(size_t(height + 2 * pad) * (width + 2 * pad) * lanes, 255);
        uint8_t* to = out.scale.data();
        for (int y = -pad; y < height + pad; ++y)
            for (int x = -pad; x < width + pad; ++x, to += lanes)
                std::memcpy(to, maps.at(clamp(y, 0, height - 1), clamp(x, 0, width - 1)), size_t(plan_.guide_lanes));
        return out;
    }

    const ebs_pair& pair_;
    const ebs_plan& plan_;
    const Isa isa_;
    Pool& pool_;
    const SweepReport report_;
    const bool bounded_, trace_;
    const std::vector<Mask> source_masks_, target_masks_;
    Pyramid style_, modulation_;
};

}  // namespace ebs
