// The two checksums of PNG: CRC-32 over chunks, Adler-32 over the data inside a zlib stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ebsynth {

namespace detail {

using CrcTables = std::array<std::array<std::uint32_t, 256>, 4>;

// Table k advances a byte's remainder over k further zero bytes, so that four bytes are folded at a time.
constexpr CrcTables make_crc_tables() {
    CrcTables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t remainder = byte;
        for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) ? 0xEDB88320u : 0u);
        tables[0][byte] = remainder;
    }
    for (std::size_t k = 1; k < tables.size(); ++k) {
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}

constexpr CrcTables crc_tables = make_crc_tables();

}  // namespace detail

inline std::uint32_t crc32(const std::uint8_t* data, std::size_t size) {
    const detail::CrcTables& t = detail::crc_tables;
    std::uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 4; data += 4, size -= 4) {
        crc ^= static_cast<std::uint32_t>(data[0]) | static_cast<std::uint32_t>(data[1]) << 8 |
               static_cast<std::uint32_t>(data[2]) << 16 | static_cast<std::uint32_t>(data[3]) << 24;
        crc = t[3][crc & 0xFF] ^ t[2][(crc >> 8) & 0xFF] ^ t[1][(crc >> 16) & 0xFF] ^ t[0][crc >> 24];
    }
    for (; size > 0; ++data, --size) crc = (crc >> 8) ^ t[0][(crc ^ *data) & 0xFF];
    return ~crc;
}

inline std::uint32_t adler32(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint32_t modulus = 65521;
    constexpr std::size_t run = 5552;  // the longest run whose sums still fit into 32 bits
    std::uint32_t a = 1;
    std::uint32_t b = 0;
    while (size > 0) {
        const std::size_t count = size < run ? size : run;
        for (std::size_t i = 0; i < count; ++i) {
            a += data[i];
            b += a;
        }
        a %= modulus;
        b %= modulus;
        data += count;
        size -= count;
    }
    return (b << 16) | a;
}

}  // namespace ebsynth
