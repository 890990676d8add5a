// The search: one pass tries a pixel's few candidates and writes what it keeps into a second NNF (Jacobi), so that the
// order in which blocks run can't be seen in the result.
#pragma once

#include "score.h"

namespace ebs {
namespace kernels {

// Far above every energy, and one byte repeated, so that memory can be filled with it.
constexpr int kUnknownByte = 0x7f;
constexpr int64_t kUnknown = 0x7f7f7f7f7f7f7f7f;
// Sums over all pixels leave out the energies' lowest bits, so that 64 bits are enough.
constexpr int kSumShift = 10;
constexpr int kMaxLanes = 32;
constexpr int kMaxNeighbours = 8, kMaxRandom = 16;
// As many threads in a row draw the same random numbers: where their correspondences agree, their candidates lie side
// by side in memory and are read together. Energies end as low as with numbers of their own (within 0.4 %, either way).
constexpr int kSharers = 16;

// What a pass reads and writes, the same for every pass of a level.
struct SearchState {
    Field source, target;
    Modulation modulation;
    int32_t weights[kMaxLanes];
    int patch, border;
    Batch<int64_t> energy;                  // of each pixel's correspondence when it was last scored; kUnknown
    Batch<uint8_t> changed;                 // gets 1 where a pixel finds something better; null: not wanted
    Batch<const uint8_t> awake;             // 0: rests, for its style hardly moved; null: all are awake
    Batch<const uint8_t> source_mask;       // 0: no patch is centred here; null: allowed everywhere
    Batch<const uint8_t> target_mask;       // 0: keeps its correspondence; null: all are searched
    Batch<const unsigned long long> total;  // of SumEnergies after the last sweep, one number a pair; 0: not known yet
    // The same when the round began: who rests in it must not wake with an energy from before the vote.
    Batch<const unsigned long long> round_total;
    Batch<const float> overlap;             // see occupancy.h; null: no occupancy term
    float occupancy_price;

    EBS_HD bool admits(int pair, int y, int x) const {
        return y >= border && x >= border && y < source.size.height - border && x < source.size.width - border &&
               (!source_mask || source_mask.of(pair)[source.size.at(y, x)]);
    }

    // The price of a patch at n beside all used ones but the pixel's own, which now sits at `own`.
    EBS_HD int64_t occupancy_energy(int pair, Point n, Point own) const {
        if (!overlap) return 0;
        const int y = max_of(patch - max_of(n.y - own.y, own.y - n.y), 0);
        const int x = max_of(patch - max_of(n.x - own.x, own.x - n.x), 0);
        return int64_t(occupancy_price * (overlap.of(pair)[source.size.at(n.y, n.x)] - float(y * x)));
    }
};

// What one pass tries.
struct PassPlan {
    int jump;                          // also what the four neighbours at this distance found; 0 or 1: only the nearest
    bool neighbours, everyone, known;  // everyone: masked and resting pixels too; known: energies are up to date
    int random_candidates, random_radius;
    uint32_t seed;
    int spread, phase_y, phase_x;  // only every spread-th pixel from the phase on
    Batch<const Point> given;      // the caller's NNF as a further candidate; null: none
    Extent given_size;
    int given_shift;  // the level: its coordinates are the caller's shifted right
};

template <int kPatch, Reading kReading>
struct Sweep {
    SearchState state;
    PassPlan plan;
    Batch<const Point> before;
    Batch<Point> after;  // of pixels outside of the phase it must hold the same as `before`

    static constexpr bool kTiled = kReading == Reading::tile;

    Grid grid(int pairs) const {
        const Extent size = state.target.size;
        return grid_over((size.height + plan.spread - 1) / plan.spread, (size.width + plan.spread - 1) / plan.spread,
                         pairs);
    }

    EBS_HD Tile tile() const { return {kPatch ? kPatch : state.patch, plan.spread, state.target.groups}; }
    size_t shared_bytes() const { return tile().bytes(); }

