// Where a level's search starts.
#pragma once

#include "types.h"

namespace ebs {
namespace kernels {

// Where patches may be centred. `places` lists them if there is a source mask.
struct Admission {
    Extent source;
    int border;
    Batch<const uint8_t> mask;
    Batch<const Point> places;
    Batch<const uint32_t> place_count;
    uint32_t seed;

    EBS_HD Point nearest(int pair, uint32_t id, int y, int x) const {
        const Point n =
            point(clamp(y, border, source.height - 1 - border), clamp(x, border, source.width - 1 - border));
        if (!mask || mask.of(pair)[source.at(n.y, n.x)]) return n;
        return places.of(pair)[uint64_t(scramble(id, seed)) * *place_count.of(pair) >> 32];
    }
};

enum class Start { random, identity, given };

struct StartNnf {
    Admission admission;
    Extent size;  // of the target's level
    Start start;
    uint32_t seed;
    Batch<const Point> given;  // the caller's, at level 0
    Extent given_size;
    int given_shift;
    Batch<const uint8_t> only_where_zero;  // a target mask: the others are left; null: everywhere
    Batch<Point> out;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(size.height, size.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        const int y = p.y(), x = p.x();
        if (!size.holds(y, x)) return;
        const size_t id = size.at(y, x);
        if (only_where_zero && only_where_zero.of(p.block_z)[id]) return;
        const Extent source = admission.source;
        int ny, nx;
        if (start == Start::given) {
            const int fy = min_of(y << given_shift, given_size.height - 1);
            const int fx = min_of(x << given_shift, given_size.width - 1);
            const Point n = given.of(p.block_z)[given_size.at(fy, fx)];
            ny = min_of(n.y >> given_shift, source.height - 1);
            nx = min_of(n.x >> given_shift, source.width - 1);
        } else if (start == Start::identity) {
            ny = int(int64_t(y) * source.height / size.height);
            nx = int(int64_t(x) * source.width / size.width);
        } else {
            const uint32_t bits = scramble(uint32_t(id), seed);
            ny = pick(bits >> 16, admission.border, source.height - 1 - admission.border);
            nx = pick(bits, admission.border, source.width - 1 - admission.border);
        }
        out.of(p.block_z)[id] = admission.nearest(p.block_z, uint32_t(id), ny, nx);
    }
};

struct Enlarge {
    Admission admission;
    Extent coarse_size, size;
    Batch<const Point> coarse;
    Batch<Point> out;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(size.height, size.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        const int y = p.y(), x = p.x();
        if (!size.holds(y, x)) return;
        const Point n = coarse.of(
            p.block_z)[coarse_size.at(min_of(y / 2, coarse_size.height - 1), min_of(x / 2, coarse_size.width - 1))];
        const size_t id = size.at(y, x);
        out.of(p.block_z)[id] = admission.nearest(p.block_z, uint32_t(id), 2 * n.y + (y & 1), 2 * n.x + (x & 1));
    }
};

}  // namespace kernels
}  // namespace ebs
