// A batch of pairs, coarse to fine: which kernels run in which order. Nothing here waits for the device, so that its
// queue never runs dry between levels; only a caller who wants to be told of progress makes it wait.
//
// A `Device` launches kernels, moves bytes and fills memory, all in order; see on_host.h and ebsynth_cuda.cu.
#pragma once

#include <algorithm>
#include <functional>

#include "inputs.h"
#include "nnf.h"
#include "occupancy.h"
#include "vote.h"

namespace ebs {
namespace kernels {

// Shared memory that every device gives a block without being asked.
constexpr size_t kMaxTileBytes = 48 * 1024;

// Told of each finished level; returns false to stop.
using LevelReport = std::function<bool(int level)>;

template <class Device>
class Search {
public:
    // `memory`: Layout::bytes(...) of the device. All tasks have the shape of the first.
    Search(Device& device, void* memory, const ebs_task* tasks, int pairs, const ebs_plan& plan)
        : device_(device),
          tasks_(tasks),
          pairs_(pairs),
          plan_(plan),
          shape_(tasks[0]),
          arena_(memory),
          at_(arena_, shape_, plan, pairs) {}

    // Returns false if the report did.
    bool run(const LevelReport& report) {
        Inputs<Device>{device_, at_, shape_, tasks_, pairs_, plan_}.make();
        bool known = false;
        for (int l = plan_.levels - 1; l >= 0; --l) {
            enter_level(l, plan_.patch_size);
            if (l == plan_.levels - 1)
                start(l, uint32_t(l), false);
            else
                enlarge(l);
            known = search(l, plan_.uniformity, l < plan_.levels - 1);
            if (l > 0 && report && !report(l)) return false;
        }
        if (plan_.extra_pass_3x3) {
            enter_level(0, 3);
            known = search(0, 0, false);
        }
        finish(known);
        return !report || report(0);
    }

    // Copies to the caller's buffers; the device has finished when it returns.
    void deliver() {
        for (int i = 0; i < pairs_; ++i) {
            const ebs_result& to = tasks_[i].result;
            const size_t pixels = shape_.target.pixels();
            if (to.nnf_yx) device_.download(to.nnf_yx, at_.nnf[now_].of(i), pixels * sizeof(Point));
            if (to.error) device_.download(to.error, at_.error.of(i), pixels * sizeof(float));
            if (to.voted) device_.download(to.voted, at_.voted.of(i), pixels * size_t(plan_.style_channels));
        }
        device_.finish();
    }

private:
    // ---- a level

    void enter_level(int l, int patch) {
        const LevelArrays& level = at_.levels[size_t(l)];
        state_ = SearchState{};
        state_.source = level.source;
        state_.target = level.target;
        state_.modulation = level.modulation;
        std::copy_n(plan_.lane_weight, plan_.guide_lanes + plan_.style_lanes, state_.weights);
        state_.patch = patch;
        state_.border = border_of(plan_, patch);
        state_.energy = at_.energy;
        state_.source_mask = constant(level.source_mask);
        state_.target_mask = constant(level.target_mask);
        state_.total = constant(at_.total);
        state_.round_total = constant(at_.round_total);
        device_.fill(at_.energy.base, kUnknownByte, at_.energy.stride * size_t(pairs_) * sizeof(int64_t));
        device_.fill(at_.total.base, 0, size_t(pairs_) * sizeof(*at_.total.base));
    }

    Admission admission(int l, uint32_t variation) const {
        const LevelArrays& level = at_.levels[size_t(l)];
        return {level.source.size,           state_.border,         constant(level.source_mask), constant(level.places),
                constant(level.place_count), plan_.seed + variation};
    }

    void start(int l, uint32_t variation, bool only_masked) {
        Batch<const uint8_t> where;
        if (only_masked) where = constant(at_.levels[size_t(l)].target_mask);
        const Start how = shape_.init                         ? Start::given
                          : plan_.start == EBS_START_IDENTITY ? Start::identity
                                                              : Start::random;
        device_.launch(StartNnf{admission(l, variation), state_.target.size, how, scramble(plan_.seed, 1),
                                constant(at_.given), shape_.target, l, where, at_.nnf[now_]},
                       pairs_);
    }

    void enlarge(int l) {
        device_.launch(Enlarge{admission(l, 1), at_.levels[size_t(l) + 1].target.size, state_.target.size,
                               constant(at_.nnf[now_]), at_.nnf[1 - now_]},
                       pairs_);
        now_ = 1 - now_;
    }

