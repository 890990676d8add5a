// The discrete cosine transform of JPEG in both directions, in integers, so that every machine gives the same bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ebsynth {

// Where the k-th coefficient of the zigzag order lies in a block of 8 rows of 8.
constexpr std::array<std::uint8_t, 64> jpeg_zigzag{0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                                   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                                   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                                   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

namespace detail {

// The transform is scaled by sqrt(8) in each direction: then a block of one value is exact, and its ties round as they
// should. scaled_cosine[k] = sqrt(2) * cos(k * pi / 16) in units of 2^-13; index 0 is the constant basis function.
constexpr int cosine_bits = 13;
constexpr int scale_bits = 3;
constexpr std::array<std::int32_t, 8> scaled_cosine{8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260};

constexpr std::int32_t rounded_shift(std::int32_t value, int bits) { return (value + (1 << (bits - 1))) >> bits; }

// Eight frequencies to eight samples, unshifted. Even frequencies are symmetric about the middle and odd ones
// antisymmetric, so that half of the products serve both ends.
inline void inverse_8(const std::array<std::int32_t, 8>& f, std::array<std::int32_t, 8>& samples) {
    const auto& c = scaled_cosine;
    const std::int32_t sum = (f[0] + f[4]) * c[4];
    const std::int32_t difference = (f[0] - f[4]) * c[4];
    const std::int32_t outer = f[2] * c[2] + f[6] * c[6];
    const std::int32_t inner = f[2] * c[6] - f[6] * c[2];
    const std::array<std::int32_t, 4> even{sum + outer, difference + inner, difference - inner, sum - outer};
    const std::array<std::int32_t, 4> odd{
        f[1] * c[1] + f[3] * c[3] + f[5] * c[5] + f[7] * c[7], f[1] * c[3] - f[3] * c[7] - f[5] * c[1] - f[7] * c[5],
        f[1] * c[5] - f[3] * c[1] + f[5] * c[7] + f[7] * c[3], f[1] * c[7] - f[3] * c[5] + f[5] * c[3] - f[7] * c[1]};
    for (std::size_t i = 0; i < 4; ++i) {
        samples[i] = even[i] + odd[i];
        samples[7 - i] = even[i] - odd[i];
    }
}

inline void forward_8(const std::array<std::int32_t, 8>& s, std::array<std::int32_t, 8>& f) {
    const auto& c = scaled_cosine;
    std::array<std::int32_t, 4> even;
    std::array<std::int32_t, 4> odd;
    for (std::size_t i = 0; i < 4; ++i) {
        even[i] = s[i] + s[7 - i];
        odd[i] = s[i] - s[7 - i];
    }
    f[0] = (even[0] + even[1] + even[2] + even[3]) * c[4];
    f[4] = (even[0] - even[1] - even[2] + even[3]) * c[4];
    f[2] = (even[0] - even[3]) * c[2] + (even[1] - even[2]) * c[6];
    f[6] = (even[0] - even[3]) * c[6] - (even[1] - even[2]) * c[2];
    f[1] = odd[0] * c[1] + odd[1] * c[3] + odd[2] * c[5] + odd[3] * c[7];
    f[3] = odd[0] * c[3] - odd[1] * c[7] - odd[2] * c[1] - odd[3] * c[5];
    f[5] = odd[0] * c[5] - odd[1] * c[1] + odd[2] * c[7] + odd[3] * c[3];
    f[7] = odd[0] * c[7] - odd[1] * c[5] + odd[2] * c[3] - odd[3] * c[1];
}

}  // namespace detail

// Coefficients and quantisation in row order, to 8 x 8 samples with `stride` bytes from row to row.
inline void inverse_dct(const std::int16_t* coefficients, const std::uint16_t* quantisation, std::uint8_t* out,
                        std::size_t stride) {
    // An 8-bit picture stays far inside these bounds; they keep a damaged one from overflowing.
    constexpr std::int32_t largest_coefficient = 8192;
    constexpr int kept_bits = 2;
    constexpr std::int32_t largest_between = 1 << 15;
    std::array<std::array<std::int32_t, 8>, 8> between;
    std::array<std::int32_t, 8> in;
    std::array<std::int32_t, 8> result;
    for (std::size_t column = 0; column < 8; ++column) {
        for (std::size_t k = 0; k < 8; ++k) {
            const std::int32_t value =
                coefficients[8 * k + column] * static_cast<std::int32_t>(quantisation[8 * k + column]);
            in[k] = std::clamp(value, -largest_coefficient, largest_coefficient);
        }
        detail::inverse_8(in, result);
        for (std::size_t row = 0; row < 8; ++row) {
            const std::int32_t value = detail::rounded_shift(result[row], detail::cosine_bits - kept_bits);
            between[row][column] = std::clamp(value, -largest_between, largest_between);
        }
    }
    for (std::size_t row = 0; row < 8; ++row, out += stride) {
        detail::inverse_8(between[row], result);
        for (std::size_t column = 0; column < 8; ++column) {
            const std::int32_t value =
                128 + detail::rounded_shift(result[column], detail::cosine_bits + kept_bits + detail::scale_bits);
            out[column] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
        }
    }
}

// 8 x 8 samples, 128 taken off, to coefficients in row order and in units of 2^-20.
constexpr int forward_dct_bits = detail::cosine_bits + 4 + detail::scale_bits;
inline void forward_dct(const std::array<std::int32_t, 64>& samples, std::array<std::int32_t, 64>& coefficients) {
    std::array<std::array<std::int32_t, 8>, 8> between;
    std::array<std::int32_t, 8> in;
    std::array<std::int32_t, 8> result;
    for (std::size_t row = 0; row < 8; ++row) {
        std::copy_n(samples.data() + 8 * row, 8, in.begin());
        detail::forward_8(in, result);
        for (std::size_t k = 0; k < 8; ++k) between[k][row] = detail::rounded_shift(result[k], detail::cosine_bits - 4);
    }
    for (std::size_t column = 0; column < 8; ++column) {
        detail::forward_8(between[column], result);
        for (std::size_t k = 0; k < 8; ++k) coefficients[8 * k + column] = result[k];
    }
}

}  // namespace ebsynth