    EBS_HD void load(const Place& p, void* shared) const {
        const int reach = tile().patch / 2;
        tile().load(state.target, p.block_z, p.block_y * kBlockHeight * plan.spread + plan.phase_y - reach,
                    p.block_x * kBlockWidth * plan.spread + plan.phase_x - reach, p.thread,
                    static_cast<LanePair*>(shared));
    }

    EBS_HD void run(const Place& p, const void* shared) const {
        const int y = p.y() * plan.spread + plan.phase_y, x = p.x() * plan.spread + plan.phase_x;
        if (!state.target.size.holds(y, x)) return;
        const size_t id = state.target.size.at(y, x);
        const Point start = before.of(p.block_z)[id];
        if (!plan.everyone &&
            (rests(p.block_z, id) || (state.target_mask && !state.target_mask.of(p.block_z)[id]))) {
            after.of(p.block_z)[id] = start;
            return;
        }
        const int in_tile =
            p.thread / kBlockWidth * plan.spread * tile().width() + p.thread % kBlockWidth * plan.spread;
        const Scorer<kPatch, kReading> score{state.source,
                                             state.target,
                                             state.modulation,
                                             state.weights,
                                             static_cast<const LanePair*>(shared) + in_tile,
                                             state.patch,
                                             tile().width(),
                                             tile().plane(),
                                             p.block_z,
                                             y,
                                             x};
        int64_t& energy = state.energy.of(p.block_z)[id];
        Best best{start, start, energy, 0};
        if (!plan.known || best.energy == kUnknown) best.energy = score(start, kUnknown);
        best.total = best.energy + state.occupancy_energy(p.block_z, start, start);

        // Few of the neighbours differ; gathered first, they keep the threads of a warp together.
        Point candidates[kMaxNeighbours + 1];
        const int count = gather(p.block_z, y, x, start, candidates);
        for (int i = 0; i < count; ++i) offer(p.block_z, score, candidates[i], best);

        uint32_t bits = scramble(uint32_t(state.target.size.at(y, x - p.thread % kSharers * plan.spread)), plan.seed);
        const int wanted = random_count(p.block_z, best.energy, bits);
        // A pixel in trouble looks everywhere.
        const Extent size = state.source.size;
        const int widest = wanted > plan.random_candidates ? max_of(size.height, size.width) : plan.random_radius;
        for (int k = 0, radius = widest; k < wanted; ++k) {
            const int border = state.border;
            const Point n = point(pick(bits >> 16, max_of(best.point.y - radius, border),
                                       min_of(best.point.y + radius, size.height - 1 - border)),
                                  pick(bits, max_of(best.point.x - radius, border),
                                       min_of(best.point.x + radius, size.width - 1 - border)));
            bits = scramble(bits);
            if (!(n == best.point) && state.admits(p.block_z, n.y, n.x)) offer(p.block_z, score, n, best);
            radius = radius > 3 ? radius / 4 : radius > 1 ? 1 : widest;
        }
        energy = best.energy;
        after.of(p.block_z)[id] = best.point;
        if (state.changed && !(best.point == start)) state.changed.of(p.block_z)[id] = 1;
    }

private:
    struct Best {
        Point point, start;
        int64_t energy, total;  // without and with occupancy
    };

