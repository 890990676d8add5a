// Every kernel, run by the CPU, against its restatement in kernels_naive.h: equal to the last bit.
//
// Prints one line for each check, "ok NAME" or "FAILED NAME: what differs", and exits with the number of failures.
#include <cstdio>
#include <functional>
#include <set>
#include <string>

#include "kernels/on_host.h"
#include "kernels_naive.h"
#include "random_task.h"

using namespace ebs::kernels;
using ebs_test::RandomTask;
using ebs_test::Wishes;

namespace {

int failures = 0;

void report(const std::string& name, const std::string& difference) {
    if (difference.empty()) {
        std::printf("ok %s\n", name.c_str());
    } else {
        std::printf("FAILED %s: %s\n", name.c_str(), difference.c_str());
        ++failures;
    }
}

template <class T>
Batch<const T> view(const std::vector<T>& values, size_t stride) {
    return {values.data(), stride};
}

// A field with its memory, packed and halved by the kernels.
struct OwnField {
    std::vector<LanePair> memory;
    Field field;

    OwnField(Extent size, int pad, int lanes, int pairs) {
        field.size = size, field.pad = pad, field.groups = (lanes + 1) / 2;
        memory.assign(field.count() * size_t(pairs), {{0xdeadbeefu, 0xdeadbeefu}});
        field.pixels = {memory.data(), field.count()};
    }

    int byte(int pair, int y, int x, int channel) const {
        return field.lane(pair, channel / 4)[2 * field.at(y, x)] >> (8 * (channel % 4)) & 255;
    }
};

// Source and target of two pairs on the device's side and on the naive one.
struct Scene {
    Wishes wishes;
    int lanes;
    std::vector<std::unique_ptr<RandomTask>> tasks;
    std::vector<naive::Image> sources, targets, styles, scales;
    OwnField source, target;
    std::vector<int32_t> weights;
    HostDevice device;

    Scene(const Wishes& w, int pad)
        : wishes(w), lanes(w.guide_lanes + (w.style_channels + 3) / 4),
          source({w.source_height, w.source_width}, pad, lanes, 2), target({w.height, w.width}, 0, lanes, 2) {
        const int style_lanes = lanes - w.guide_lanes;
        std::vector<uint32_t> guides[2], style;
        for (uint32_t pair = 0; pair < 2; ++pair) {
            tasks.push_back(std::make_unique<RandomTask>(w, 17 + pair));
            const RandomTask& t = *tasks.back();
            // Votes into the target are the style's channels from somewhere: here noise, for the scores to tell.
            std::vector<uint8_t> voted(size_t(w.height) * w.width * 4 * style_lanes);
            for (size_t i = 0; i < voted.size(); ++i)
                voted[i] = int(i % size_t(4 * style_lanes)) < w.style_channels ? uint8_t(naive::scramble(uint32_t(i), pair)) : 0;
            sources.push_back(side_by_side(t.source, t.style, w.source_height, w.source_width, style_lanes));
            targets.push_back(side_by_side(t.target, voted, w.height, w.width, style_lanes));
            styles.push_back({w.source_height, w.source_width, 4 * style_lanes, t.style});
            scales.push_back({w.height, w.width, (w.guide_lanes + 3) / 4 * 4, t.modulation});
            append(guides[0], t.source), append(guides[1], t.target), append(style, t.style);
            append(voted_words, voted);
        }
        const size_t from = size_t(w.source_height) * w.source_width, to = size_t(w.height) * w.width;
        const size_t lanes_given = size_t(w.guide_lanes);
        device.launch(Pack{source.field, view(guides[0], from * lanes_given), view(style, from * size_t(style_lanes)),
                           w.guide_lanes, style_lanes},
                      2);
        device.launch(Pack{target.field, view(guides[1], to * lanes_given), view(voted_words, to * size_t(style_lanes)),
                           w.guide_lanes, style_lanes},
                      2);
        for (int i = 0; i < lanes; ++i) weights.push_back(i < w.guide_lanes ? (1 << 20) - 7919 * i : 10486);
    }

    SearchState state(int patch, int border) const {
        SearchState s{};
        s.source = source.field, s.target = target.field;
        std::copy(weights.begin(), weights.end(), s.weights);
        s.patch = patch, s.border = border;
        return s;
    }

