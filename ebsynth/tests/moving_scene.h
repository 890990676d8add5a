// Two frames of a clip that needs no file: soft ground under a panning camera and a disc that goes its own way.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace ebs_test {

struct Picture {
    int height, width;
    std::vector<uint8_t> rgb;
};

class MovingScene {
public:
    MovingScene(int height, int width, uint32_t seed) : height_(height), width_(width) {
        std::mt19937 random(seed);
        for (auto& tile : tiles_) {
            tile.resize(kTile * kTile * 3);
            for (auto& v : tile) v = float(random() % 256) - 127.5f;
        }
    }

    Picture frame(double time) const {
        Picture out{height_, width_, {}};
        for (int y = 0; y < height_; ++y)
            for (int x = 0; x < width_; ++x) {
                const double cy = height_ * 0.45 + 1.7 * time, cx = width_ * 0.5 - 2.4 * time;
                const bool disc = std::hypot(y - cy, x - cx) < 0.24 * std::min(height_, width_);
                const double v = disc ? y - cy : y + 1.3 * time, u = disc ? x - cx : x - 2.2 * time;
                for (int c = 0; c < 3; ++c) {
                    // Blobs of three sizes.
                    double value = disc ? 160 - 30 * c : 90 + 25 * c;
                    value += 0.6 * at(disc, v / 16, u / 16, c) + 0.35 * at(!disc, v / 5, u / 5, c);
                    value += 0.12 * at(disc, v / 1.7, u / 1.7, c);
                    out.rgb.push_back(uint8_t(std::clamp(value, 0.0, 255.0)));
                }
            }
        return out;
    }

    // What a painter might make of a frame: fewer tones, and a canvas that stays with the picture.
    static Picture painted(const Picture& frame) {
        Picture out = frame;
        for (size_t i = 0; i < out.rgb.size(); ++i)
            out.rgb[i] =
                uint8_t(std::clamp(230 - frame.rgb[i] / 36 * 30 + int(uint32_t(i) * 2654435761u >> 28), 0, 255));
        return out;
    }

private:
    static constexpr int kTile = 256;

    double at(int which, double y, double x, int c) const {
        const double fy = std::floor(y), fx = std::floor(x), wy = y - fy, wx = x - fx;
        const auto texel = [&](double ty, double tx) {
            const int py = ((int(ty) % kTile) + kTile) % kTile, px = ((int(tx) % kTile) + kTile) % kTile;
            return double(tiles_[which][size_t((py * kTile + px) * 3 + c)]);
        };
        return (1 - wy) * ((1 - wx) * texel(fy, fx) + wx * texel(fy, fx + 1)) +
               wy * ((1 - wx) * texel(fy + 1, fx) + wx * texel(fy + 1, fx + 1));
    }

    int height_, width_;
    std::vector<float> tiles_[2];
};

}  // namespace ebs_test
