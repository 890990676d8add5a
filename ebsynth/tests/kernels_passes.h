// Passes of the search against a restatement: candidates in order, each of which must beat the best so far.
#pragma once

#include "kernels_scene.h"

namespace ebs_test {

struct Pass {
    std::string name;
    Wishes wishes;
    int patch = 5, pad = 2, border = 0, jump = 1, randoms = 2, radius = 8, spread = 1;
    bool neighbours = true, known = false, masks = false, modulated = false, occupied = false, given = false;
    bool adaptive = true;
};

// What a pixel keeps, said as a list of candidates in order of which each must beat the best so far.
struct NaivePass {
    const Pass& pass;
    const Scene& scene;
    const std::vector<Point>&before, &given;
    const std::vector<int64_t>& energies;
    const std::vector<float>& overlap;
    const std::vector<uint8_t>&source_mask, &target_mask, &awake;
    const std::vector<unsigned long long>&total, &round_total;
    uint32_t seed;
    float price;

    naive::Point kept{}, first{};
    int64_t energy = 0, best = 0;

    size_t id(int pair, int y, int x) const {
        return size_t(pair) * scene.pixels() + size_t(y) * scene.wishes.width + x;
    }
    size_t source_id(int pair, naive::Point n) const {
        return (size_t(pair) * scene.wishes.source_height + size_t(n.y)) * scene.wishes.source_width + size_t(n.x);
    }
    bool admits(int pair, naive::Point n) const {
        return n.y >= pass.border && n.x >= pass.border && n.y < scene.wishes.source_height - pass.border &&
               n.x < scene.wishes.source_width - pass.border && (!pass.masks || source_mask[source_id(pair, n)]);
    }
    // Without what the pixel's own patch shares with it.
    int64_t crowd(int pair, naive::Point n, naive::Point own) const {
        if (!pass.occupied) return 0;
        const float self = float(naive::overlap({own}, pass.patch, n));
        return int64_t(price * (overlap[source_id(pair, n)] - self));
    }
    int64_t score(int pair, int y, int x, naive::Point n) const {
        return scene.energy(pair, pass.patch, y, x, n, pass.modulated);
    }

    void run(int pair, int y, int x) {
        const Point start = before[id(pair, y, x)];
        kept = {start.y, start.x};
        energy = energies[id(pair, y, x)];
        const int64_t usual = int64_t(round_total[size_t(pair)] / scene.pixels());
        const bool low = usual == 0 || 10 * (energy >> 10) <= 7 * usual;
        if (pass.masks && ((!awake[id(pair, y, x)] && low) || !target_mask[id(pair, y, x)])) return;
        if (pass.spread == 2 && (y % 2 != 1 || x % 2 != 0)) return;
        if (!pass.known || energy == kUnknown) energy = score(pair, y, x, kept);
        first = kept;
        best = energy + crowd(pair, kept, first);
        std::vector<naive::Point> list;
        const auto add = [&](naive::Point n) {
            if (admits(pair, n) && !(n == first) && std::find(list.begin(), list.end(), n) == list.end())
                list.push_back(n);
        };
        if (pass.given) add({given[id(pair, y, x)].y, given[id(pair, y, x)].x});
        std::vector<int> distances = {1};
        if (pass.jump > 1) distances.push_back(pass.jump);
        if (pass.neighbours)
            for (int d : distances)
                for (const auto& step : {naive::Point{-d, 0}, {d, 0}, {0, -d}, {0, d}}) {
                    const int py = y + step.y, px = x + step.x;
                    if (py < 0 || px < 0 || py >= scene.wishes.height || px >= scene.wishes.width) continue;
                    const Point n = before[id(pair, py, px)];
                    add({n.y - step.y, n.x - step.x});
                }
        for (naive::Point n : list) offer(pair, y, x, n);
        // Sixteen neighbours of a phase share their numbers.
        const int first_of_16 = x / (16 * pass.spread) * 16 * pass.spread;
        uint32_t bits = naive::scramble(uint32_t(y * scene.wishes.width + first_of_16), seed);
        int wanted = pass.randoms;
        if (pass.adaptive && wanted && total[size_t(pair)]) {
            const int64_t mean = int64_t(total[size_t(pair)] / scene.pixels()), own = energy >> 10;
            wanted = 10 * own < mean ? (bits % 4 == 0) : 2 * own < mean ? 1 : own < 2 * mean ? wanted : 2 * wanted;
        }
        const int widest = wanted > pass.randoms ? std::max(scene.wishes.source_height, scene.wishes.source_width)
                                                 : pass.radius;
        int radius = widest;
        for (int k = 0; k < wanted; ++k) {
            const int low_y = std::max(kept.y - radius, pass.border), low_x = std::max(kept.x - radius, pass.border);
            const int high_y = std::min(kept.y + radius, scene.wishes.source_height - 1 - pass.border);
            const int high_x = std::min(kept.x + radius, scene.wishes.source_width - 1 - pass.border);
            const naive::Point n{naive::pick(bits >> 16, low_y, high_y), naive::pick(bits, low_x, high_x)};
            bits = naive::scramble(bits);
            if (admits(pair, n)) offer(pair, y, x, n);
            radius = radius > 3 ? radius / 4 : radius > 1 ? 1 : widest;
        }
    }

