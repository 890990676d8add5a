// What a JPEG's frame header announces: components of blocks, filled by one scan or by many.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "image.h"
#include "jpeg_dct.h"
#include "jpeg_entropy.h"
#include "jpeg_planes.h"

namespace ebsynth {

using JpegQuantisation = std::array<std::uint16_t, 64>;

struct JpegComponent {
    int id = 0;
    std::size_t across = 1;  // sampling factors
    std::size_t down = 1;
    std::size_t table = 0;
    std::size_t width = 0;  // in samples
    std::size_t height = 0;
    std::size_t columns = 0;  // in blocks, as far as the picture goes
    std::size_t rows = 0;
    std::size_t stored_columns = 0;  // in blocks, filled up to whole units of an interleaved scan
    std::size_t stored_rows = 0;
    std::vector<std::int16_t> coefficients;
    JpegQuantisation quantisation{};
    int predicted = 0;
    const JpegCode* dc = nullptr;
    const JpegCode* ac = nullptr;

    JpegComponent() { lowest_bit_.fill(unseen); }

    std::int16_t* block(std::size_t column, std::size_t row) {
        return coefficients.data() + 64 * (row * stored_columns + column);
    }

    // Every bit of a coefficient comes once and in order. Beside being the rule, this bounds the work of a small file.
    void take_up(const JpegBand& band, const JpegQuantisation& current) {
        for (int k = band.first; k <= band.last; ++k) {
            std::int8_t& reached = lowest_bit_[static_cast<std::size_t>(k)];
            const bool in_order =
                band.high == 0 ? reached == unseen : reached == band.high && band.low == band.high - 1;
            if (!in_order) throw ImageError("is damaged (scans that repeat or skip a part)");
            reached = static_cast<std::int8_t>(band.low);
        }
        if (lowest_bit_[0] == unseen) throw ImageError("is damaged (scans that repeat or skip a part)");
        if (band.first == 0 && band.high == 0) {
            quantisation = current;
            if (quantisation[0] == 0) throw ImageError("is damaged (a quantisation table is missing)");
        }
    }

    // Gives the coefficients' memory back.
    JpegPlane to_plane() {
        if (lowest_bit_[0] == unseen) throw ImageError("is damaged (a component without data)");
        JpegPlane plane;
        plane.width = width;
        plane.height = height;
        plane.across = across;
        plane.down = down;
        plane.stride = 8 * columns;
        plane.samples.resize(plane.stride * 8 * rows);
        for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t column = 0; column < columns; ++column) {
                inverse_dct(block(column, row), quantisation.data(),
                            plane.samples.data() + 8 * row * plane.stride + 8 * column, plane.stride);
            }
        }
        coefficients = {};
        return plane;
    }

private:
    static constexpr std::int8_t unseen = -1;
    std::array<std::int8_t, 64> lowest_bit_{};  // that a scan has reached, for each coefficient in zigzag order
};

struct JpegFrame {
    int width = 0;
    int height = 0;
    bool progressive = false;
    std::size_t unit_columns = 0;  // of the units in which interleaved scans go through the picture
    std::size_t unit_rows = 0;
    std::vector<JpegComponent> components;

    void lay_out(std::size_t file_size) {
        const auto round_up = [](std::size_t value, std::size_t unit) { return (value + unit - 1) / unit; };
        std::size_t most_across = 1;
        std::size_t most_down = 1;
        for (const JpegComponent& component : components) {
            most_across = std::max(most_across, component.across);
            most_down = std::max(most_down, component.down);
        }
        const auto pixels_across = static_cast<std::size_t>(width);
        const auto pixels_down = static_cast<std::size_t>(height);
        unit_columns = round_up(pixels_across, 8 * most_across);
        unit_rows = round_up(pixels_down, 8 * most_down);
        std::size_t blocks = 0;
        for (JpegComponent& component : components) {
            component.width = round_up(pixels_across * component.across, most_across);
            component.height = round_up(pixels_down * component.down, most_down);
            component.columns = round_up(component.width, 8);
            component.rows = round_up(component.height, 8);
            component.stored_columns = unit_columns * component.across;
            component.stored_rows = unit_rows * component.down;
            blocks += component.columns * component.rows;
        }
        // Asked before the memory is taken: every block costs at least a bit.
        if (blocks / 8 > file_size) {
            throw ImageError("holds too little data for its size of " + std::to_string(width) + " x " +
                             std::to_string(height));
        }
        for (JpegComponent& component : components) {
            component.coefficients.assign(64 * component.stored_columns * component.stored_rows, 0);
        }
    }
};

}  // namespace ebsynth
