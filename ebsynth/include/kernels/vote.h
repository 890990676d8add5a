// Voting on the device: every target pixel gathers what the patches over it bring along.
#pragma once

#include "field.h"

namespace ebs {
namespace kernels {

// Up to eight channels in two lanes; three divisions a pixel and channel are nothing beside P x P loads.
struct Vote {
    Field source;  // with the style's lanes
    Extent size;   // of the target
    int patch, first_lane, channels;
    Batch<const Point> nnf;
    Batch<const uint16_t> weights;  // one a pixel, at most 256; null: the mean
    Field target;                   // gets the style's lanes; no pixels: not wanted
    Batch<uint8_t> dense;           // gets the channels side by side; null: not wanted
    Batch<uint8_t> moved;           // gets 1 where a colour changed by more than the threshold, or the NNF; or null
    Batch<const uint8_t> changed;   // where the NNF did since the last vote; null: look at colours alone
    int threshold;

    static constexpr bool kTiled = true;
    Grid grid(int pairs) const { return grid_over(size.height, size.width, pairs); }

    EBS_HD int tile_width() const { return kBlockWidth + patch - 1; }
    EBS_HD int tile_height() const { return kBlockHeight + patch - 1; }
    size_t shared_bytes() const { return size_t(tile_width()) * size_t(tile_height()) * sizeof(Point); }

    // The patches that reach over the block; outside of the target there are none.
    EBS_HD void load(const Place& p, void* shared) const {
        Point* tile = static_cast<Point*>(shared);
        const int reach = patch / 2;
        for (int i = p.thread; i < tile_width() * tile_height(); i += kBlockThreads) {
            const int y = p.block_y * kBlockHeight + i / tile_width() - reach;
            const int x = p.block_x * kBlockWidth + i % tile_width() - reach;
            tile[i] = size.holds(y, x) ? nnf.of(p.block_z)[size.at(y, x)] : point(kNowhere, kNowhere);
        }
    }

    EBS_HD void run(const Place& p, const void* shared) const {
        const int y = p.y(), x = p.x();
        if (!size.holds(y, x)) return;
        for (int lane = 0; 4 * lane < channels; ++lane) {
            uint32_t sums[4] = {0, 0, 0, 0}, votes = 0;
            gather(p, static_cast<const Point*>(shared), lane, sums, votes);
            paint(p.block_z, y, x, lane, sums, votes);
        }
    }

private:
    // Far outside of every source, whatever a patch's reach.
    static constexpr int kNowhere = -16384;

    EBS_HD void gather(const Place& p, const Point* tile, int lane, uint32_t* sums, uint32_t& votes) const {
        const int reach = patch / 2, ty = p.thread / kBlockWidth, tx = p.thread % kBlockWidth;
        const uint32_t* style = source.lane(p.block_z, first_lane + lane);
        for (int row = 0; row < patch; ++row) {
            // The patch centred at (dy, dx) from here brings its pixel at (-dy, -dx).
            const int dy = row - reach;
            const Point* centres = tile + (ty + row) * tile_width() + tx;
            EBS_UNROLL_SOME
            for (int column = 0; column < patch; ++column) {
                const int sy = centres[column].y - dy, sx = centres[column].x - (column - reach);
                if (!source.size.holds(sy, sx)) continue;
                const uint32_t pixel = style[2 * source.at(sy, sx)];
                const uint32_t weight = weights ? weight_at(p.block_z, p.y() + dy, p.x() + column - reach) : 1;
                for (int c = 0; c < 4; ++c) sums[c] += weight * (pixel >> (8 * c) & 255);
                votes += weight;
            }
        }
    }

    EBS_HD uint32_t weight_at(int pair, int y, int x) const { return weights.of(pair)[size.at(y, x)]; }

    // Means are rounded half up. The pixel's own patch always votes, so that there is one vote at least.
    EBS_HD void paint(int pair, int y, int x, int lane, const uint32_t* sums, uint32_t votes) const {
        const size_t id = size.at(y, x);
        uint32_t* at = target.pixels ? &target.lane(pair, first_lane + lane)[2 * target.at(y, x)] : nullptr;
        const uint32_t old = at ? *at : 0;
        uint32_t pixel = 0;
        int most = 0;
        for (int c = 0; c < 4 && 4 * lane + c < channels; ++c) {
            const uint32_t mean = (2 * sums[c] + votes) / (2 * votes);
            most = max_of(most, int(mean) - int(old >> (8 * c) & 255));
            most = max_of(most, int(old >> (8 * c) & 255) - int(mean));
            pixel |= mean << (8 * c);
            if (dense) dense.of(pair)[id * size_t(channels) + size_t(4 * lane + c)] = uint8_t(mean);
        }
        if (at) *at = pixel;
        if (moved) {
            uint8_t& mark = moved.of(pair)[id];
            mark = uint8_t((lane > 0 && mark) || most > threshold || (changed && changed.of(pair)[id]));
        }
    }
};

// Weights of an error-weighted vote: 256 m / (m + error), m the mean error, at least 1.
struct WeighErrors {
    Batch<const float> error;
    Batch<const unsigned long long> total;
    Batch<uint16_t> weights;
    double scale;
    size_t pixels;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return {int((pixels + kBlockThreads - 1) / kBlockThreads), 1, pairs}; }

    EBS_HD void run(const Place& p, const void*) const {
        const size_t i = size_t(p.block_x) * kBlockThreads + size_t(p.thread);
        if (i >= pixels) return;
        const double mean =
            double(*total.of(p.block_z)) * scale / double(pixels);  // `scale` makes it the caller's unit
        uint16_t weight = 256;
        if (mean > 0) {
            const double share = 256.0 * mean / (mean + double(error.of(p.block_z)[i]));
            weight = uint16_t(share < 1.0 ? 1.0 : share);
        }
        weights.of(p.block_z)[i] = weight;
    }
};

// 1 wherever `reach` pixels to either side, in a row or a column, hold a 1: once along each, it grows a square.
struct Dilate {
    Batch<const uint8_t> in;
    Batch<uint8_t> out;
    Extent size;
    int reach;
    bool rows;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(size.height, size.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (!size.holds(p.y(), p.x())) return;
        const uint8_t* from = in.of(p.block_z);
        uint8_t any = 0;
        for (int i = -reach; i <= reach && !any; ++i) {
            const int y = p.y() + (rows ? 0 : i), x = p.x() + (rows ? i : 0);
            if (size.holds(y, x)) any = from[size.at(y, x)];
        }
        out.of(p.block_z)[size.at(p.y(), p.x())] = any;
    }
};

}  // namespace kernels
}  // namespace ebs
