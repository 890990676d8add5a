// The caller's maps of one byte a pixel, as the levels need them.
#pragma once

#include "mask.h"
#include "plan.h"

namespace ebs {

inline std::vector<Mask> mask_pyramid(const ebs_image& image, Size size, int levels) {
    std::vector<Mask> masks(static_cast<size_t>(levels));
    if (!image.data) return masks;
    const ptrdiff_t step = image.pixel_stride ? image.pixel_stride : 1;
    const ptrdiff_t pitch = image.row_stride ? image.row_stride : step * image.width;
    masks[0].resize(size.pixels());
    for (int y = 0; y < size.height; ++y)
        for (int x = 0; x < size.width; ++x)
            masks[0][size_t(y) * size.width + x] = image.data[y * pitch + x * step] != 0;
    for (size_t i = 1; i < masks.size(); ++i) {
        masks[i] = halve(masks[i - 1], size);
        size = {size.height / 2, size.width / 2};
    }
    return masks;
}

// The modulations as an image of one byte for each guide lane; absent ones scale by 1.
inline Lanes modulation_lanes(const ebs_pair& pair, int guide_lanes) {
    const Size size = pair.target->levels[0].size;
    Lanes finest(size, lanes_of(guide_lanes));
    std::fill(finest.bytes.begin(), finest.bytes.end(), uint8_t(255));
    int lane = 0;
    for (size_t guide = 0; guide < pair.target->channels.size(); ++guide) {
        const ebs_image& map = pair.modulation[guide];
        const ptrdiff_t step = map.pixel_stride ? map.pixel_stride : 1;
        const ptrdiff_t pitch = map.row_stride ? map.row_stride : step * map.width;
        for (int end = lane + lanes_of(pair.target->channels[guide]); lane < end; ++lane)
            for (int y = 0; map.data && y < size.height; ++y)
                for (int x = 0; x < size.width; ++x) finest.at(y, x)[lane] = map.data[y * pitch + x * step];
    }
    return finest;
}

}  // namespace ebs
