// Every kernel, run by the CPU, against its restatement in kernels_naive.h: equal to the last bit.
//
// Prints one line for each check, "ok NAME" or "FAILED NAME: what differs", and exits with the number of failures.
#include "kernels_passes.h"
#include "kernels_rounds.h"

using namespace ebs_test;
using namespace ebs::kernels;

namespace {

// ---- pyramid

void check_pyramid() {
    Wishes w;
    w.height = 37, w.width = 50, w.source_height = 41, w.source_width = 33, w.guide_lanes = 2, w.style_channels = 3;
    const int pad = 4;
    Scene scene(w, pad);
    OwnField half({20, 16}, pad, 3, 2);
    scene.device.launch(Halve{scene.source.field, half.field}, 2);
    report("pack", everywhere(41 + 2 * pad, 33 + 2 * pad, [&](int pair, int y, int x) {
               for (int c = 0; c < 16; ++c) {
                   const int expected = c < 12 ? scene.sources[size_t(pair)].clamped(y - pad, x - pad, c) : 0;
                   if (scene.source.byte(pair, y - pad, x - pad, c) != expected) return false;
               }
               return true;
           }));
    const naive::Image halves[2] = {naive::halve(scene.sources[0]), naive::halve(scene.sources[1])};
    report("halve", everywhere(20 + 2 * pad, 16 + 2 * pad, [&](int pair, int y, int x) {
               for (int c = 0; c < 12; ++c)
                   if (half.byte(pair, y - pad, x - pad, c) != halves[pair].clamped(y - pad, x - pad, c)) return false;
               return true;
           }));
    w.guide_lanes = 6;
    Scene modulated(w, 0);
    std::vector<uint32_t> fine(2 * modulated.pixels() * 2), coarse(2 * 18 * 25 * 2);
    for (size_t pair = 0; pair < 2; ++pair)
        std::memcpy(&fine[pair * modulated.pixels() * 2], modulated.scales[pair].bytes.data(), modulated.pixels() * 8);
    Modulation a, b;
    a.scales = {fine.data(), modulated.pixels() * 2}, a.size = {37, 50}, a.words = 2, a.lanes = 6;
    b.scales = {coarse.data(), 18 * 25 * 2}, b.size = {18, 25}, b.words = 2, b.lanes = 6;
    modulated.device.launch(HalveModulation{a, b}, 2);
    const naive::Image scale_halves[2] = {naive::halve(modulated.scales[0]), naive::halve(modulated.scales[1])};
    report("halve modulation", everywhere(18, 25, [&](int pair, int y, int x) {
               for (int lane = 0; lane < 6; ++lane)
                   if (int(b.scale(pair, y, x, lane)) != scale_halves[pair].at(y, x, lane)) return false;
               return true;
           }));
}

// ---- votes

void check_votes(int patch, int channels, bool weighted) {
    Wishes w;
    w.style_channels = channels;
    Scene scene(w, patch / 2);
    const std::vector<Point> nnf = scene.random_nnf(0, 5);
    std::vector<uint16_t> weights;
    if (weighted)
        for (size_t i = 0; i < 2 * scene.pixels(); ++i)
            weights.push_back(uint16_t(1 + naive::scramble(uint32_t(i)) % 256));
    std::vector<uint8_t> dense(2 * scene.pixels() * size_t(channels)), moved(2 * scene.pixels(), 7);
    const std::vector<naive::Image> before = scene.targets;
    Vote vote{};
    vote.source = scene.source.field, vote.size = {w.height, w.width};
    vote.patch = patch, vote.first_lane = w.guide_lanes, vote.channels = channels;
    vote.nnf = view(nnf, scene.pixels());
    if (weighted) vote.weights = view(weights, scene.pixels());
    vote.target = scene.target.field;
    vote.dense = {dense.data(), scene.pixels() * size_t(channels)};
    vote.moved = {moved.data(), scene.pixels()};
    vote.threshold = 60;
    std::vector<uint8_t> changed(2 * scene.pixels());
    for (size_t i = 0; i < changed.size(); ++i) changed[i] = i % 11 == 0;
    if (weighted) vote.changed = view(changed, scene.pixels());
    scene.device.launch(vote, 2);
    const std::vector<naive::Point> points[2] = {scene.naive_nnf(nnf, 0), scene.naive_nnf(nnf, 1)};
    std::vector<uint16_t> own[2];
    if (weighted)
        for (size_t i = 0; i < weights.size(); ++i) own[i / scene.pixels()].push_back(weights[i]);
    const std::string difference = everywhere(w.height, w.width, [&](int pair, int y, int x) {
        const size_t id = size_t(pair) * scene.pixels() + size_t(y) * w.width + x;
        int most = 0;
        for (int c = 0; c < channels; ++c) {
            const int expected =
                naive::vote(scene.styles[size_t(pair)], points[pair], w.height, w.width, own[pair], patch, y, x, c);
            if (dense[id * size_t(channels) + size_t(c)] != expected) return false;
            if (scene.target.byte(pair, y, x, 4 * w.guide_lanes + c) != expected) return false;
            most = std::max(most, std::abs(expected - before[size_t(pair)].at(y, x, 4 * w.guide_lanes + c)));
        }
        // The guides stay as they were.
        return scene.target.byte(pair, y, x, 1) == before[size_t(pair)].at(y, x, 1) &&
               moved[id] == (most > 60 || (weighted && id % 11 == 0));
    });
    report("vote, patch " + std::to_string(patch) + ", " + std::to_string(channels) + " channels" +
               (weighted ? ", weighted" : ""),
           difference);
}

void check_dilate() {
    const Extent size{19, 23};
    std::vector<uint8_t> in(2 * size.pixels()), rows(in.size()), out(in.size());
    for (size_t i = 0; i < in.size(); ++i) in[i] = naive::scramble(uint32_t(i)) % 60 == 0;
    HostDevice device;
    device.launch(Dilate{view(in, size.pixels()), {rows.data(), size.pixels()}, size, 2, true}, 2);
    device.launch(Dilate{view(rows, size.pixels()), {out.data(), size.pixels()}, size, 2, false}, 2);
    report("dilate", everywhere(size.height, size.width, [&](int pair, int y, int x) {
               bool any = false;
               for (int dy = -2; dy <= 2; ++dy)
                   for (int dx = -2; dx <= 2; ++dx)
                       if (size.holds(y + dy, x + dx))
                           any |= in[size_t(pair) * size.pixels() + size.at(y + dy, x + dx)] != 0;
               return out[size_t(pair) * size.pixels() + size.at(y, x)] == any;
           }));
}

// ---- occupancy and the start

void check_occupancy(int patch) {
    Wishes w;
    Scene scene(w, 0);
    const Extent source{w.source_height, w.source_width};
    std::vector<Point> nnf = scene.random_nnf(patch / 2, 3);
    for (size_t i = 0; i < nnf.size(); i += 3) nnf[i] = point(20, 20);  // a crowd
    std::vector<uint32_t> uses(2 * source.pixels());
    std::vector<unsigned long long> rows(uses.size());
    std::vector<float> overlap(uses.size());
    scene.device.launch(
        CountUses{view(nnf, scene.pixels()), {w.height, w.width}, source, {uses.data(), source.pixels()}}, 2);
    scene.device.launch(TriangleRows{view(uses, source.pixels()), {rows.data(), source.pixels()}, source, patch}, 2);
    scene.device.launch(TriangleColumns{view(rows, source.pixels()), {overlap.data(), source.pixels()}, source, patch},
                        2);
    const std::vector<naive::Point> points[2] = {scene.naive_nnf(nnf, 0), scene.naive_nnf(nnf, 1)};
    report("occupancy, patch " + std::to_string(patch),
           everywhere(source.height, source.width, [&](int pair, int y, int x) {
               return overlap[size_t(pair) * source.pixels() + source.at(y, x)] ==
                      float(naive::overlap(points[pair], patch, {y, x}));
           }));
}

void check_starts() {
    const Extent fine{23, 31}, coarse{11, 15}, source{26, 21};
    const int border = 2;
    std::vector<Point> from(2 * coarse.pixels()), out(2 * fine.pixels());
    for (size_t i = 0; i < from.size(); ++i)
        from[i] = point(int(naive::scramble(uint32_t(i)) % 13), int(naive::scramble(uint32_t(i + 999)) % 10));
    HostDevice device;
    const Admission admission{source, border, {}, {}, {}, 1};
    device.launch(Enlarge{admission, coarse, fine, view(from, coarse.pixels()), {out.data(), fine.pixels()}}, 2);
    report("enlarge", everywhere(fine.height, fine.width, [&](int pair, int y, int x) {
               const Point n =
                   from[size_t(pair) * coarse.pixels() + coarse.at(std::min(y / 2, 10), std::min(x / 2, 14))];
               const Point expected =
                   point(std::clamp(2 * n.y + y % 2, border, 23), std::clamp(2 * n.x + x % 2, border, 18));
               return out[size_t(pair) * fine.pixels() + fine.at(y, x)] == expected;
           }));
    // A mask with a single place left.
    std::vector<uint8_t> mask(2 * source.pixels());
    std::vector<Point> place = {point(9, 8), point(4, 5)};
    const std::vector<uint32_t> count = {1, 1};
    for (size_t pair = 0; pair < 2; ++pair) mask[pair * source.pixels() + source.at(place[pair].y, place[pair].x)] = 1;
    const Admission narrow{source, border, view(mask, source.pixels()), view(place, 1), view(count, 1), 1};
    device.launch(Enlarge{narrow, coarse, fine, view(from, coarse.pixels()), {out.data(), fine.pixels()}}, 2);
    report("enlarge into a mask", everywhere(fine.height, fine.width, [&](int pair, int y, int x) {
               return out[size_t(pair) * fine.pixels() + fine.at(y, x)] == place[size_t(pair)];
           }));
    device.launch(StartNnf{admission, fine, Start::identity, 0, {}, {}, 0, {}, {out.data(), fine.pixels()}}, 2);
    report("identity start", everywhere(fine.height, fine.width, [&](int pair, int y, int x) {
               const Point expected = point(std::clamp(y * 26 / 23, 2, 23), std::clamp(x * 21 / 31, 2, 18));
               return out[size_t(pair) * fine.pixels() + fine.at(y, x)] == expected;
           }));
    device.launch(StartNnf{admission, fine, Start::random, 77, {}, {}, 0, {}, {out.data(), fine.pixels()}}, 2);
    report("random start", everywhere(fine.height, fine.width, [&](int pair, int y, int x) {
               const uint32_t bits = naive::scramble(uint32_t(fine.at(y, x)), 77);
               const Point expected = point(naive::pick(bits >> 16, 2, 23), naive::pick(bits, 2, 18));
               return out[size_t(pair) * fine.pixels() + fine.at(y, x)] == expected;
           }));
}

// ---- sums

void check_sums() {
    const size_t pixels = 70001;
    std::vector<int64_t> energies(2 * pixels);
    std::vector<unsigned long long> total(2);
    unsigned long long expected[2] = {0, 0};
    for (size_t i = 0; i < energies.size(); ++i) {
        energies[i] = i % 7 ? int64_t(naive::scramble(uint32_t(i))) << (i % 20) : kUnknown;
        if (i % 7) expected[i / pixels] += static_cast<unsigned long long>(energies[i]) / 1024;
    }
    HostDevice device;
    device.launch(SumEnergies{view(energies, pixels), {total.data(), 1}, pixels}, 2);
    report("sum of energies", total[0] == expected[0] && total[1] == expected[1] ? "" : "another sum");

    std::vector<float> error(2 * pixels);
    std::vector<uint16_t> weights(2 * pixels);
    for (size_t i = 0; i < error.size(); ++i) error[i] = float(naive::scramble(uint32_t(i)) % 10000);
    const std::vector<unsigned long long> sum = {static_cast<unsigned long long>(pixels) * 500, 0};
    device.launch(WeighErrors{view(error, pixels), view(sum, 1), {weights.data(), pixels}, 2.0, pixels}, 2);
    report("weights of errors", everywhere(1, int(pixels), [&](int pair, int, int x) {
               const size_t id = size_t(pair) * pixels + size_t(x);
               const double share = 256.0 * 1000 / (1000 + double(error[id]));
               return weights[id] == (pair ? 256 : std::max(1, int(share)));
           }));
}

// A whole search must not depend on what else is in its batch.
void check_batches() {
    for (const Wishes& w : ebs_test::all_kinds()) {
        const ebs_plan plan = ebs_test::plan_of(w, 9);
        std::vector<std::unique_ptr<RandomTask>> together, alone;
        std::vector<ebs_task> tasks, single;
        for (uint32_t i = 0; i < 3; ++i) {
            together.push_back(std::make_unique<RandomTask>(w, i)), alone.push_back(std::make_unique<RandomTask>(w, i));
            tasks.push_back(together.back()->task), single.push_back(alone.back()->task);
        }
        search_on_host(tasks.data(), 3, plan, 3);
        search_on_host(single.data(), 3, plan, 1);
        std::string difference;
        for (size_t i = 0; i < 3; ++i) {
            if (together[i]->nnf != alone[i]->nnf || together[i]->error != alone[i]->error ||
                together[i]->voted != alone[i]->voted)
                difference = "pair " + std::to_string(i) + " is another one in a batch";
            if (w.source_mask)
                for (size_t k = 0; k < alone[i]->error.size(); ++k)
                    if (!alone[i]->source_mask[size_t(alone[i]->nnf[2 * k]) * size_t(w.source_width) +
                                               size_t(alone[i]->nnf[2 * k + 1])])
                        difference = "a patch is centred where the mask forbids it";
        }
        report("batch: " + std::string(w.name), difference);
    }
}

}  // namespace

int main() {
    check_pyramid();
    check_votes(5, 3, false), check_votes(21, 3, false), check_votes(11, 1, true), check_votes(3, 8, false),
        check_votes(7, 6, true);
    check_dilate();
    check_occupancy(5), check_occupancy(21);
    check_starts();
    check_passes();
    check_sums();
    check_rounds();
    check_batches();
    return failures;
}
