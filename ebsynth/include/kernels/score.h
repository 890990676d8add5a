// The energy of a target patch and a source patch, exact in 64 bits.
//
// A candidate costs one 8-byte load of the target (shared memory), one of the source (coalesced where neighbours agree,
// which is nearly everywhere) and a difference and a dot product for each lane, all for two lanes at once. The rows go
// in an order that spreads them over the patch, and a candidate is dropped after the row at which it can't win any
// more: bad ones cost two or three rows.
#pragma once

#include "field.h"

namespace ebs {
namespace kernels {

enum class Reading {
    tile,     // the block's part of the target lies in shared memory
    clamped,  // the target is read where it is: more lanes than a tile holds, or modulated weights
};

// What a block of threads shares: the target around the block's pixels. Threads stand `spread` pixels apart.
struct Tile {
    int patch, spread, groups;

    EBS_HD int width() const { return (kBlockWidth - 1) * spread + patch; }
    EBS_HD int height() const { return (kBlockHeight - 1) * spread + patch; }
    EBS_HD int plane() const { return width() * height(); }
    EBS_HD size_t bytes() const { return size_t(plane()) * size_t(groups) * sizeof(LanePair); }

    // `top`, `left`: the image's pixel at the tile's first one.
    EBS_HD void load(const Field& target, int pair, int top, int left, int thread, LanePair* tile) const {
        const LanePair* from = target.pixels.of(pair);
        for (int i = thread; i < plane(); i += kBlockThreads) {
            const int y = clamp(top + i / width(), 0, target.size.height - 1);
            const int x = clamp(left + i % width(), 0, target.size.width - 1);
            for (int g = 0; g < groups; ++g) tile[g * plane() + i] = from[size_t(g) * target.plane() + target.at(y, x)];
        }
    }
};

// Coprime to every odd patch size, and far enough to skip over what a row's neighbours tell as well.
EBS_HD int row_step(int patch) { return patch >= 17 ? 8 : patch >= 9 ? 4 : 2; }

// One target pixel's patch against any source patch. kPatch 0: known at run time only.
template <int kPatch, Reading kReading>
struct Scorer {
    const Field &source, &target;
    const Modulation& modulation;
    const int32_t* weights;
    const LanePair* patch_in_tile;
    int run_time_patch, tile_width, tile_plane, pair, y, x;

    EBS_HD int patch() const { return kPatch ? kPatch : run_time_patch; }

    // The energy, or some lower bound of it that is `limit` or more.
    EBS_HD int64_t operator()(Point n, int64_t limit) const {
        const int reach = patch() / 2, step = row_step(patch());
        const LanePair* first = source.pixels.of(pair) + source.at(n.y - reach, n.x - reach);
        const bool scaled = kReading == Reading::clamped && modulation.scales;
        int64_t total = 0;
        for (int k = 0, row = reach; k < patch(); ++k) {
            for (int g = 0; g < source.groups; ++g) {
                const LanePair* s = first + size_t(g) * source.plane() + size_t(row) * size_t(source.pitch());
                uint32_t sum[2] = {0, 0};
                if (kReading == Reading::tile) {
                    const LanePair* t = patch_in_tile + g * tile_plane + row * tile_width;
                    EBS_UNROLL
                    for (int i = 0; i < patch(); ++i) add(t[i], s[i], sum);
                } else if (!scaled) {
                    const LanePair* t = target_row(g, row);
                    for (int i = 0; i < patch(); ++i) add(t[clamp(x + i - reach, 0, target.size.width - 1)], s[i], sum);
                } else {
                    total += modulated(g, row, s);
                    continue;
                }
                total += int64_t(uint64_t(sum[0]) * uint32_t(weights[2 * g]) +
                                 uint64_t(sum[1]) * uint32_t(weights[2 * g + 1]));
            }
            if (!scaled && total >= limit) return total;
            row += step;
            if (row >= patch()) row -= patch();
        }
        return scaled ? total / 255 : total;
    }

private:
    EBS_HD static void add(LanePair t, LanePair s, uint32_t* sum) {
        sum[0] = add_squares(t.lane[0], s.lane[0], sum[0]);
        sum[1] = add_squares(t.lane[1], s.lane[1], sum[1]);
    }

    EBS_HD const LanePair* target_row(int group, int row) const {
        const int at = clamp(y + row - patch() / 2, 0, target.size.height - 1);
        return target.pixels.of(pair) + size_t(group) * target.plane() + target.at(at, 0);
    }

    EBS_HD int64_t modulated(int group, int row, const LanePair* s) const {
        const LanePair* t = target_row(group, row);
        const int at_y = y + row - patch() / 2;
        int64_t total = 0;
        for (int i = 0; i < patch(); ++i) {
            const int at_x = x + i - patch() / 2;
            uint32_t sum[2] = {0, 0};
            add(t[clamp(at_x, 0, target.size.width - 1)], s[i], sum);
            for (int k = 0; k < 2; ++k)
                total += int64_t(uint64_t(sum[k]) * uint32_t(weights[2 * group + k])) *
                         modulation.scale(pair, at_y, at_x, 2 * group + k);
        }
        return total;
    }
};

}  // namespace kernels
}  // namespace ebs
