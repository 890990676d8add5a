// The numbers of RFC 1951 that its reader and its writer share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ebsynth {

namespace deflate_format {

constexpr int length_codes = 29;
constexpr std::array<std::uint16_t, length_codes> length_base{
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<std::uint8_t, length_codes> length_extra{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                              2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr int distance_codes = 30;
constexpr std::array<std::uint16_t, distance_codes> distance_base{
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr std::array<std::uint8_t, distance_codes> distance_extra{0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                                                  6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr int end_of_block = 256;
constexpr int literal_codes = 286;
// The order in which a block's header lists the lengths of the code that codes the code lengths.
constexpr std::array<std::uint8_t, 19> code_length_order{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                         11, 4,  12, 3, 13, 2, 14, 1, 15};
constexpr int longest_code = 15;
// No stream holds more bytes than this for each of its own.
constexpr std::size_t largest_expansion = 1032;

inline std::array<std::uint8_t, 288> fixed_literal_lengths() {
    std::array<std::uint8_t, 288> lengths{};
    for (int symbol = 0; symbol < 288; ++symbol) {
        lengths[static_cast<std::size_t>(symbol)] = static_cast<std::uint8_t>(symbol < 144   ? 8
                                                                              : symbol < 256 ? 9
                                                                              : symbol < 280 ? 7
                                                                                             : 8);
    }
    return lengths;
}

}  // namespace deflate_format

}  // namespace ebsynth