    // Returns whether the energies belong to the style as it was last voted.
    bool search(int l, double uniformity, bool adopt) {
        const ebs_level_plan& steps = plan_.level[l];
        if (l == 0 && shape_.target_mask) start(0, 0, true);
        state_.overlap = {};
        state_.occupancy_price = uniformity > 0 ? price_of_use(uniformity) : 0;
        state_.awake = {};
        bool known = false;
        for (int round = 0; round < steps.rounds; ++round) {
            device_.copy(at_.round_total.base, at_.total.base, size_t(pairs_) * sizeof(*at_.total.base));
            if (plan_.style_lanes) {
                vote_style(known ? plan_.stop_threshold : -1);
                known = false;
            }
            if (round == 0 && adopt && shape_.init) {
                PassPlan pass = blank_pass();
                pass.everyone = true;
                pass.given = constant(at_.given);
                pass.given_size = shape_.target;
                pass.given_shift = l;
                sweep(pass);
                known = true;
            }
            for (int k = 0; k < steps.sweeps; ++k, known = true) search_once(l, round, k, known);
        }
        return known;
    }

    // One sweep of the plan. What the CPU carries along whole rows in one sweep, passes carry by leaps.
    void search_once(int l, int round, int k, bool known) {
        const ebs_level_plan& steps = plan_.level[l];
        PassPlan pass = blank_pass();
        pass.neighbours = true;
        pass.random_radius = steps.random_radius;
        pass.random_candidates = steps.random_candidates;
        const bool occupied = state_.occupancy_price > 0;
        for (int i = 0; i < kPasses; ++i, known = true) {
            if (i == kSpared && state_.patch >= kLargePatch && !occupied) continue;
            pass.known = known;
            pass.jump = kJumps[i];
            pass.seed = scramble(plan_.seed, uint32_t(((l * 1024 + round) * 1024 + k) * kPasses + i + 2));
            if (occupied)
                sweep_in_phases(pass);
            else
                sweep(pass);
        }
        device_.fill(at_.total.base, 0, size_t(pairs_) * sizeof(*at_.total.base));
        sum_energies();
    }

    // Besides the nearest neighbours' finds, a pass tries those at a distance. Three passes with random candidates in
    // each end at 0.93 to 1.000 of the energy that the CPU's one sweep finds on moving scenes, at patch 5 and 11; two
    // at 0.99 to 1.02. At patch 21, where a pass costs most, two are enough (0.997 to 1.003).
    static constexpr int kPasses = 3, kJumps[kPasses] = {8, 2, 1}, kSpared = 1, kLargePatch = 17;
    static constexpr int kReach = 8;

    PassPlan blank_pass() const {
        PassPlan pass{};
        pass.spread = 1;
        return pass;
    }

    void sweep_in_phases(PassPlan pass) {
        pass.spread = 2;
        for (int phase = 0; phase < 4; ++phase) {
            pass.phase_y = phase % 2;
            pass.phase_x = phase % 2 ^ phase / 2;
            count_uses();
            device_.copy(at_.nnf[1 - now_].base, at_.nnf[now_].base,
                         at_.nnf[0].stride * size_t(pairs_) * sizeof(Point));
            sweep(pass);
        }
    }

    void sweep(const PassPlan& pass) {
        const Batch<const Point> before = constant(at_.nnf[now_]);
        const Batch<Point> after = at_.nnf[1 - now_];
        now_ = 1 - now_;
        const Tile tile{state_.patch, pass.spread, state_.target.groups};
        if (shape_.modulation || tile.bytes() > kMaxTileBytes)
            return device_.launch(Sweep<0, Reading::clamped>{state_, pass, before, after}, pairs_);
        switch (state_.patch) {
            case 5: return device_.launch(Sweep<5, Reading::tile>{state_, pass, before, after}, pairs_);
            case 11: return device_.launch(Sweep<11, Reading::tile>{state_, pass, before, after}, pairs_);
            case 21: return device_.launch(Sweep<21, Reading::tile>{state_, pass, before, after}, pairs_);
            default: return device_.launch(Sweep<0, Reading::tile>{state_, pass, before, after}, pairs_);
        }
    }

