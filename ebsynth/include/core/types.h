// Words that every part of the core shares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "../ebsynth.h"

namespace ebs {

struct Size {
    int height, width;
    size_t pixels() const { return size_t(height) * size_t(width); }
    bool operator==(Size other) const { return height == other.height && width == other.width; }
};

// A pixel of the source, laid out as the NNF is handed out: (row, column).
struct Point {
    int16_t y, x;
    bool operator==(Point other) const { return y == other.y && x == other.x; }
};

// Crosses the core as an exception and the C interface as a status with its line of text.
struct Failure : std::runtime_error {
    Failure(ebs_status status, const std::string& text) : std::runtime_error(text), status(status) {}
    ebs_status status;
};

inline int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

// Weights of lanes are integers with this value for the heaviest channel. The energy of a patch of 33 x 33 pixels of 32
// channels then stays below 2^52, and below 2^60 with modulation, which multiplies by up to 255.
constexpr int32_t kWeightOne = 1 << 20;

// SIMD loads may run past the end of a buffer of pixels by this much.
constexpr size_t kLoadSlack = 128;

}  // namespace ebs