    void offer(int pair, int y, int x, naive::Point n) {
        const int64_t e = score(pair, y, x, n), sum = e + crowd(pair, n, first);
        if (sum < best) kept = n, energy = e, best = sum;
    }
};

template <int kPatch, Reading kReading>
void check_pass(const Pass& pass) {
    const Scene scene(pass.wishes, pass.pad);
    const size_t pixels = scene.pixels(), sources = scene.source.field.size.pixels();
    const std::vector<Point> before = scene.random_nnf(pass.border, 11), given = scene.random_nnf(0, 12);
    std::vector<Point> after = before;
    std::vector<int64_t> energies(2 * pixels, kUnknown);
    std::vector<uint8_t> source_mask(2 * sources), target_mask(2 * pixels), awake(2 * pixels);
    std::vector<float> overlap(2 * sources);
    for (size_t i = 0; i < 2 * pixels; ++i) {
        target_mask[i] = naive::scramble(uint32_t(i)) % 3 != 0, awake[i] = naive::scramble(uint32_t(i), 1) % 3 != 0;
        const int pair = int(i / pixels), y = int(i % pixels) / pass.wishes.width,
                  x = int(i % pixels) % pass.wishes.width;
        if (pass.known && i % 5)
            energies[i] = scene.energy(pair, pass.patch, y, x, {before[i].y, before[i].x}, pass.modulated);
    }
    for (size_t i = 0; i < 2 * sources; ++i) {
        source_mask[i] = naive::scramble(uint32_t(i), 2) % 3 != 0;
        overlap[i] = float(naive::scramble(uint32_t(i), 3) % 100000);
    }
    const int64_t typical =
        scene.energy(0, pass.patch, 5 % pass.wishes.height, 9, {before[9].y, before[9].x}, pass.modulated);
    std::vector<unsigned long long> total = {static_cast<unsigned long long>(typical >> kSumShift) * pixels, 0};
    const std::vector<unsigned long long> round_total = {2 * total[0], total[0] / 2};
    std::vector<uint32_t> scales(2 * pixels * size_t((pass.wishes.guide_lanes + 3) / 4));
    for (size_t pair = 0; pair < 2; ++pair)
        std::memcpy(&scales[pair * scales.size() / 2], scene.scales[pair].bytes.data(), scales.size() * 2);

    SearchState state = scene.state(pass.patch, pass.border);
    std::vector<uint8_t> marks(2 * pixels);
    state.changed = {marks.data(), pixels};
    const std::vector<int64_t> energies_before = energies;
    state.energy = {energies.data(), pixels};
    state.total = view(total, 1), state.round_total = view(round_total, 1);
    state.occupancy_price = float(typical) / 200000;
    if (pass.occupied) state.overlap = view(overlap, sources);
    if (pass.masks)
        state.source_mask = view(source_mask, sources), state.target_mask = view(target_mask, pixels),
        state.awake = view(awake, pixels);
    if (pass.modulated)
        state.modulation.scales = {scales.data(), scales.size() / 2}, state.modulation.size = state.target.size,
        state.modulation.words = (pass.wishes.guide_lanes + 3) / 4, state.modulation.lanes = pass.wishes.guide_lanes;
    PassPlan plan{};
    plan.jump = pass.jump, plan.neighbours = pass.neighbours, plan.known = pass.known;
    plan.random_candidates = pass.randoms, plan.random_radius = pass.radius, plan.seed = 4711;
    plan.spread = pass.spread;
    if (pass.spread == 2) plan.phase_y = 1;
    if (pass.given) plan.given = view(given, pixels), plan.given_size = state.target.size;
    HostDevice device;
    device.launch(Sweep<kPatch, kReading>{state, plan, view(before, pixels), {after.data(), pixels}}, 2);

    NaivePass expected{pass,        scene, before, given, energies_before,      overlap, source_mask,
                       target_mask, awake, total, round_total, 4711, state.occupancy_price};
    size_t changed = 0;
    std::string difference = everywhere(pass.wishes.height, pass.wishes.width, [&](int pair, int y, int x) {
        expected.run(pair, y, x);
        const size_t id = expected.id(pair, y, x);
        changed += !(before[id] == after[id]);
        if (marks[id] != !(before[id] == after[id])) return false;
        return after[id].y == expected.kept.y && after[id].x == expected.kept.x && energies[id] == expected.energy;
    });
    if (difference.empty() && (pass.neighbours || pass.randoms || pass.given) && changed * 20 < pixels)
        difference = "hardly a pixel found anything better, so that this says nothing";
    report("pass: " + pass.name, difference);
}

inline void check_passes() {
    Pass plain;
    plain.name = "patch 5", check_pass<5, Reading::tile>(plain);
    plain.name = "patch 5, run-time instance", check_pass<0, Reading::tile>(plain);
    plain.name = "patch 5, no tile", check_pass<0, Reading::clamped>(plain);
    Pass p = plain;
    p.name = "scores only", p.neighbours = false, p.randoms = 0, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "patch 11, distance 8", p.patch = 11, p.pad = 5, p.jump = 8, check_pass<11, Reading::tile>(p);
    p = plain, p.name = "patch 21", p.patch = 21, p.pad = 10, p.wishes.height = 9, check_pass<21, Reading::tile>(p);
    p = plain, p.name = "patch 33", p.patch = 33, p.pad = 16, p.wishes.height = 3, check_pass<0, Reading::tile>(p);
    p = plain, p.name = "patch 3 in a wider padding", p.patch = 3, p.pad = 5, check_pass<0, Reading::tile>(p);
    p = plain, p.name = "four lanes in two groups", p.wishes.guide_lanes = 3, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "one lane", p.wishes.style_channels = 0, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "32 lanes", p.wishes.guide_lanes = 30, p.wishes.style_channels = 8, p.wishes.height = 5,
    check_pass<0, Reading::clamped>(p);
    p = plain, p.name = "known energies", p.known = true, p.jump = 3, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "masks", p.masks = true, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "modulation", p.modulated = true, p.wishes.guide_lanes = 2, check_pass<0, Reading::clamped>(p);
    p = plain, p.name = "inside a border, anywhere", p.border = 2, p.radius = 60, p.randoms = 5,
    check_pass<5, Reading::tile>(p);
    p = plain, p.name = "occupancy, one pixel of four", p.occupied = true, p.spread = 2, p.border = 2, p.jump = 3;
    check_pass<5, Reading::tile>(p);
    p = plain, p.name = "given", p.given = true, p.neighbours = false, p.randoms = 0, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "a single row", p.wishes.height = 1, check_pass<5, Reading::tile>(p);
}

}  // namespace ebs_test
