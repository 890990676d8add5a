// The search itself: sweeps of propagation and random search over a level.
#pragma once

#include "level.h"
#include "random.h"

namespace ebs {

struct SweepPlan {
    bool forward;
    uint32_t seed;
    int random_candidates, random_radius;
    double mean_energy;  // of the level's pixels after the last sweep; 0: not known yet
    bool adaptive;       // spend the random candidates where the energy is high
};

// Bands are swept on their own, so that the number of threads cannot matter: a band's first row sees the row before it as
// it was when the sweep began, and its own copy of the occupancy. The heights are part of the result.
constexpr int kBandRows = 32, kOccupiedBandRows = 64;

namespace detail {

class BandSweep {
public:
    BandSweep(Level& level, const SweepPlan& plan, Occupancy* occupancy)
        : level_(level), plan_(plan), occupancy_(occupancy), width_(level.size().width) {}

    // `outside` is the row next to the band's first one, or null; returns the sum of the energies.
    double run(int begin, int end, const Point* outside) {
        double sum = 0;
        const int step = plan_.forward ? 1 : -1;
        const Point* before = outside;
        for (int i = 0; i < end - begin; ++i) {
            const int y = plan_.forward ? begin + i : end - 1 - i;
            Point* row = &level_.nnf[size_t(y) * width_];
            for (int k = 0; k < width_; ++k) {
                const int x = plan_.forward ? k : width_ - 1 - k;
                sum += double(visit(y, x, k ? &row[x - step] : nullptr, before ? &before[x] : nullptr, step));
            }
            before = row;
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
        return occupancy_ ? int64_t(level_.occupancy_price * occupancy_->at(n)) : 0;
    }

    // Tries the neighbours' correspondences and random ones; returns the energy of the one kept.
    int64_t visit(int y, int x, const Point* beside, const Point* above, int step) {
        const size_t id = size_t(y) * width_ + x;
        if ((!level_.awake.empty() && !level_.awake[id]) || (!level_.target_mask.empty() && !level_.target_mask[id]))
            return level_.energy[id] == kUnknown ? 0 : level_.energy[id];
        const Point start = level_.nnf[id];
        current_ = start;
        // [0] is the present correspondence, scored again only if the style was voted since.
        Point candidates[Level::kMaxCandidates] = {start};
        int count = 1;
        const auto offer = [&](int ny, int nx) {
            if (!inside(ny, nx)) return;
            const Point n{int16_t(ny), int16_t(nx)};
            if (n == current_ || (count == 2 && n == candidates[1]) || !level_.allows(n)) return;
            candidates[count++] = n;
        };
        if (beside) offer(beside->y, beside->x + step);
        if (above) offer(above->y + step, above->x);
        const bool known = level_.energy_is_current && level_.energy[id] != kUnknown;
        if (known)
            energy_ = level_.energy[id];
        else
            level_.energies(y, x, candidates, level_.bounded ? 1 : count, scores_);
        if (!known) energy_ = scores_[0];
        total_ = energy_ + occupancy_of(current_);
        if (known || level_.bounded)
            try_all(y, x, candidates + 1, count - 1);
        else
            for (int i = 1; i < count; ++i) keep_better(candidates[i], scores_[i]);

        count = 0;
        uint32_t bits = scramble(uint32_t(id), plan_.seed);
        const int wanted = random_count(bits);
        for (int k = 0, radius = plan_.random_radius; k < wanted; ++k) {
            const Size size = level_.source.size;
            const int border = level_.border;
            const int ny = pick(bits >> 16, std::max(current_.y - radius, border),
                                std::min(current_.y + radius, size.height - 1 - border));
            const int nx = pick(bits, std::max(current_.x - radius, border),
                                std::min(current_.x + radius, size.width - 1 - border));
            const Point n{int16_t(ny), int16_t(nx)};
            bits = scramble(bits);
            if (!(n == current_) && level_.allows(n)) candidates[count++] = n;
            radius = radius > 3 ? radius / 4 : k >= plan_.random_candidates - 1 ? plan_.random_radius : 1;
        }
        try_all(y, x, candidates, count);

        level_.energy[id] = energy_;
        if (!(current_ == start)) {
            level_.nnf[id] = current_;
            if (occupancy_) occupancy_->move(start, current_);
        }
        return energy_;
    }

    // A good match is seldom bettered: of those below a tenth of the mean only every fourth is tried once.
    int random_count(uint32_t bits) const {
        if (!plan_.adaptive || plan_.mean_energy <= 0) return plan_.random_candidates;
        const double energy = double(energy_), mean = plan_.mean_energy;
        const int count = energy < 0.1 * mean   ? ((bits & 3) == 0 ? 1 : 0)
                          : energy < 0.5 * mean ? 1
                          : energy < 2 * mean   ? plan_.random_candidates
                                                : 2 * plan_.random_candidates;
        return std::min(count, Level::kMaxCandidates);
    }

    void keep_better(Point n, int64_t energy) {
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
    Occupancy* occupancy_;
    const int width_;
    Point current_{0, 0};
    int64_t energy_ = 0, total_ = 0;  // of the current one, without and with occupancy
    int64_t scores_[Level::kMaxCandidates];
};

}  // namespace detail

// Returns the mean energy of the pixels afterwards.
inline double sweep(Level& level, const SweepPlan& plan, Pool& pool) {
    const Size size = level.size();
    const bool occupied = level.occupancy_price > 0;
    const int band_rows = occupied ? kOccupiedBandRows : kBandRows, bands = bands_of(size.height, band_rows);
    std::vector<Point> edges(size_t(bands) * size.width);
    for (int band = 0; band < bands; ++band) {
        const int row = plan.forward ? band * band_rows - 1 : (band + 1) * band_rows;
        if (row >= 0 && row < size.height)
            std::copy_n(&level.nnf[size_t(row) * size.width], size.width, &edges[size_t(band) * size.width]);
    }
    std::vector<double> sums(bands);
    std::vector<Occupancy> copies(occupied ? pool.threads() : 0);
    pool.run(bands, [&](int band, int worker) {
        const int begin = band * band_rows, end = std::min(begin + band_rows, size.height);
        const bool has_edge = plan.forward ? begin > 0 : end < size.height;
        if (occupied) copies[worker] = level.occupancy;
        detail::BandSweep pass(level, plan, occupied ? &copies[worker] : nullptr);
        sums[band] = pass.run(begin, end, has_edge ? &edges[size_t(band) * size.width] : nullptr);
    });
    level.energy_is_current = true;
    if (occupied) level.occupancy.count(level.nnf);
    double sum = 0;
    for (double part : sums) sum += part;
    return sum / double(size.pixels());
}

// Every pixel's exact energy for the style as last voted.
inline void refresh_energies(Level& level, Pool& pool) {
    const Size size = level.size();
    for_rows(pool, size.height, [&](int begin, int end) {
        for (int y = begin; y < end; ++y)
            for (int x = 0; x < size.width; ++x) {
                const size_t id = size_t(y) * size.width + x;
                level.energies(y, x, &level.nnf[id], 1, &level.energy[id]);
            }
    });
}

}  // namespace ebs
