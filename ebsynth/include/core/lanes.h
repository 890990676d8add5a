// Pixels as lanes: four bytes [c0 c1 c2 c3] that share one weight, and so one 32-bit sum of a dot product.
#pragma once

#include <cstring>
#include <vector>

#include "parallel.h"
#include "types.h"

namespace ebs {

inline int lanes_of(int channels) { return (channels + 3) / 4; }

// An image of dense lanes; channels that fill no lane are 0.
struct Lanes {
    Size size{0, 0};
    int lanes = 0;
    std::vector<uint8_t> bytes;

    Lanes() = default;
    Lanes(Size size, int lanes) : size(size), lanes(lanes), bytes(size.pixels() * size_t(lanes) * 4) {}

    int pixel_bytes() const { return 4 * lanes; }
    const uint8_t* at(int y, int x) const { return &bytes[(size_t(y) * size.width + x) * pixel_bytes()]; }
    uint8_t* at(int y, int x) { return &bytes[(size_t(y) * size.width + x) * pixel_bytes()]; }
};

// Copies the image into the lanes from `first` on.
inline void pack(const ebs_image& image, int first, Lanes& out) {
    const ptrdiff_t step = image.pixel_stride ? image.pixel_stride : image.channels;
    const ptrdiff_t pitch = image.row_stride ? image.row_stride : step * image.width;
    for (int y = 0; y < image.height; ++y) {
        const uint8_t* pixel = image.data + y * pitch;
        uint8_t* to = out.at(y, 0) + 4 * first;
        for (int x = 0; x < image.width; ++x, pixel += step, to += out.pixel_bytes())
            for (int c = 0; c < image.channels; ++c) to[c] = pixel[c];
    }
}

// Halves both sides (by floor) by the rounded mean of four pixels: a point-sampled pyramid aliases, and its coarse matches
// with it.
inline Lanes halve(const Lanes& fine) {
    Lanes half({fine.size.height / 2, fine.size.width / 2}, fine.lanes);
    const int step = fine.pixel_bytes(), pitch = step * fine.size.width;
    for (int y = 0; y < half.size.height; ++y) {
        uint8_t* to = half.at(y, 0);
        for (int x = 0; x < half.size.width; ++x, to += step) {
            const uint8_t* p = fine.at(2 * y, 2 * x);
            for (int c = 0; c < step; ++c) to[c] = uint8_t((p[c] + p[c + step] + p[c + pitch] + p[c + pitch + step] + 2) >> 2);
        }
    }
    return half;
}

using Pyramid = std::vector<Lanes>;

inline Pyramid build_pyramid(Lanes finest, int smallest_side) {
    Pyramid levels;
    levels.push_back(std::move(finest));
    while (levels.size() < 16) {
        const Size size = levels.back().size;
        if (size.height / 2 < smallest_side || size.width / 2 < smallest_side) break;
        levels.push_back(halve(levels.back()));
    }
    return levels;
}

// Guides and style of one level side by side, with borders replicated by the patch's radius, so that the patch around
// (y, x) starts at patch(y, x) and each of its rows is one run of bytes.
// The target's bytes are stored minus 128: the dot product instructions multiply unsigned by signed bytes.
struct Field {
    Size size{0, 0};
    int pad = 0, lanes = 0;
    ptrdiff_t pitch = 0;
    uint8_t flip = 0;
    std::vector<uint8_t> bytes;

    int pixel_bytes() const { return 4 * lanes; }
    const uint8_t* patch(int y, int x) const { return &bytes[y * pitch + ptrdiff_t(x) * pixel_bytes()]; }
    uint8_t* pixel(int y, int x) { return &bytes[(y + pad) * pitch + ptrdiff_t(x + pad) * pixel_bytes()]; }

    // Repeats the edge pixels' lanes [first, lanes) into the padding.
    void replicate(int first) {
        const int skip = 4 * first, count = 4 * (lanes - first);
        for (int y = 0; y < size.height; ++y)
            for (int i = 1; i <= pad; ++i) {
                std::memcpy(pixel(y, -i) + skip, pixel(y, 0) + skip, size_t(count));
                std::memcpy(pixel(y, size.width - 1 + i) + skip, pixel(y, size.width - 1) + skip, size_t(count));
            }
        for (int i = 1; i <= pad; ++i) {
            std::memcpy(pixel(-i, -pad), pixel(0, -pad), size_t(pitch));
            std::memcpy(pixel(size.height - 1 + i, -pad), pixel(size.height - 1, -pad), size_t(pitch));
        }
    }
};

// Without `style` its lanes are black, for the vote to paint.
inline Field make_field(const Lanes& guides, const Lanes* style, int style_lanes, int pad, bool target, Pool& pool) {
    Field field;
    field.size = guides.size;
    field.pad = pad;
    field.lanes = guides.lanes + style_lanes;
    field.pitch = ptrdiff_t(field.size.width + 2 * pad) * field.pixel_bytes();
    field.flip = target ? 0x80 : 0;
    field.bytes.resize(size_t(field.pitch) * size_t(field.size.height + 2 * pad) + kLoadSlack);
    const int guide_bytes = guides.pixel_bytes();
    for_rows(pool, field.size.height, [&](int begin, int end) {
        for (int y = begin; y < end; ++y)
            for (int x = 0; x < field.size.width; ++x) {
                uint8_t* to = field.pixel(y, x);
                const uint8_t* from = guides.at(y, x);
                for (int i = 0; i < guide_bytes; ++i) to[i] = from[i] ^ field.flip;
                if (style)
                    std::memcpy(to + guide_bytes, style->at(y, x), size_t(style->pixel_bytes()));
                else
                    std::memset(to + guide_bytes, field.flip, size_t(4 * style_lanes));
            }
    });
    field.replicate(0);
    return field;
}

}  // namespace ebs
