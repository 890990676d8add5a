// Writes 8-bit PNG: each row with the filter that leaves the smallest differences.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "checksum.h"
#include "deflate.h"
#include "image.h"
#include "png_read.h"

namespace ebsynth {

namespace detail {

inline void append_big_endian_32(std::vector<std::uint8_t>& out, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

inline void append_chunk(std::vector<std::uint8_t>& out, const char (&type)[5], const std::vector<std::uint8_t>& body) {
    append_big_endian_32(out, static_cast<std::uint32_t>(body.size()));
    const std::size_t start = out.size();
    out.insert(out.end(), type, type + 4);
    out.insert(out.end(), body.begin(), body.end());
    append_big_endian_32(out, crc32(out.data() + start, out.size() - start));
}

// `line` and `above` are preceded by `pixel` zero bytes, which stand for the pixel left of the first.
inline void filter_row(int filter, const std::uint8_t* line, const std::uint8_t* above, std::size_t bytes,
                       std::size_t pixel, std::uint8_t* out) {
    const std::uint8_t* left = line - pixel;
    const std::uint8_t* corner = above - pixel;
    for (std::size_t i = 0; i < bytes; ++i) {
        int predicted = 0;
        switch (filter) {
            case 1: predicted = left[i]; break;
            case 2: predicted = above[i]; break;
            case 3: predicted = (left[i] + above[i]) / 2; break;
            case 4: predicted = paeth(left[i], above[i], corner[i]); break;
            default: break;
        }
        out[i] = static_cast<std::uint8_t>(line[i] - predicted);
    }
}

// What a row's differences add up to, as signed bytes: a cheap stand-in for its compressed size.
inline std::uint64_t roughness(const std::uint8_t* row, std::size_t bytes) {
    std::uint32_t sum = 0;  // a row is at most 4 * 32767 bytes long
    for (std::size_t i = 0; i < bytes; ++i) sum += row[i] < 128 ? row[i] : 256u - row[i];
    return sum;
}

inline std::vector<std::uint8_t> filtered_rows(const Image& image) {
    const auto pixel = static_cast<std::size_t>(image.channels);
    const std::size_t bytes = static_cast<std::size_t>(image.width) * pixel;
    const auto rows = static_cast<std::size_t>(image.height);
    std::vector<std::uint8_t> out((bytes + 1) * rows);
    std::vector<std::uint8_t> above(pixel + bytes, 0);
    std::vector<std::uint8_t> line(pixel + bytes, 0);
    std::vector<std::uint8_t> trial(bytes);
    for (std::size_t row = 0; row < rows; ++row) {
        std::copy_n(image.pixels.data() + row * bytes, bytes, line.data() + pixel);
        std::uint8_t* best = out.data() + row * (bytes + 1);
        std::uint64_t least = ~std::uint64_t{0};
        for (int filter = 0; filter < 5; ++filter) {
            filter_row(filter, line.data() + pixel, above.data() + pixel, bytes, pixel, trial.data());
            const std::uint64_t rough = roughness(trial.data(), bytes);
            if (rough >= least) continue;
            least = rough;
            best[0] = static_cast<std::uint8_t>(filter);
            std::copy(trial.begin(), trial.end(), best + 1);
        }
        std::swap(line, above);
    }
    return out;
}

}  // namespace detail

inline std::vector<std::uint8_t> encode_png(const Image& image) {
    std::vector<std::uint8_t> header;
    detail::append_big_endian_32(header, static_cast<std::uint32_t>(image.width));
    detail::append_big_endian_32(header, static_cast<std::uint32_t>(image.height));
    constexpr std::array<std::uint8_t, 5> colour_types{0, 0, 4, 2, 6};
    header.insert(header.end(), {8, colour_types[static_cast<std::size_t>(image.channels)], 0, 0, 0});
    const std::vector<std::uint8_t> rows = detail::filtered_rows(image);
    std::vector<std::uint8_t> out(png_signature.begin(), png_signature.end());
    detail::append_chunk(out, "IHDR", header);
    detail::append_chunk(out, "IDAT", Deflater::zlib(rows.data(), rows.size()));
    detail::append_chunk(out, "IEND", {});
    return out;
}

}  // namespace ebsynth
