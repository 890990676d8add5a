// The pixels of one level: guides and style side by side, four bytes a lane, two lanes to a load of eight bytes.
#pragma once

#include "types.h"

namespace ebs {
namespace kernels {

struct alignas(8) LanePair {
    uint32_t lane[2];
};

// Planes of lane pairs; an odd last lane is 0 everywhere. `pad` pixels around the image repeat its border, so that a
// source patch is read without a look at where it lies.
struct Field {
    Batch<LanePair> pixels;
    Extent size{0, 0};
    int pad = 0, groups = 0;

    EBS_HD int pitch() const { return size.width + 2 * pad; }
    EBS_HD size_t plane() const { return size_t(pitch()) * size_t(size.height + 2 * pad); }
    EBS_HD size_t count() const { return plane() * size_t(groups); }
    EBS_HD size_t at(int y, int x) const { return size_t(y + pad) * size_t(pitch()) + size_t(x + pad); }
    // The lane of the first (padding) pixel; that of the next one is two words further.
    EBS_HD uint32_t* lane(int pair, int lane) const {
        return pixels.of(pair)[size_t(lane / 2) * plane()].lane + lane % 2;
    }
};

// Level 0 from the caller's interleaved lanes. Without `style` its lanes become 0 for the votes to come.
struct Pack {
    Field out;
    Batch<const uint32_t> guides, style;
    int guide_lanes, style_lanes;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(out.size.height + 2 * out.pad, out.pitch(), pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (p.x() >= out.pitch() || p.y() >= out.size.height + 2 * out.pad) return;
        const int y = clamp(p.y() - out.pad, 0, out.size.height - 1), x = clamp(p.x() - out.pad, 0, out.size.width - 1);
        const size_t from = out.size.at(y, x), to = size_t(p.y()) * size_t(out.pitch()) + size_t(p.x());
        for (int i = 0; i < 2 * out.groups; ++i) {
            uint32_t value = 0;
            if (i < guide_lanes)
                value = guides.of(p.block_z)[from * size_t(guide_lanes) + size_t(i)];
            else if (style && i < guide_lanes + style_lanes)
                value = style.of(p.block_z)[from * size_t(style_lanes) + size_t(i - guide_lanes)];
            out.lane(p.block_z, i)[2 * to] = value;
        }
    }
};

// The rounded mean of four bytes, for four channels.
EBS_HD uint32_t mean_of_four(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    const uint32_t even = 0x00ff00ffu;
    const uint32_t low = (a & even) + (b & even) + (c & even) + (d & even) + 0x00020002u;
    const uint32_t high = (a >> 8 & even) + (b >> 8 & even) + (c >> 8 & even) + (d >> 8 & even) + 0x00020002u;
    return (low >> 2 & even) | (high >> 2 & even) << 8;
}

// The next coarser level, padding included.
struct Halve {
    Field fine, out;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(out.size.height + 2 * out.pad, out.pitch(), pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (p.x() >= out.pitch() || p.y() >= out.size.height + 2 * out.pad) return;
        const int y = clamp(p.y() - out.pad, 0, out.size.height - 1), x = clamp(p.x() - out.pad, 0, out.size.width - 1);
        const size_t to = size_t(p.y()) * size_t(out.pitch()) + size_t(p.x());
        const size_t above = fine.at(2 * y, 2 * x), below = above + size_t(fine.pitch());
        for (int group = 0; group < out.groups; ++group) {
            const LanePair* from = fine.pixels.of(p.block_z) + size_t(group) * fine.plane();
            const LanePair a = from[above], b = from[above + 1], c = from[below], d = from[below + 1];
            LanePair mean;
            for (int i = 0; i < 2; ++i) mean.lane[i] = mean_of_four(a.lane[i], b.lane[i], c.lane[i], d.lane[i]);
            out.pixels.of(p.block_z)[size_t(group) * out.plane() + to] = mean;
        }
    }
};

// Bytes that scale the guides' weights, `words` x 4 of them a pixel, one for each guide lane.
struct Modulation {
    Batch<uint32_t> scales;
    Extent size{0, 0};
    int words = 0, lanes = 0;

    EBS_HD uint32_t scale(int pair, int y, int x, int lane) const {
        if (lane >= lanes) return 255;
        const size_t pixel = size.at(clamp(y, 0, size.height - 1), clamp(x, 0, size.width - 1));
        return scales.of(pair)[pixel * size_t(words) + size_t(lane / 4)] >> (8 * (lane % 4)) & 255;
    }
};

struct HalveModulation {
    Modulation fine, out;

    static constexpr bool kTiled = false;
    Grid grid(int pairs) const { return grid_over(out.size.height, out.size.width, pairs); }

    EBS_HD void run(const Place& p, const void*) const {
        if (!out.size.holds(p.y(), p.x())) return;
        const uint32_t* from = fine.scales.of(p.block_z);
        const size_t words = size_t(out.words), to = out.size.at(p.y(), p.x()) * words;
        const size_t above = fine.size.at(2 * p.y(), 2 * p.x()) * words;
        const size_t below = above + size_t(fine.size.width) * words;
        for (size_t i = 0; i < words; ++i)
            out.scales.of(p.block_z)[to + i] =
                mean_of_four(from[above + i], from[above + words + i], from[below + i], from[below + words + i]);
    }
};

}  // namespace kernels
}  // namespace ebs