    size_t pixels() const { return size_t(wishes.height) * wishes.width; }

    // Half of it follows the movement, half points anywhere inside the border.
    std::vector<Point> random_nnf(int border, uint32_t seed) const {
        std::mt19937 random(seed);
        std::vector<Point> nnf;
        for (int pair = 0; pair < 2; ++pair)
            for (int y = 0; y < wishes.height; ++y)
                for (int x = 0; x < wishes.width; ++x) {
                    int ny = y + 3, nx = x - 2;
                    if (random() % 2) ny = int(random() % 1000), nx = int(random() % 1000);
                    ny = border + (ny + 1000) % (wishes.source_height - 2 * border);
                    nx = border + (nx + 1000) % (wishes.source_width - 2 * border);
                    nnf.push_back(point(ny, nx));
                }
        return nnf;
    }

    std::vector<naive::Point> naive_nnf(const std::vector<Point>& nnf, int pair) const {
        std::vector<naive::Point> out;
        for (size_t i = 0; i < pixels(); ++i) out.push_back({nnf[size_t(pair) * pixels() + i].y, nnf[size_t(pair) * pixels() + i].x});
        return out;
    }

    int64_t energy(int pair, int patch, int y, int x, naive::Point n, bool modulated) const {
        return naive::energy(sources[size_t(pair)], targets[size_t(pair)], modulated ? &scales[size_t(pair)] : nullptr,
                             wishes.guide_lanes, weights, patch, y, x, n);
    }

private:
    std::vector<uint32_t> voted_words;

    static void append(std::vector<uint32_t>& words, const std::vector<uint8_t>& bytes) {
        const size_t before = words.size();
        words.resize(before + bytes.size() / 4);
        if (!bytes.empty()) std::memcpy(&words[before], bytes.data(), bytes.size());
    }

