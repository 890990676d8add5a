// From the planes of a JPEG's components to pixels: upsampling and colour.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "image.h"

namespace ebsynth {

// The samples of one component; rows may be longer than the part that is shown.
struct JpegPlane {
    std::size_t width = 0;
    std::size_t height = 0;
    std::size_t stride = 0;
    std::size_t across = 1;  // sampling factors
    std::size_t down = 1;
    std::vector<std::uint8_t> samples;

    const std::uint8_t* row(std::size_t y) const { return samples.data() + y * stride; }
};

enum class JpegColour : std::uint8_t { grey, rgb, ycc, cmyk, ycck };

namespace detail {

// Each sample of a halved plane is the centre of two; a new one takes three parts of the nearer and one of the
// farther, and what is rounded up on the left is rounded down on the right. `unit` is what the inputs are scaled by.
inline void widen_row(const std::vector<int>& in, std::size_t width, int unit, std::size_t out_width,
                      std::uint8_t* out) {
    const int whole = 4 * unit;
    const int left_bias = unit == 1 ? 1 : whole / 2;
    const int right_bias = unit == 1 ? 2 : whole / 2 - 1;
    for (std::size_t x = 0; x < out_width; ++x) {
        const std::size_t near = x / 2;
        const bool left = x % 2 == 0;
        const bool edge = left ? near == 0 : near + 1 == width;
        const std::size_t far = edge ? near : left ? near - 1 : near + 1;
        out[x] = static_cast<std::uint8_t>((3 * in[near] + in[far] + (left ? left_bias : right_bias)) / whole);
    }
}

class Upsampler {
public:
    Upsampler(const JpegPlane& plane, std::size_t most_across, std::size_t most_down, std::size_t width)
        : plane_(plane), across_(most_across), down_(most_down), width_(width), row_(width + 1), sums_(plane.width) {}

    const std::uint8_t* row(std::size_t y) {
        const bool same_across = plane_.across == across_;
        const bool same_down = plane_.down == down_;
        // Interpolating a plane of one or two columns is not worth its exceptions; libjpeg does not do it either.
        const bool half_across = 2 * plane_.across == across_ && plane_.width > 2;
        const bool half_down = 2 * plane_.down == down_;
        if (same_across && same_down) return plane_.row(y);
        if (half_across && same_down) {
            std::copy_n(plane_.row(y), plane_.width, sums_.begin());
            widen_row(sums_, plane_.width, 1, width_, row_.data());
        } else if (half_across && half_down) {
            blend_rows(y);
            widen_row(sums_, plane_.width, 4, width_, row_.data());
        } else if (same_across && half_down) {
            blend_rows(y);
            for (std::size_t x = 0; x < width_; ++x) {
                row_[x] = static_cast<std::uint8_t>((sums_[x] + (y % 2 == 0 ? 1 : 2)) / 4);
            }
        } else {
            const std::uint8_t* nearest = plane_.row(std::min(y * plane_.down / down_, plane_.height - 1));
            for (std::size_t x = 0; x < width_; ++x)
                row_[x] = nearest[std::min(x * plane_.across / across_, plane_.width - 1)];
        }
        return row_.data();
    }

private:
    // Three parts of the nearer row and one of the farther.
    void blend_rows(std::size_t y) {
        const std::size_t near = y / 2;
        const std::size_t far = y % 2 == 0 ? (near == 0 ? 0 : near - 1) : std::min(near + 1, plane_.height - 1);
        const std::uint8_t* a = plane_.row(near);
        const std::uint8_t* b = plane_.row(far);
        for (std::size_t x = 0; x < plane_.width; ++x) sums_[x] = 3 * a[x] + b[x];
    }

    const JpegPlane& plane_;
    std::size_t across_;
    std::size_t down_;
    std::size_t width_;
    std::vector<std::uint8_t> row_;
    std::vector<int> sums_;
};

inline std::uint8_t clamp_to_byte(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

inline std::array<std::uint8_t, 3> ycc_to_rgb(int y, int cb, int cr) {
    constexpr int one = 1 << 16;
    constexpr int half = one / 2;
    cb -= 128;
    cr -= 128;
    const int red = y + ((91881 * cr + half) >> 16);                  // 1.402
    const int green = y + ((-22554 * cb - 46802 * cr + half) >> 16);  // 0.344136, 0.714136
    const int blue = y + ((116130 * cb + half) >> 16);                // 1.772
    return {clamp_to_byte(red), clamp_to_byte(green), clamp_to_byte(blue)};
}

// Programs that write four inks store them inverted, so that 255 means none.
inline std::uint8_t ink_on_paper(int ink, int black) { return static_cast<std::uint8_t>((ink * black + 127) / 255); }

inline void write_row(const std::array<const std::uint8_t*, 4>& in, JpegColour colour, std::size_t width,
                      std::uint8_t* out) {
    if (colour == JpegColour::grey) {
        std::copy_n(in[0], width, out);
        return;
    }
    for (std::size_t x = 0; x < width; ++x, out += 3) {
        std::array<std::uint8_t, 3> rgb{in[0][x], in[1][x], in[2][x]};
        if (colour == JpegColour::ycc || colour == JpegColour::ycck) rgb = ycc_to_rgb(rgb[0], rgb[1], rgb[2]);
        if (colour == JpegColour::ycck) {
            for (std::uint8_t& c : rgb) c = static_cast<std::uint8_t>(255 - c);
        }
        if (colour == JpegColour::cmyk || colour == JpegColour::ycck) {
            for (std::uint8_t& c : rgb) c = ink_on_paper(c, in[3][x]);
        }
        std::copy(rgb.begin(), rgb.end(), out);
    }
}

}  // namespace detail

inline Image merge_planes(const std::vector<JpegPlane>& planes, JpegColour colour, int width, int height) {
    std::size_t most_across = 1;
    std::size_t most_down = 1;
    for (const JpegPlane& plane : planes) {
        most_across = std::max(most_across, plane.across);
        most_down = std::max(most_down, plane.down);
    }
    Image image;
    image.width = width;
    image.height = height;
    image.channels = colour == JpegColour::grey ? 1 : 3;
    image.pixels.resize(image.pixel_count() * static_cast<std::size_t>(image.channels));
    const auto columns = static_cast<std::size_t>(width);
    std::vector<detail::Upsampler> upsamplers;
    for (const JpegPlane& plane : planes) upsamplers.emplace_back(plane, most_across, most_down, columns);
    std::array<const std::uint8_t*, 4> rows{};
    for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
        for (std::size_t c = 0; c < upsamplers.size(); ++c) rows[c] = upsamplers[c].row(y);
        detail::write_row(rows, colour, columns,
                          image.pixels.data() + y * columns * static_cast<std::size_t>(image.channels));
    }
    return image;
}

}  // namespace ebsynth
