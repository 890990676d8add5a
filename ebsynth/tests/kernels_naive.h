// What the kernels compute, said again in the plainest way: no tiles, no packing, no early end, one pixel after the
// other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace naive {

struct Point {
    int y, x;
    bool operator==(Point o) const { return y == o.y && x == o.x; }
};

// Interleaved bytes.
struct Image {
    int height, width, channels;
    std::vector<uint8_t> bytes;
    int at(int y, int x, int c) const { return bytes[(size_t(y) * width + x) * channels + c]; }
    int clamped(int y, int x, int c) const { return at(std::clamp(y, 0, height - 1), std::clamp(x, 0, width - 1), c); }
};

inline Image halve(const Image& fine) {
    Image half{fine.height / 2, fine.width / 2, fine.channels, {}};
    for (int y = 0; y < half.height; ++y)
        for (int x = 0; x < half.width; ++x)
            for (int c = 0; c < fine.channels; ++c) {
                const int sum = fine.at(2 * y, 2 * x, c) + fine.at(2 * y, 2 * x + 1, c) + fine.at(2 * y + 1, 2 * x, c) +
                                fine.at(2 * y + 1, 2 * x + 1, c);
                half.bytes.push_back(uint8_t((sum + 2) / 4));
            }
    return half;
}

// `scales`: none, or one channel for each of the first lanes; four channels share the weight of their lane.
inline int64_t energy(const Image& source, const Image& target, const Image* scales, int scaled_lanes,
                      const std::vector<int32_t>& lane_weights, int patch, int y, int x, Point n) {
    int64_t total = 0;
    for (int dy = -patch / 2; dy <= patch / 2; ++dy)
        for (int dx = -patch / 2; dx <= patch / 2; ++dx)
            for (int c = 0; c < source.channels; ++c) {
                const int64_t d = source.clamped(n.y + dy, n.x + dx, c) - target.clamped(y + dy, x + dx, c);
                int64_t term = lane_weights[size_t(c / 4)] * d * d;
                if (scales) term *= c / 4 < scaled_lanes ? scales->clamped(y + dy, x + dx, c / 4) : 255;
                total += term;
            }
    return scales ? total / 255 : total;
}

// The mean, rounded half up, of what the patches over (y, x) bring; `weights` may be empty.
inline int vote(const Image& style, const std::vector<Point>& nnf, int height, int width,
                const std::vector<uint16_t>& weights, int patch, int y, int x, int channel) {
    int64_t sum = 0, votes = 0;
    for (int py = y - patch / 2; py <= y + patch / 2; ++py)
        for (int px = x - patch / 2; px <= x + patch / 2; ++px) {
            if (py < 0 || px < 0 || py >= height || px >= width) continue;
            const size_t id = size_t(py) * width + px;
            const int sy = nnf[id].y + y - py, sx = nnf[id].x + x - px;
            if (sy < 0 || sx < 0 || sy >= style.height || sx >= style.width) continue;
            const int64_t weight = weights.empty() ? 1 : weights[id];
            sum += weight * style.at(sy, sx, channel);
            votes += weight;
        }
    return int((2 * sum + votes) / (2 * votes));
}

// How much the patch at n has in common with all the patches in use.
inline int64_t overlap(const std::vector<Point>& nnf, int patch, Point n) {
    int64_t sum = 0;
    for (Point used : nnf)
        sum += int64_t(std::max(0, patch - std::abs(used.y - n.y))) * std::max(0, patch - std::abs(used.x - n.x));
    return sum;
}

inline uint32_t scramble(uint32_t v) {
    v ^= v >> 16;
    v *= 0x21f0aaadu;
    v ^= v >> 15;
    v *= 0x735a2d97u;
    return v ^ v >> 15;
}

inline uint32_t scramble(uint32_t a, uint32_t b) { return scramble(a * 0x9e3779b9u ^ scramble(b)); }

inline int pick(uint32_t bits, int low, int high) {
    return low + int(uint64_t(bits % 65536) * uint64_t(high - low + 1) / 65536);
}

}  // namespace naive
