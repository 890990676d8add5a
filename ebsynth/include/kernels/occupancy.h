// How often the source's patches are used.
//
// For every source pixel n: the sum over the patch around n of how many used patches cover that pixel. Two patches at
// distance (dy, dx) share (P - |dy|) (P - |dx|) pixels, so that this is the histogram of the NNF under a
// triangle-shaped filter along each axis. The table stands still while a pass runs: only one pixel of each 2 x 2 moves
// in a pass, and the uses are counted anew before the next one, so that neighbours don't all flee to the same free
// place.
#pragma once

#include "types.h"

namespace ebs {
namespace kernels {

struct CountUses {
    Batch<const Point> nnf;
    Extent size, source;
    Batch<uint32_t> uses;  // 0 before

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(size.height, size.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (!size.holds(p.y(), p.x())) return;
        const Point n = nnf.of(p.block_z)[size.at(p.y(), p.x())];
        add_to(&uses.of(p.block_z)[source.at(n.y, n.x)], 1u);
    }
};

// Integers, because a crowd on one spot is more than 32 bits hold.
struct TriangleRows {
    Batch<const uint32_t> uses;
    Batch<unsigned long long> out;
    Extent source;
    int patch;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(source.height, source.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (!source.holds(p.y(), p.x())) return;
        const uint32_t* row = uses.of(p.block_z) + source.at(p.y(), 0);
        unsigned long long sum = 0;
        for (int x = max_of(p.x() - patch + 1, 0); x <= min_of(p.x() + patch - 1, source.width - 1); ++x)
            sum += static_cast<unsigned long long>(row[x]) *
                   static_cast<unsigned>(patch - (x < p.x() ? p.x() - x : x - p.x()));
        out.of(p.block_z)[source.at(p.y(), p.x())] = sum;
    }
};

struct TriangleColumns {
    Batch<const unsigned long long> rows;
    Batch<float> overlap;
    Extent source;
    int patch;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(source.height, source.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (!source.holds(p.y(), p.x())) return;
        unsigned long long sum = 0;
        for (int y = max_of(p.y() - patch + 1, 0); y <= min_of(p.y() + patch - 1, source.height - 1); ++y)
            sum += rows.of(p.block_z)[source.at(y, p.x())] *
                   static_cast<unsigned>(patch - (y < p.y() ? p.y() - y : y - p.y()));
        overlap.of(p.block_z)[source.at(p.y(), p.x())] = float(sum);
    }
};

}  // namespace kernels
}  // namespace ebs
