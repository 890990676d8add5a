// One byte a pixel.
#pragma once

#include <algorithm>
#include <vector>

#include "types.h"

namespace ebs {

// 1 where a patch may be centred, or a pixel is searched; empty: everywhere.
using Mask = std::vector<uint8_t>;

// 1 wherever the square of this reach around a pixel holds a 1.
inline Mask dilate(const Mask& mask, Size size, int reach) {
    const auto along = [reach](const uint8_t* in, uint8_t* out, int count, ptrdiff_t step) {
        for (int i = 0, last = -reach - 1, ahead = 0; i < count; ++i) {
            for (; ahead < count && ahead <= i + reach; ++ahead)
                if (in[ahead * step]) last = ahead;
            out[i * step] = last >= i - reach;
        }
    };
    Mask rows(mask.size()), out(mask.size());
    for (int y = 0; y < size.height; ++y)
        along(&mask[size_t(y) * size.width], &rows[size_t(y) * size.width], size.width, 1);
    for (int x = 0; x < size.width; ++x) along(&rows[x], &out[x], size.height, size.width);
    return out;
}

// At half the size, 1 where any of four pixels is.
inline Mask halve(const Mask& mask, Size size) {
    const Size half{size.height / 2, size.width / 2};
    Mask out(half.pixels());
    for (int y = 0; y < half.height; ++y)
        for (int x = 0; x < half.width; ++x) {
            const uint8_t* p = &mask[size_t(2 * y) * size.width + 2 * x];
            out[size_t(y) * half.width + x] = p[0] | p[1] | p[size.width] | p[size.width + 1];
        }
    return out;
}

}  // namespace ebs
