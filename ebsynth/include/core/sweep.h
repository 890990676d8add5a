// Sweeps over a whole level, in bands that threads can share.
#pragma once

#include "visit.h"

namespace ebs {

// Bands are swept on their own, so that the number of threads cannot matter: a band sees the rows next to it as they were
// when the sweep began. These numbers are part of the result.
constexpr int kBandRows = 32;

// With occupancy, bands would crowd onto the same free places: they go slice by slice, and after each one their moves are
// settled.
constexpr int kOccupiedBands = 8, kSliceRows = 8;

// Bands that search at once like the same free places. Their moves are made one after the other, and one that no longer
// gains, now that others are there, is taken back.
inline void settle(Level& level, const std::vector<Move>& moves) {
    const float price = kMovePrice * level.occupancy_price;
    for (const Move& move : moves) {
        const auto with_occupancy = [&](int64_t energy, Point n) {
            return energy + int64_t(price * level.occupancy.others_at(n, move.from));
        };
        if (with_occupancy(move.after, move.to) < with_occupancy(move.before, move.from)) {
            level.occupancy.move(move.from, move.to);
        } else {
            level.nnf[move.pixel] = move.from;
            level.energy[move.pixel] = move.before;
        }
    }
}

// Returns the mean energy of the pixels afterwards, without occupancy.
inline double sweep(Level& level, const SweepPlan& plan, Pool& pool) {
    const Size size = level.size();
    const size_t width = size_t(size.width);
    const bool occupied = level.occupancy_price > 0;
    const int band_rows = occupied ? std::max(kBandRows, bands_of(size.height, kOccupiedBands)) : kBandRows;
    const int slice_rows = occupied ? kSliceRows : band_rows;
    const int bands = bands_of(size.height, band_rows);
    // The rows above and below each band.
    std::vector<Point> edges(2 * size_t(bands) * width);
    for (int band = 0; band < bands; ++band) {
        const int above = band * band_rows - 1, below = (band + 1) * band_rows;
        if (above >= 0) std::copy_n(&level.nnf[size_t(above) * width], width, &edges[2 * size_t(band) * width]);
        if (below < size.height)
            std::copy_n(&level.nnf[size_t(below) * width], width, &edges[(2 * size_t(band) + 1) * width]);
    }
    std::vector<double> sums(static_cast<size_t>(bands));
    std::vector<std::vector<Move>> moves(sums.size());
    std::vector<std::unique_ptr<OccupancyView>> views;
    for (int i = 0; occupied && i < pool.threads(); ++i) views.push_back(std::make_unique<OccupancyView>(level.occupancy));
    for (int slice = 0; slice < band_rows; slice += slice_rows) {
        pool.run(bands, [&](int band, int worker) {
            const int first = band * band_rows, last = std::min(first + band_rows, size.height);
            const int begin = plan.forward ? first + slice : std::max(first, last - slice - slice_rows);
            const int end = plan.forward ? std::min(begin + slice_rows, last) : last - slice;
            if (begin >= end) return;
            const Point* edge = &edges[2 * size_t(band) * width];
            const Neighbourhood around{begin > first ? &level.nnf[size_t(begin - 1) * width] : begin > 0 ? edge : nullptr,
                                       end < last          ? &level.nnf[size_t(end) * width]
                                       : end < size.height ? edge + width
                                                           : nullptr};
            OccupancyView* occupancy = occupied ? views[size_t(worker)].get() : nullptr;
            if (occupancy) occupancy->reset();
            sums[size_t(band)] += BandSweep(level, plan, occupancy, moves[size_t(band)]).run(begin, end, around);
        });
        for (auto& list : moves) {
            settle(level, list);
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
