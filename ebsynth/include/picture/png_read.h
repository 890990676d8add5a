// Reads PNG: every colour type, bit depth and interlace method, to 8 bits a sample.
// Ancillary chunks (gamma, profiles, text, EXIF) are checked for damage and otherwise ignored, except tRNS.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "checksum.h"
#include "image.h"
#include "inflate.h"

namespace ebsynth {

constexpr std::array<std::uint8_t, 8> png_signature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

namespace detail {

inline std::uint32_t big_endian_32(const std::uint8_t* bytes) {
    return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
           static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}

inline int paeth(int left, int above, int corner) {
    const int by_left = std::abs(above - corner);
    const int by_above = std::abs(left - corner);
    const int by_corner = std::abs(left + above - 2 * corner);
    if (by_left <= by_above && by_left <= by_corner) return left;
    return by_above <= by_corner ? above : corner;
}

}  // namespace detail

class PngReader {
public:
    PngReader(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    Image read() {
        read_chunks();
        check_transparency();
        std::vector<std::uint8_t> rows = inflate_rows();
        Image image;
        image.width = static_cast<int>(width_);
        image.height = static_cast<int>(height_);
        image.channels = channels_out();
        image.pixels.resize(image.pixel_count() * static_cast<std::size_t>(image.channels));
        std::uint8_t* next = rows.data();
        for (const Pass& pass : passes()) {
            unfilter(next, pass);
            for (std::size_t row = 0; row < pass.rows; ++row) {
                unpack(next + row * (1 + row_bytes(pass.columns)) + 1, pass, row, image);
            }
            next += pass.rows * (1 + row_bytes(pass.columns));
        }
        return image;
    }

private:
    enum ColourType : std::uint8_t { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgb_alpha = 6 };

    // A picture is one pass over all pixels, or with interlacing seven over grids of growing density.
    struct Pass {
        std::size_t x, y, step_x, step_y, columns, rows;
    };

    void read_chunks() {
        std::size_t at = png_signature.size();
        bool first = true;
        for (bool ended = false; !ended; first = false) {
            if (size_ - at < 12) throw ImageError("ends before its end chunk (truncated)");
            const std::size_t length = detail::big_endian_32(data_ + at);
            const std::string type(reinterpret_cast<const char*>(data_ + at + 4), 4);
            if (length > size_ - at - 12) throw ImageError("ends inside its " + printable(type) + " chunk (truncated)");
            const std::uint8_t* body = data_ + at + 8;
            if (crc32(body - 4, length + 4) != detail::big_endian_32(body + length)) {
                throw ImageError("is damaged (the checksum of its " + printable(type) + " chunk differs)");
            }
            if (first != (type == "IHDR")) throw ImageError("is damaged (its header is not its first chunk)");
            ended = type == "IEND";
            read_chunk(type, body, length);
            at += length + 12;
        }
        if (compressed_.empty()) throw ImageError("holds no image data");
    }

    void read_chunk(const std::string& type, const std::uint8_t* body, std::size_t length) {
        if (type == "IHDR") {
            read_header(body, length);
        } else if (type == "PLTE") {
            if (length == 0 || length > 768 || length % 3 != 0)
                throw ImageError("is damaged (a palette of odd length)");
            palette_.assign(body, body + length);
        } else if (type == "tRNS") {
            transparency_.assign(body, body + length);
        } else if (type == "IDAT") {
            compressed_.insert(compressed_.end(), body, body + length);
        } else if (type != "IEND" && (type[0] & 0x20) == 0) {
            throw ImageError("needs the unknown chunk " + printable(type));
        }
    }

    void read_header(const std::uint8_t* body, std::size_t length) {
        if (length != 13) throw ImageError("is damaged (a header of odd length)");
        width_ = detail::big_endian_32(body);
        height_ = detail::big_endian_32(body + 4);
        check_picture_size(width_, height_);
        depth_ = body[8];
        colour_ = body[9];
        const bool known_colour =
            colour_ == grey || colour_ == rgb || colour_ == palette || colour_ == grey_alpha || colour_ == rgb_alpha;
        const bool power = depth_ == 1 || depth_ == 2 || depth_ == 4 || depth_ == 8 || depth_ == 16;
        const bool fits = colour_ == grey || (colour_ == palette ? depth_ <= 8 : depth_ >= 8);
        if (!known_colour || !power || !fits) {
            throw ImageError("is damaged (colour type " + std::to_string(colour_) + " with " + std::to_string(depth_) +
                             " bits does not exist)");
        }
        if (body[10] != 0 || body[11] != 0 || body[12] > 1) {
            throw ImageError("is damaged (unknown compression, filter or interlace method)");
        }
        interlaced_ = body[12] == 1;
        samples_ = colour_ == rgb ? 3 : colour_ == rgb_alpha ? 4 : colour_ == grey_alpha ? 2 : 1;
    }

    void check_transparency() {
        if (colour_ == palette && palette_.empty()) throw ImageError("is damaged (its palette is missing)");
        if (colour_ == grey_alpha || colour_ == rgb_alpha) transparency_.clear();
        if (transparency_.empty()) return;
        const std::size_t size = transparency_.size();
        const bool fits = colour_ == palette ? size <= 256 : size == 2 * samples_;
        if (!fits) throw ImageError("is damaged (a tRNS chunk that does not fit its colours)");
    }

    std::size_t row_bytes(std::size_t columns) const { return (columns * samples_ * depth_ + 7) / 8; }

    std::vector<Pass> passes() const {
        if (!interlaced_) return {{0, 0, 1, 1, width_, height_}};
        constexpr std::size_t grids[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                             {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
        std::vector<Pass> all;
        for (const auto& [x, y, step_x, step_y] : grids) {
            const std::size_t columns = (width_ + step_x - 1 - x) / step_x;
            const std::size_t rows = (height_ + step_y - 1 - y) / step_y;
            if (columns > 0 && rows > 0) all.push_back({x, y, step_x, step_y, columns, rows});
        }
        return all;
    }

    std::vector<std::uint8_t> inflate_rows() const {
        std::size_t total = 0;
        for (const Pass& pass : passes()) total += pass.rows * (1 + row_bytes(pass.columns));
        // Asked before the memory is taken: a file of a few bytes can claim any size.
        if (total / deflate_format::largest_expansion > compressed_.size()) {
            throw ImageError("holds too little data for its size of " + std::to_string(width_) + " x " +
                             std::to_string(height_));
        }
        std::vector<std::uint8_t> rows(total);
        Inflater(compressed_.data(), compressed_.size(), rows.data(), rows.size()).run();
        return rows;
    }

    void unfilter(std::uint8_t* rows, const Pass& pass) const {
        const std::size_t bytes = row_bytes(pass.columns);
        const std::size_t pixel = samples_ * depth_ < 8 ? 1 : samples_ * depth_ / 8u;
        const std::vector<std::uint8_t> nothing(bytes, 0);
        const std::uint8_t* above = nothing.data();
        for (std::size_t row = 0; row < pass.rows; ++row) {
            std::uint8_t* line = rows + row * (bytes + 1) + 1;
            unfilter_row(line[-1], line, above, bytes, pixel);
            above = line;
        }
    }

    static void unfilter_row(int filter, std::uint8_t* line, const std::uint8_t* above, std::size_t bytes,
                             std::size_t pixel) {
        const auto add = [&](std::size_t i, int value) { line[i] = static_cast<std::uint8_t>(line[i] + value); };
        switch (filter) {
            case 0: break;
            case 1:
                for (std::size_t i = pixel; i < bytes; ++i) add(i, line[i - pixel]);
                break;
            case 2:
                for (std::size_t i = 0; i < bytes; ++i) add(i, above[i]);
                break;
            case 3:
                for (std::size_t i = 0; i < bytes; ++i) add(i, ((i < pixel ? 0 : line[i - pixel]) + above[i]) / 2);
                break;
            case 4:
                for (std::size_t i = 0; i < pixel && i < bytes; ++i) add(i, above[i]);
                for (std::size_t i = pixel; i < bytes; ++i) {
                    add(i, detail::paeth(line[i - pixel], above[i], above[i - pixel]));
                }
                break;
            default: throw ImageError("is damaged (row filter " + std::to_string(filter) + " does not exist)");
        }
    }

    int channels_out() const {
        const int alpha = transparency_.empty() ? 0 : 1;
        return colour_ == palette ? 3 + alpha : static_cast<int>(samples_) + alpha;
    }

    // At the file's own depth.
    unsigned sample(const std::uint8_t* line, std::size_t index) const {
        if (depth_ == 8) return line[index];
        if (depth_ == 16) return static_cast<unsigned>(line[2 * index]) << 8 | line[2 * index + 1];
        const std::size_t bit = index * depth_;
        return (line[bit / 8] >> (8 - depth_ - bit % 8)) & ((1u << depth_) - 1);
    }

    std::uint8_t to_8_bits(unsigned value) const {
        if (depth_ == 16) return static_cast<std::uint8_t>(value >> 8);
        return static_cast<std::uint8_t>(value * 255 / ((1u << depth_) - 1));
    }

    void unpack(const std::uint8_t* line, const Pass& pass, std::size_t row, Image& image) const {
        const auto channels = static_cast<std::size_t>(image.channels);
        std::uint8_t* out = image.pixels.data() + ((pass.y + row * pass.step_y) * width_ + pass.x) * channels;
        if (depth_ == 8 && pass.step_x == 1 && colour_ != palette && transparency_.empty()) {
            std::copy_n(line, pass.columns * channels, out);
            return;
        }
        for (std::size_t column = 0; column < pass.columns; ++column, out += pass.step_x * channels) {
            if (colour_ == palette) {
                unpack_palette(sample(line, column), out);
                continue;
            }
            bool keyed = !transparency_.empty();
            for (std::size_t s = 0; s < samples_; ++s) {
                const unsigned value = sample(line, column * samples_ + s);
                out[s] = to_8_bits(value);
                keyed = keyed && value == (static_cast<unsigned>(transparency_[2 * s]) << 8 | transparency_[2 * s + 1]);
            }
            if (!transparency_.empty()) out[samples_] = keyed ? 0 : 255;
        }
    }

    void unpack_palette(unsigned index, std::uint8_t* out) const {
        if (index >= palette_.size() / 3) {
            throw ImageError("is damaged (a pixel of colour " + std::to_string(index) + " in a palette of " +
                             std::to_string(palette_.size() / 3) + ")");
        }
        std::copy_n(palette_.data() + std::size_t{3} * index, 3, out);
        if (!transparency_.empty()) out[3] = index < transparency_.size() ? transparency_[index] : 255;
    }

    // Chunk types of a damaged file can hold any byte.
    static std::string printable(std::string type) {
        for (char& c : type) c = c >= ' ' && c <= '~' ? c : '?';
        return "'" + type + "'";
    }

    const std::uint8_t* data_;
    std::size_t size_;
    std::size_t width_ = 0;
    std::size_t height_ = 0;
    unsigned depth_ = 8;
    unsigned colour_ = grey;
    std::size_t samples_ = 1;
    bool interlaced_ = false;
    std::vector<std::uint8_t> palette_;
    std::vector<std::uint8_t> transparency_;
    std::vector<std::uint8_t> compressed_;
};

}  // namespace ebsynth
