// Which channels of a picture carry anything: grey pictures are often saved as RGB, opaque ones with alpha.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../picture/image.h"

namespace ebsynth {

struct Channels {
    bool colour = false;
    bool alpha = false;

    int count() const { return (colour ? 3 : 1) + (alpha ? 1 : 0); }
    Channels operator|(const Channels& other) const { return {colour || other.colour, alpha || other.alpha}; }
};

inline Channels used_channels(const Image& image) {
    const auto stride = static_cast<std::size_t>(image.channels);
    const bool may_colour = image.channels >= 3;
    const bool may_alpha = image.channels % 2 == 0;
    Channels used;
    const std::uint8_t* p = image.pixels.data();
    for (std::size_t left = image.pixel_count(); left > 0; --left, p += stride) {
        used.colour = used.colour || (may_colour && (p[0] != p[1] || p[1] != p[2]));
        used.alpha = used.alpha || (may_alpha && p[stride - 1] != 255);
        if (used.colour == may_colour && used.alpha == may_alpha) break;
    }
    return used;
}

// Channels that the picture lacks are made: grey on all three, alpha opaque.
inline Image with_channels(const Image& image, const Channels& wanted) {
    if (image.channels == wanted.count()) return image;
    Image out;
    out.width = image.width;
    out.height = image.height;
    out.channels = wanted.count();
    out.pixels.resize(out.pixel_count() * static_cast<std::size_t>(out.channels));
    const auto stride = static_cast<std::size_t>(image.channels);
    const std::uint8_t* p = image.pixels.data();
    std::uint8_t* to = out.pixels.data();
    for (std::size_t left = image.pixel_count(); left > 0; --left, p += stride) {
        *to++ = p[0];
        if (wanted.colour) {
            *to++ = stride >= 3 ? p[1] : p[0];
            *to++ = stride >= 3 ? p[2] : p[0];
        }
        if (wanted.alpha) *to++ = stride % 2 == 0 ? p[stride - 1] : std::uint8_t{255};
    }
    return out;
}

}  // namespace ebsynth
