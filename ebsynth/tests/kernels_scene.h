// What the checks of the kernels have in common: two pairs, on the device's side and on the naive one.
#pragma once

#include <cstdio>
#include <string>

#include "kernels/on_host.h"
#include "kernels_naive.h"
#include "random_task.h"

namespace ebs_test {

using namespace ebs::kernels;

inline int failures = 0;

inline void report(const std::string& name, const std::string& difference) {
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
        : wishes(w),
          lanes(w.guide_lanes + (w.style_channels + 3) / 4),
          source({w.source_height, w.source_width}, pad, lanes, 2),
          target({w.height, w.width}, 0, lanes, 2) {
        const int style_lanes = lanes - w.guide_lanes;
        std::vector<uint32_t> guides[2], style;
        for (uint32_t pair = 0; pair < 2; ++pair) {
            tasks.push_back(std::make_unique<RandomTask>(w, 17 + pair));
            const RandomTask& t = *tasks.back();
            // Votes into the target are the style's channels from somewhere: here noise, for the scores to tell.
            std::vector<uint8_t> voted(size_t(w.height) * w.width * 4 * style_lanes);
            for (size_t i = 0; i < voted.size(); ++i)
                voted[i] = int(i % size_t(4 * style_lanes)) < w.style_channels
                               ? uint8_t(naive::scramble(uint32_t(i), pair))
                               : 0;
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
        for (size_t i = 0; i < pixels(); ++i)
            out.push_back({nnf[size_t(pair) * pixels() + i].y, nnf[size_t(pair) * pixels() + i].x});
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

    naive::Image side_by_side(const std::vector<uint8_t>& guides, const std::vector<uint8_t>& style, int height,
                              int width, int style_lanes) const {
        naive::Image image{height, width, 4 * lanes, {}};
        for (size_t i = 0; i < size_t(height) * width; ++i) {
            for (int c = 0; c < 4 * wishes.guide_lanes; ++c)
                image.bytes.push_back(guides[i * 4 * size_t(wishes.guide_lanes) + size_t(c)]);
            for (int c = 0; c < 4 * style_lanes; ++c)
                image.bytes.push_back(style[i * 4 * size_t(style_lanes) + size_t(c)]);
        }
        return image;
    }
};

inline std::string at(int pair, int y, int x) {
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

}  // namespace ebs_test
