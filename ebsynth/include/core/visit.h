// What a sweep does to one pixel after the other.
#pragma once

#include "level.h"
#include "random.h"

namespace ebs {

struct SweepPlan {
    bool forward;
    uint32_t seed;
    int random_candidates, random_radius;
    double mean_energy;  // of the level's pixels after the last sweep; 0: not known yet
    double round_energy; // the same when the round began: who rests in it must not wake with an energy from before the vote
};

struct Move {
    size_t pixel;
    Point from, to;
    int64_t before, after;  // energies without occupancy
};

// The rows next to those that are swept, or null.
struct Neighbourhood {
    const Point *above, *below;
};

// A patch that moves changes the occupancy of those it leaves and joins too, so that the total changes by twice what it
// meets itself. A quarter of that correction keeps more of the guides' order at nearly the same total.
constexpr float kMovePrice = 1.25f;

// A patch whose style stands still rests as long as its energy is below this share of the mean.
constexpr double kRestingShare = 0.7;

// Where guides meet as they do nowhere near, as on the border of two regions, neighbours have no better match and chance must
// find one: those this many times above the mean go on trying. They are few, and carry much of the guides' error.
constexpr double kStrandedEnergy = 8;
constexpr int kStrandedTurns = 6;

// Sweeps rows of a level: each pixel tries its four neighbours' correspondences and random ones near its own.
class BandSweep {
public:
    BandSweep(Level& level, const SweepPlan& plan, OccupancyView* occupancy, std::vector<Move>& moves)
        : level_(level), plan_(plan), occupancy_(occupancy), price_(kMovePrice * level.occupancy_price), moves_(moves),
          width_(level.size().width) {}

    // Returns the sum of the energies without occupancy.
    double run(int begin, int end, const Neighbourhood& around) {
        double sum = 0;
        for (int i = 0; i < end - begin; ++i) {
            const int y = plan_.forward ? begin + i : end - 1 - i;
            const Point* row = &level_.nnf[size_t(y) * width_];
            const Neighbourhood beside{y > begin ? row - width_ : around.above, y + 1 < end ? row + width_ : around.below};
            for (int k = 0; k < width_; ++k) sum += double(visit(y, plan_.forward ? k : width_ - 1 - k, beside));
        }
        return sum;
    }

private:
    bool inside(int y, int x) const {
        const Size size = level_.source.size;
        const int border = level_.border;
        return y >= border && x >= border && y < size.height - border && x < size.width - border;
    }

    int64_t occupancy_of(Point n) const {
        return occupancy_ ? int64_t(price_ * occupancy_->others_at(n, start_)) : 0;
    }

    // Tries the neighbours' correspondences and random ones; returns the energy of the one kept.
    int64_t visit(int y, int x, const Neighbourhood& rows) {
        const size_t id = size_t(y) * width_ + x;
        if (rests(id)) return level_.energy[id] == kUnknown ? 0 : level_.energy[id];
        current_ = start_ = level_.nnf[id];
        // [0] is the present correspondence, scored again only if the style was voted since.
        Point candidates[Level::kMaxCandidates] = {start_};
        int count = 1;
        const auto offer = [&](int ny, int nx) {
            if (!inside(ny, nx)) return;
            const Point n{int16_t(ny), int16_t(nx)};
            for (int i = 0; i < count; ++i)
                if (n == candidates[i]) return;
            if (level_.allows(n)) candidates[count++] = n;
        };
        const Point* here = &level_.nnf[id];
        if (x > 0) offer(here[-1].y, here[-1].x + 1);
        if (x + 1 < width_) offer(here[1].y, here[1].x - 1);
        if (rows.above) offer(rows.above[x].y + 1, rows.above[x].x);
        if (rows.below) offer(rows.below[x].y - 1, rows.below[x].x);
        const bool known = level_.energy_is_current && level_.energy[id] != kUnknown;
        if (known)
            energy_ = level_.energy[id];
        else
            level_.energies(y, x, candidates, level_.bounded ? 1 : count, scores_);
        if (!known) energy_ = scores_[0];
        const int64_t before = energy_;
        total_ = energy_ + occupancy_of(current_);
        if (known || level_.bounded)
            try_all(y, x, candidates + 1, count - 1);
        else
            for (int i = 1; i < count; ++i) keep_better(candidates[i], scores_[i]);

        uint32_t bits = scramble(uint32_t(id), plan_.seed);
        for (int turn = 0; turn == 0 || (turn < kStrandedTurns && is_stranded()); ++turn) try_random(y, x, bits);

        level_.energy[id] = energy_;
        if (!(current_ == start_)) {
            level_.nnf[id] = current_;
            if (occupancy_) {
                occupancy_->move(start_, current_);
                moves_.push_back({id, start_, current_, before, energy_});
            }
        }
        return energy_;
    }