    EBS_HD int gather(int pair, int y, int x, Point start, Point* candidates) const {
        int count = 0;
        const auto add = [&](int ny, int nx) {
            if (!state.admits(pair, ny, nx)) return;
            const Point n = point(ny, nx);
            if (n == start) return;
            for (int i = 0; i < count; ++i)
                if (candidates[i] == n) return;
            candidates[count++] = n;
        };
        if (plan.given) {
            const int fy = min_of(y << plan.given_shift, plan.given_size.height - 1);
            const int fx = min_of(x << plan.given_shift, plan.given_size.width - 1);
            const Point n = plan.given.of(pair)[plan.given_size.at(fy, fx)];
            add(min_of(n.y >> plan.given_shift, state.source.size.height - 1),
                min_of(n.x >> plan.given_shift, state.source.size.width - 1));
        }
        if (!plan.neighbours) return count;
        const Point* field = before.of(pair);
        for (int distance = 1; distance; distance = distance == 1 && plan.jump > 1 ? plan.jump : 0)
            for (int k = 0; k < 4; ++k) {
                const int dy = k == 0 ? -distance : k == 1 ? distance : 0;
                const int dx = k == 2 ? -distance : k == 3 ? distance : 0;
                if (!state.target.size.holds(y + dy, x + dx)) continue;
                const Point n = field[state.target.size.at(y + dy, x + dx)];
                add(n.y - dy, n.x - dx);
            }
        return count;
    }

    EBS_HD void offer(int pair, const Scorer<kPatch, kReading>& score, Point n, Best& best) const {
        const int64_t occupancy = state.occupancy_energy(pair, n, best.start), limit = best.total - occupancy;
        if (limit <= 0) return;
        const int64_t energy = score(n, limit);
        if (energy < limit) best = {n, best.start, energy, energy + occupancy};
    }

    // What the last vote left as it was, unless its energy is high.
    EBS_HD bool rests(int pair, size_t id) const {
        if (!state.awake || state.awake.of(pair)[id]) return false;
        const int64_t mean = mean_of(state.round_total, pair);
        return mean == 0 || 10 * (state.energy.of(pair)[id] >> kSumShift) <= 7 * mean;
    }

    // 0: not known.
    EBS_HD int64_t mean_of(Batch<const unsigned long long> total, int pair) const {
        return total ? int64_t(*total.of(pair) / state.target.size.pixels()) : 0;
    }

    // A good match is seldom bettered: of those below a tenth of the mean only every fourth is tried once.
    EBS_HD int random_count(int pair, int64_t energy, uint32_t bits) const {
        const int usual = plan.random_candidates;
        const int64_t mean = mean_of(state.total, pair);
        if (usual == 0 || mean == 0) return usual;
        energy >>= kSumShift;
        const int count = 10 * energy < mean  ? ((bits & 3) == 0 ? 1 : 0)
                          : 2 * energy < mean ? 1
                          : energy < 2 * mean ? usual
                                              : 2 * usual;
        return min_of(count, kMaxRandom);
    }
};

// Adds up the energies of a pair.
struct SumEnergies {
    Batch<const int64_t> energy;
    Batch<unsigned long long> total;  // 0 before
    size_t pixels;

    static constexpr bool kTiled = false;
    static constexpr size_t kPixelsAThread = 64;

    Grid grid(int pairs) const {
        const size_t block = kPixelsAThread * kBlockThreads;
        return {int((pixels + block - 1) / block), 1, pairs};
    }

    EBS_HD void run(const Place& p, const void*) const {
        size_t i = size_t(p.block_x) * kPixelsAThread * kBlockThreads + size_t(p.thread);
        unsigned long long sum = 0;
        for (size_t k = 0; k < kPixelsAThread && i < pixels; ++k, i += kBlockThreads) {
            const int64_t e = energy.of(p.block_z)[i];
            if (e != kUnknown) sum += static_cast<unsigned long long>(e >> kSumShift);
        }
        if (sum) add_to(total.of(p.block_z), sum);
    }
};

// What the caller gets: energies in his units.
struct DeliverError {
    Batch<const int64_t> energy;
    Batch<float> error;
    double scale;
    size_t pixels;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return {int((pixels + kBlockThreads - 1) / kBlockThreads), 1, pairs}; }

    EBS_HD void run(const Place& p, const void*) const {
        const size_t i = size_t(p.block_x) * kBlockThreads + size_t(p.thread);
        if (i < pixels) error.of(p.block_z)[i] = float(double(energy.of(p.block_z)[i]) * scale);
    }
};

}  // namespace kernels
}  // namespace ebs