    naive::Image side_by_side(const std::vector<uint8_t>& guides, const std::vector<uint8_t>& style, int height, int width,
                              int style_lanes) const {
        naive::Image image{height, width, 4 * lanes, {}};
        for (size_t i = 0; i < size_t(height) * width; ++i) {
            for (int c = 0; c < 4 * wishes.guide_lanes; ++c) image.bytes.push_back(guides[i * 4 * size_t(wishes.guide_lanes) + size_t(c)]);
            for (int c = 0; c < 4 * style_lanes; ++c) image.bytes.push_back(style[i * 4 * size_t(style_lanes) + size_t(c)]);
        }
        return image;
    }
};

std::string at(int pair, int y, int x) {
    return "pair " + std::to_string(pair) + ", row " + std::to_string(y) + ", column " + std::to_string(x);
}

template <class Check>
std::string everywhere(int height, int width, const Check& check) {
    for (int pair = 0; pair < 2; ++pair)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                if (!check(pair, y, x)) return at(pair, y, x);
    return "";
}

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
        for (size_t i = 0; i < 2 * scene.pixels(); ++i) weights.push_back(uint16_t(1 + naive::scramble(uint32_t(i)) % 256));
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
    scene.device.launch(vote, 2);
    const std::vector<naive::Point> points[2] = {scene.naive_nnf(nnf, 0), scene.naive_nnf(nnf, 1)};
    std::vector<uint16_t> own[2];
    if (weighted)
        for (size_t i = 0; i < weights.size(); ++i) own[i / scene.pixels()].push_back(weights[i]);
    const std::string difference = everywhere(w.height, w.width, [&](int pair, int y, int x) {
        const size_t id = size_t(pair) * scene.pixels() + size_t(y) * w.width + x;
        int most = 0;
        for (int c = 0; c < channels; ++c) {
            const int expected = naive::vote(scene.styles[size_t(pair)], points[pair], w.height, w.width, own[pair], patch, y, x, c);
            if (dense[id * size_t(channels) + size_t(c)] != expected) return false;
            if (scene.target.byte(pair, y, x, 4 * w.guide_lanes + c) != expected) return false;
            most = std::max(most, std::abs(expected - before[size_t(pair)].at(y, x, 4 * w.guide_lanes + c)));
        }
        // The guides stay as they were.
        return scene.target.byte(pair, y, x, 1) == before[size_t(pair)].at(y, x, 1) && moved[id] == (most > 60);
    });
    report("vote, patch " + std::to_string(patch) + ", " + std::to_string(channels) + " channels" + (weighted ? ", weighted" : ""),
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
                if (size.holds(y + dy, x + dx)) any |= in[size_t(pair) * size.pixels() + size.at(y + dy, x + dx)] != 0;
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
    scene.device.launch(CountUses{view(nnf, scene.pixels()), {w.height, w.width}, source, {uses.data(), source.pixels()}}, 2);
    scene.device.launch(TriangleRows{view(uses, source.pixels()), {rows.data(), source.pixels()}, source, patch}, 2);
    scene.device.launch(TriangleColumns{view(rows, source.pixels()), {overlap.data(), source.pixels()}, source, patch}, 2);
    const std::vector<naive::Point> points[2] = {scene.naive_nnf(nnf, 0), scene.naive_nnf(nnf, 1)};
    report("occupancy, patch " + std::to_string(patch), everywhere(source.height, source.width, [&](int pair, int y, int x) {
        return overlap[size_t(pair) * source.pixels() + source.at(y, x)] == float(naive::overlap(points[pair], patch, {y, x}));
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
        const Point n = from[size_t(pair) * coarse.pixels() + coarse.at(std::min(y / 2, 10), std::min(x / 2, 14))];
        const Point expected = point(std::clamp(2 * n.y + y % 2, border, 23), std::clamp(2 * n.x + x % 2, border, 18));
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

// ---- passes

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
    const std::vector<unsigned long long>& total;
    uint32_t seed;
    float price;

    naive::Point kept{};
    int64_t energy = 0, best = 0;

    size_t id(int pair, int y, int x) const { return size_t(pair) * scene.pixels() + size_t(y) * scene.wishes.width + x; }
    size_t source_id(int pair, naive::Point n) const {
        return (size_t(pair) * scene.wishes.source_height + size_t(n.y)) * scene.wishes.source_width + size_t(n.x);
    }
    bool admits(int pair, naive::Point n) const {
        return n.y >= pass.border && n.x >= pass.border && n.y < scene.wishes.source_height - pass.border &&
               n.x < scene.wishes.source_width - pass.border && (!pass.masks || source_mask[source_id(pair, n)]);
    }
    int64_t crowd(int pair, naive::Point n) const {
        return pass.occupied ? int64_t(price * overlap[source_id(pair, n)]) : 0;
    }
    int64_t score(int pair, int y, int x, naive::Point n) const {
        return scene.energy(pair, pass.patch, y, x, n, pass.modulated);
    }

    void run(int pair, int y, int x) {
        const Point start = before[id(pair, y, x)];
        kept = {start.y, start.x};
        energy = energies[id(pair, y, x)];
        if (pass.masks && (!awake[id(pair, y, x)] || !target_mask[id(pair, y, x)])) return;
        if (pass.spread == 2 && (y % 2 != 1 || x % 2 != 0)) return;
        if (!pass.known || energy == kUnknown) energy = score(pair, y, x, kept);
        best = energy + crowd(pair, kept);
        const naive::Point first = kept;
        std::vector<naive::Point> list;
        const auto add = [&](naive::Point n) {
            if (admits(pair, n) && !(n == first) && std::find(list.begin(), list.end(), n) == list.end()) list.push_back(n);
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
        int radius = pass.radius;
        for (int k = 0; k < wanted; ++k) {
            const int low_y = std::max(kept.y - radius, pass.border), low_x = std::max(kept.x - radius, pass.border);
            const int high_y = std::min(kept.y + radius, scene.wishes.source_height - 1 - pass.border);
            const int high_x = std::min(kept.x + radius, scene.wishes.source_width - 1 - pass.border);
            const naive::Point n{naive::pick(bits >> 16, low_y, high_y), naive::pick(bits, low_x, high_x)};
            bits = naive::scramble(bits);
            if (admits(pair, n)) offer(pair, y, x, n);
            radius = radius > 3 ? radius / 4 : k >= pass.randoms - 1 ? pass.radius : 1;
        }
    }

    void offer(int pair, int y, int x, naive::Point n) {
        const int64_t e = score(pair, y, x, n), sum = e + crowd(pair, n);
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
        const int pair = int(i / pixels), y = int(i % pixels) / pass.wishes.width, x = int(i % pixels) % pass.wishes.width;
        if (pass.known && i % 5) energies[i] = scene.energy(pair, pass.patch, y, x, {before[i].y, before[i].x}, pass.modulated);
    }
    for (size_t i = 0; i < 2 * sources; ++i) {
        source_mask[i] = naive::scramble(uint32_t(i), 2) % 3 != 0;
        overlap[i] = float(naive::scramble(uint32_t(i), 3) % 100000);
    }
    const int64_t typical = scene.energy(0, pass.patch, 5 % pass.wishes.height, 9, {before[9].y, before[9].x}, pass.modulated);
    std::vector<unsigned long long> total = {static_cast<unsigned long long>(typical >> kSumShift) * pixels, 0};
    std::vector<uint32_t> scales(2 * pixels * size_t((pass.wishes.guide_lanes + 3) / 4));
    for (size_t pair = 0; pair < 2; ++pair)
        std::memcpy(&scales[pair * scales.size() / 2], scene.scales[pair].bytes.data(), scales.size() * 2);

    SearchState state = scene.state(pass.patch, pass.border);
    const std::vector<int64_t> energies_before = energies;
    state.energy = {energies.data(), pixels};
    state.total = view(total, 1);
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

    NaivePass expected{pass, scene, before, given, energies_before, overlap, source_mask, target_mask, awake, total, 4711,
                       state.occupancy_price};
    size_t changed = 0;
    std::string difference = everywhere(pass.wishes.height, pass.wishes.width, [&](int pair, int y, int x) {
        expected.run(pair, y, x);
        const size_t id = expected.id(pair, y, x);
        changed += !(before[id] == after[id]);
        return after[id].y == expected.kept.y && after[id].x == expected.kept.x && energies[id] == expected.energy;
    });
    if (difference.empty() && (pass.neighbours || pass.randoms || pass.given) && changed * 20 < pixels)
        difference = "hardly a pixel found anything better, so that this says nothing";
    report("pass: " + pass.name, difference);
}

void check_passes() {
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
    p = plain, p.name = "32 lanes", p.wishes.guide_lanes = 30, p.wishes.style_channels = 8, p.wishes.height = 5, check_pass<0, Reading::clamped>(p);
    p = plain, p.name = "known energies", p.known = true, p.jump = 3, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "masks", p.masks = true, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "modulation", p.modulated = true, p.wishes.guide_lanes = 2, check_pass<0, Reading::clamped>(p);
    p = plain, p.name = "inside a border, anywhere", p.border = 2, p.radius = 60, p.randoms = 5, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "occupancy, one pixel of four", p.occupied = true, p.spread = 2, p.border = 2, p.jump = 3;
    check_pass<5, Reading::tile>(p);
    p = plain, p.name = "given", p.given = true, p.neighbours = false, p.randoms = 0, check_pass<5, Reading::tile>(p);
    p = plain, p.name = "a single row", p.wishes.height = 1, check_pass<5, Reading::tile>(p);
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
            if (together[i]->nnf != alone[i]->nnf || together[i]->error != alone[i]->error || together[i]->voted != alone[i]->voted)
                difference = "pair " + std::to_string(i) + " is another one in a batch";
            if (w.source_mask)
                for (size_t k = 0; k < alone[i]->error.size(); ++k)
                    if (!alone[i]->source_mask[size_t(alone[i]->nnf[2 * k]) * size_t(w.source_width) + size_t(alone[i]->nnf[2 * k + 1])])
                        difference = "a patch is centred where the mask forbids it";
        }
        report("batch: " + std::string(w.name), difference);
    }
}

}  // namespace

int main() {
    check_pyramid();
    check_votes(5, 3, false), check_votes(21, 3, false), check_votes(11, 1, true), check_votes(3, 8, false), check_votes(7, 6, true);
    check_dilate();
    check_occupancy(5), check_occupancy(21);
    check_starts();
    check_passes();
    check_sums();
    check_batches();
    return failures;
}