    // A level without occupancy lets such pixels scan the source (outliers.h).
    bool is_stranded() const {
        return occupancy_ && plan_.mean_energy > 0 && double(energy_) > kStrandedEnergy * plan_.mean_energy;
    }

    void try_random(int y, int x, uint32_t& bits) {
        Point candidates[Level::kMaxCandidates];
        int count = 0;
        const int wanted = random_count(bits);
        // Few candidates try one scale at a time; a pixel in trouble, as at an occlusion, looks everywhere.
        const Size all = level_.source.size;
        const int widest = wanted > plan_.random_candidates ? std::max(all.height, all.width) : plan_.random_radius;
        int radius = widest;
        if (wanted < plan_.random_candidates)
            for (uint32_t scale = (bits >> 8) % uint32_t(plan_.random_candidates); scale > 0 && radius > 1; --scale)
                radius = radius > 3 ? radius / 4 : 1;
        for (int k = 0; k < wanted; ++k) {
            const int border = level_.border;
            const int ny = pick(bits >> 16, std::max(current_.y - radius, border),
                                std::min(current_.y + radius, all.height - 1 - border));
            const int nx = pick(bits, std::max(current_.x - radius, border),
                                std::min(current_.x + radius, all.width - 1 - border));
            const Point n{int16_t(ny), int16_t(nx)};
            bits = scramble(bits);
            if (!(n == current_) && level_.allows(n)) candidates[count++] = n;
            radius = radius > 3 ? radius / 4 : radius > 1 ? 1 : widest;
        }
        try_all(y, x, candidates, count);
    }

    // What the caller fixed, and what the last vote left as it was unless its energy is high.
    bool rests(size_t id) const {
        if (!level_.target_mask.empty() && !level_.target_mask[id]) return true;
        return !level_.awake.empty() && !level_.awake[id] && double(level_.energy[id]) <= kRestingShare * plan_.round_energy;
    }

    // A good match is seldom bettered: of those below a tenth of the mean only every fourth is tried once.
    int random_count(uint32_t bits) const {
        if (plan_.mean_energy <= 0) return plan_.random_candidates;
        const double energy = double(energy_), mean = plan_.mean_energy;
        const int count = energy < 0.1 * mean   ? ((bits & 3) == 0 ? 1 : 0)
                          : energy < mean       ? 1
                          : energy < 2 * mean   ? plan_.random_candidates
                                                : 2 * plan_.random_candidates;
        return std::min(count, Level::kMaxCandidates);
    }

    void keep_better(Point n, int64_t energy) {
        if (energy >= total_) return;
        const int64_t total = energy + occupancy_of(n);
        if (total >= total_) return;
        current_ = n, energy_ = energy, total_ = total;
    }

    void try_all(int y, int x, const Point* candidates, int count) {
        if (count == 0) return;
        if (!level_.bounded) {
            level_.energies(y, x, candidates, count, scores_);
            for (int i = 0; i < count; ++i) keep_better(candidates[i], scores_[i]);
            return;
        }
        // The sampled rows' energy bounds the whole from below; what they can't reject is completed by the other rows.
        const uint8_t* patches[Level::kMaxCandidates];
        const Field& source = level_.source;
        for (int i = 0; i < count; ++i) patches[i] = source.patch(candidates[i].y, candidates[i].x);
        const uint8_t* target = level_.target.patch(y, x);
        level_.kernels.sampled(level_.geometry, target, patches, count, scores_);
        const size_t id = size_t(y) * width_ + x;
        for (int i = 0; i < count; ++i) {
            const size_t at = size_t(candidates[i].y) * source.size.width + candidates[i].x;
            const int64_t part = level_.target_sums.sampled[id] + level_.source_sums.sampled[at] - 2 * scores_[i];
            if (part + occupancy_of(candidates[i]) >= total_) continue;
            int64_t rest;
            level_.kernels.others(level_.geometry, target, &patches[i], 1, &rest);
            keep_better(candidates[i],
                        level_.target_sums.all[id] + level_.source_sums.all[at] - 2 * (scores_[i] + rest));
        }
    }

    Level& level_;
    const SweepPlan& plan_;
    OccupancyView* occupancy_;
    const float price_;
    std::vector<Move>& moves_;
    const int width_;
    Point start_{0, 0}, current_{0, 0};
    int64_t energy_ = 0, total_ = 0;  // of the current one, without and with occupancy
    int64_t scores_[Level::kMaxCandidates];
};

}  // namespace ebs
