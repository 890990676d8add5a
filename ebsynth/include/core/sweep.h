// Sweeps over a whole level, in bands that threads can share.
#pragma once

#include "visit.h"

namespace ebs {

// Bands are swept on their own, so that the number of threads cannot matter: a band's first row sees the row before it as
// it was when the sweep began. These numbers are part of the result.
constexpr int kBandRows = 32;

// With occupancy, bands would crowd onto the same free places: they go slice by slice, tell each other their moves after
// each, and within a slice take it that one more patch makes each of their moves.
constexpr int kOccupiedBands = 8, kSliceRows = 8;
constexpr float kAlike = 2;

// Returns the mean energy of the pixels afterwards, without occupancy.
inline double sweep(Level& level, const SweepPlan& plan, Pool& pool) {
    const Size size = level.size();
    const bool occupied = level.occupancy_price > 0;
    const int band_rows = occupied ? std::max(kBandRows, bands_of(size.height, kOccupiedBands)) : kBandRows;
    const int bands = bands_of(size.height, band_rows);
    const bool shared = occupied && bands > 1;
    std::vector<Point> edges(size_t(bands) * size.width);
    for (int band = 0; band < bands; ++band) {
        const int row = plan.forward ? band * band_rows - 1 : (band + 1) * band_rows;
        if (row >= 0 && row < size.height)
            std::copy_n(&level.nnf[size_t(row) * size.width], size.width, &edges[size_t(band) * size.width]);
    }
    std::vector<double> sums(bands);
    std::vector<std::vector<Move>> moves(bands);
    std::vector<Occupancy> copies(shared ? pool.threads() : 0);
    const int slice_rows = shared ? kSliceRows : band_rows;
    for (int slice = 0; slice < band_rows; slice += slice_rows) {
        pool.run(bands, [&](int band, int worker) {
            const int first = band * band_rows, last = std::min(first + band_rows, size.height);
            const int begin = plan.forward ? first + slice : std::max(first, last - slice - slice_rows);
            const int end = plan.forward ? std::min(begin + slice_rows, last) : last - slice;
            if (begin >= end) return;
            const Point* outside = nullptr;
            if (slice > 0)
                outside = &level.nnf[size_t(plan.forward ? begin - 1 : end) * size.width];
            else if (plan.forward ? begin > 0 : end < size.height)
                outside = &edges[size_t(band) * size.width];
            Occupancy* occupancy = occupied ? &level.occupancy : nullptr;
            if (shared) *(occupancy = &copies[worker]) = level.occupancy;
            sums[band] += BandSweep(level, plan, occupancy, shared ? kAlike : 1, moves[band]).run(begin, end, outside);
        });
        if (!shared) continue;
        for (auto& list : moves) {
            for (const Move& move : list) level.occupancy.move(move.from, move.to, 1);
            list.clear();
        }
    }
    level.energy_is_current = true;
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
