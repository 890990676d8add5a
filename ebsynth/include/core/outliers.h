// Pixels that the search left far behind the others look at the whole source.
#pragma once

#include <algorithm>
#include <cmath>

#include "level.h"

namespace ebs {

// As at what comes into view at a target's edge: nothing near leads to its match, and chance may miss it.
constexpr double kOutlyingEnergy = 8;  // times the mean
// Candidates for all outliers together, for each pixel of the level; many outliers try a coarser grid of the source.
constexpr double kOutlierEffort = 8;

// For a level without occupancy whose energies are current; sweeps that follow refine and spread what is found.
inline void search_outliers(Level& level, double mean_energy, Pool& pool) {
    const double limit = kOutlyingEnergy * mean_energy;
    const auto lags = [&](size_t id) {
        return level.energy[id] != kUnknown && double(level.energy[id]) > limit &&
               (level.target_mask.empty() || level.target_mask[id]);
    };
    size_t outliers = 0;
    for (size_t id = 0; id < level.energy.size(); ++id) outliers += lags(id);
    if (outliers == 0) return;
    const Size size = level.size(), source = level.source.size;
    const double share = double(outliers) * double(source.pixels()) / (kOutlierEffort * double(size.pixels()));
    const int step = std::max(1, int(std::ceil(std::sqrt(share))));
    for_rows(pool, size.height, [&](int begin, int end) {
        Point candidates[Level::kMaxCandidates];
        int64_t energies[Level::kMaxCandidates];
        for (size_t id = size_t(begin) * size.width; id < size_t(end) * size.width; ++id) {
            if (!lags(id)) continue;
            const int y = int(id / size_t(size.width)), x = int(id % size_t(size.width));
            int count = 0;
            const auto try_all = [&] {
                level.energies(y, x, candidates, count, energies);
                for (int i = 0; i < count; ++i)
                    if (energies[i] < level.energy[id]) level.energy[id] = energies[i], level.nnf[id] = candidates[i];
                count = 0;
            };
            // Neighbours start their grids apart, and hand on what they find.
            for (int sy = level.border + y % step; sy < source.height - level.border; sy += step)
                for (int sx = level.border + x % step; sx < source.width - level.border; sx += step) {
                    const Point n{int16_t(sy), int16_t(sx)};
                    if (level.allows(n)) candidates[count++] = n;
                    if (count == Level::kMaxCandidates) try_all();
                }
            if (count > 0) try_all();
        }
    });
}

}  // namespace ebs