    void sum_energies() {
        device_.launch(SumEnergies{constant(at_.energy), at_.total, state_.target.size.pixels()}, pairs_);
    }

    Vote blank_vote() const {
        Vote vote{};
        vote.source = state_.source;
        vote.size = state_.target.size;
        vote.patch = state_.patch;
        vote.first_lane = plan_.guide_lanes;
        vote.channels = plan_.style_channels;
        vote.nnf = constant(at_.nnf[now_]);
        return vote;
    }

    // With a threshold of 0 or more, patches rest where no colour moved by more and nothing better was found of late
    // within a pass's reach. The CPU rests by the colours alone; but what a pass has to tell comes only so far in a
    // round, and under a style without features it would never arrive.
    void vote_style(int threshold) {
        Vote vote = blank_vote();
        vote.target = state_.target;
        vote.threshold = threshold;
        if (threshold >= 0) {
            vote.moved = at_.moved;
            vote.changed = constant(at_.changed);
        }
        device_.launch(vote, pairs_);
        state_.awake = {};
        state_.changed = at_.changed;
        if (at_.changed) device_.fill(at_.changed.base, 0, at_.changed.stride * size_t(pairs_));
        if (threshold < 0) return;
        const int reach = std::max(state_.patch / 2, kReach);
        device_.launch(Dilate{constant(at_.moved), at_.dilated, vote.size, reach, true}, pairs_);
        device_.launch(Dilate{constant(at_.dilated), at_.awake, vote.size, reach, false}, pairs_);
        state_.awake = constant(at_.awake);
    }

    // ---- occupancy

    // uniformity * (mean use of the patch's pixels / the use that is everyone's share), in integer energy.
    float price_of_use(double uniformity) const {
        const double area = double(state_.patch) * state_.patch, pixels = double(state_.target.size.pixels());
        const double share = pixels / double(state_.source.size.pixels()) * area;
        // All patches on one pixel must stay far from overflow.
        return float(std::min(uniformity / (area * share) / plan_.energy_scale, 1e18 / (area * area * pixels)));
    }

    void count_uses() {
        const Extent source = state_.source.size;
        device_.fill(at_.uses.base, 0, at_.uses.stride * size_t(pairs_) * sizeof(uint32_t));
        device_.launch(CountUses{constant(at_.nnf[now_]), state_.target.size, source, at_.uses}, pairs_);
        device_.launch(TriangleRows{constant(at_.uses), at_.rows, source, state_.patch}, pairs_);
        device_.launch(TriangleColumns{constant(at_.rows), at_.overlap, source, state_.patch}, pairs_);
        state_.overlap = constant(at_.overlap);
    }

    // ---- output

    void finish(bool known) {
        const bool any =
            std::any_of(tasks_, tasks_ + pairs_, [](const ebs_task& t) { return t.result.error || t.result.voted; });
        if (!any) return;
        const bool weighted = plan_.vote_mode == EBS_VOTE_ERROR && plan_.style_lanes;
        const size_t pixels = shape_.target.pixels();
        state_.overlap = {};
        if (plan_.style_lanes) {
            Vote vote = blank_vote();
            vote.target = state_.target;
            if (!weighted) vote.dense = at_.voted;
            device_.launch(vote, pairs_);
            known = false;
        }
        // Masked pixels were never scored.
        if (!known || shape_.target_mask) {
            PassPlan pass = blank_pass();
            pass.everyone = true;
            sweep(pass);
        }
        device_.launch(DeliverError{constant(at_.energy), at_.error, plan_.energy_scale, pixels}, pairs_);
        if (!weighted) return;
        device_.fill(at_.total.base, 0, size_t(pairs_) * sizeof(*at_.total.base));
        sum_energies();
        const double scale = plan_.energy_scale * (1 << kSumShift);
        device_.launch(WeighErrors{constant(at_.error), constant(at_.total), at_.vote_weights, scale, pixels}, pairs_);
        Vote vote = blank_vote();
        vote.weights = constant(at_.vote_weights);
        vote.dense = at_.voted;
        device_.launch(vote, pairs_);
    }

    Device& device_;
    const ebs_task* const tasks_;
    const int pairs_;
    const ebs_plan& plan_;
    const BatchShape shape_;
    Arena arena_;
    Layout at_;
    SearchState state_{};
    int now_ = 0;  // which of the two NNFs is the present one
};

}  // namespace kernels
}  // namespace ebs
