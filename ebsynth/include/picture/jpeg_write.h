// Writes baseline JPEG of quality 95 without chroma subsampling, with the example tables of the standard's Annex K.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "image.h"
#include "jpeg_dct.h"

namespace ebsynth {

namespace detail {

constexpr int jpeg_quality = 95;

// In zigzag order, as the file lists them.
constexpr std::array<std::uint8_t, 64> luma_steps{
    16, 11,  12, 14, 12, 10, 16,  14,  13,  14, 18, 17,  16,  19,  24,  40,  26, 24,  22,  22, 24, 49,
    35, 37,  29, 40, 58, 51, 61,  60,  57,  51, 56, 55,  64,  72,  92,  78,  64, 68,  87,  69, 55, 56,
    80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99};
constexpr std::array<std::uint8_t, 64> chroma_steps{17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99,
                                                    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
                                                    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
                                                    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

struct JpegCodeSpec {
    std::array<std::uint8_t, 16> counts;
    std::vector<std::uint8_t> symbols;
};

inline const JpegCodeSpec& dc_spec(bool chroma) {
    static const JpegCodeSpec luma_spec{{0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
                                        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
    static const JpegCodeSpec chroma_spec{{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0},
                                          {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
    return chroma ? chroma_spec : luma_spec;
}

inline const JpegCodeSpec& ac_spec(bool chroma) {
    static const JpegCodeSpec luma_spec{
        {0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D},
        {0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
         0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
         0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
         0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
         0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
         0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
         0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
         0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
         0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA}};
    static const JpegCodeSpec chroma_spec{
        {0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77},
        {0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
         0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
         0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
         0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
         0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
         0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
         0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
         0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
         0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA}};
    return chroma ? chroma_spec : luma_spec;
}

class JpegEncoder {
public:
    explicit JpegEncoder(const Image& image) : image_(image), components_(image.channels >= 3 ? 3 : 1) {
        for (std::size_t k = 0; k < 64; ++k) {
            steps_[0][k] = scaled(luma_steps[k]);
            steps_[1][k] = scaled(chroma_steps[k]);
        }
    }

    std::vector<std::uint8_t> encode() {
        write_header();
        std::array<int, 3> predicted{};
        std::array<std::int32_t, 64> samples;
        for (int top = 0; top < image_.height; top += 8) {
            for (int left = 0; left < image_.width; left += 8) {
                for (std::size_t c = 0; c < components_; ++c) {
                    take_block(left, top, c, samples);
                    write_block(samples, c > 0, predicted[c]);
                }
            }
        }
        if (count_ > 0) put(0x7F, 7);  // the last byte is filled up with ones
        out_.insert(out_.end(), {0xFF, 0xD9});
        return std::move(out_);
    }

private:
    struct Code {
        std::array<std::uint16_t, 256> bits{};
        std::array<std::uint8_t, 256> length{};

        explicit Code(const JpegCodeSpec& spec) {
            unsigned next = 0;
            std::size_t index = 0;
            for (unsigned l = 1; l <= 16; ++l, next <<= 1) {
                for (int i = 0; i < spec.counts[l - 1]; ++i, ++next, ++index) {
                    bits[spec.symbols[index]] = static_cast<std::uint16_t>(next);
                    length[spec.symbols[index]] = static_cast<std::uint8_t>(l);
                }
            }
        }
    };

    // Quality 50 keeps the standard's steps; the usual scale shrinks them linearly above it.
    static std::uint8_t scaled(int step) {
        return static_cast<std::uint8_t>(std::clamp((step * (200 - 2 * jpeg_quality) + 50) / 100, 1, 255));
    }

    void word(int value) {
        out_.insert(out_.end(), {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
    }

    void write_header() {
        out_ = {0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0};
        for (std::size_t table = 0; table < (components_ == 1 ? 1u : 2u); ++table) {
            out_.insert(out_.end(), {0xFF, 0xDB, 0, 67, static_cast<std::uint8_t>(table)});
            out_.insert(out_.end(), steps_[table].begin(), steps_[table].end());
        }
        out_.insert(out_.end(), {0xFF, 0xC0, 0, static_cast<std::uint8_t>(8 + 3 * components_), 8});
        word(image_.height);
        word(image_.width);
        out_.push_back(static_cast<std::uint8_t>(components_));
        for (std::size_t c = 0; c < components_; ++c) {
            out_.insert(out_.end(), {static_cast<std::uint8_t>(c + 1), 0x11, static_cast<std::uint8_t>(c > 0 ? 1 : 0)});
        }
        for (int table = 0; table < (components_ == 1 ? 1 : 2); ++table) {
            write_code(dc_spec(table == 1), table);
            write_code(ac_spec(table == 1), 0x10 | table);
        }
        out_.insert(out_.end(), {0xFF, 0xDA, 0, static_cast<std::uint8_t>(6 + 2 * components_),
                                 static_cast<std::uint8_t>(components_)});
        for (std::size_t c = 0; c < components_; ++c) {
            out_.insert(out_.end(), {static_cast<std::uint8_t>(c + 1), static_cast<std::uint8_t>(c > 0 ? 0x11 : 0)});
        }
        out_.insert(out_.end(), {0, 63, 0});
    }

    void write_code(const JpegCodeSpec& spec, int head) {
        out_.insert(out_.end(), {0xFF, 0xC4});
        word(static_cast<int>(19 + spec.symbols.size()));
        out_.push_back(static_cast<std::uint8_t>(head));
        out_.insert(out_.end(), spec.counts.begin(), spec.counts.end());
        out_.insert(out_.end(), spec.symbols.begin(), spec.symbols.end());
    }

    // Blocks past the right and lower border repeat the last pixel.
    void take_block(int left, int top, std::size_t component, std::array<std::int32_t, 64>& samples) const {
        const auto channels = static_cast<std::size_t>(image_.channels);
        for (int i = 0; i < 64; ++i) {
            const auto x = static_cast<std::size_t>(std::min(left + i % 8, image_.width - 1));
            const auto y = static_cast<std::size_t>(std::min(top + i / 8, image_.height - 1));
            const std::uint8_t* p = image_.pixels.data() + (y * static_cast<std::size_t>(image_.width) + x) * channels;
            samples[static_cast<std::size_t>(i)] = (components_ == 1 ? p[0] : to_ycc(p, component)) - 128;
        }
    }

    static int to_ycc(const std::uint8_t* rgb, std::size_t component) {
        constexpr int weights[3][3] = {{19595, 38470, 7471}, {-11059, -21709, 32768}, {32768, -27439, -5329}};
        const auto& w = weights[component];
        const int offset = component == 0 ? 0 : 128 << 16;
        const int value = (w[0] * rgb[0] + w[1] * rgb[1] + w[2] * rgb[2] + offset + 32767) >> 16;
        return std::min(value, 255);
    }

    void write_block(const std::array<std::int32_t, 64>& samples, bool chroma, int& predicted) {
        std::array<std::int32_t, 64> coefficients;
        forward_dct(samples, coefficients);
        const Code& dc = dc_codes_[chroma ? 1 : 0];
        const Code& ac = ac_codes_[chroma ? 1 : 0];
        const auto& steps = steps_[chroma ? 1 : 0];
        int run = 0;
        for (std::size_t k = 0; k < 64; ++k) {
            const std::int32_t step = steps[k] << forward_dct_bits;
            const std::int32_t value = coefficients[jpeg_zigzag[k]];
            const int quantised = (value + (value < 0 ? -step : step) / 2) / step;
            if (k == 0) {
                write_number(dc, 0, quantised - predicted);
                predicted = quantised;
            } else if (quantised == 0) {
                ++run;
            } else {
                for (; run > 15; run -= 16) put(ac.bits[0xF0], ac.length[0xF0]);
                write_number(ac, run, quantised);
                run = 0;
            }
        }
        if (run > 0) put(ac.bits[0], ac.length[0]);
    }

    void write_number(const Code& code, int run, int value) {
        int bits = 0;
        while (std::abs(value) >> bits != 0) ++bits;
        const auto symbol = static_cast<std::size_t>(run << 4 | bits);
        put(code.bits[symbol], code.length[symbol]);
        put(static_cast<unsigned>(value < 0 ? value + (1 << bits) - 1 : value), bits);
    }

    void put(unsigned value, int bits) {
        pending_ = pending_ << bits | value;
        count_ += bits;
        while (count_ >= 8) {
            const auto byte = static_cast<std::uint8_t>(pending_ >> (count_ - 8));
            out_.push_back(byte);
            if (byte == 0xFF) out_.push_back(0);
            count_ -= 8;
        }
    }

    const Image& image_;
    std::size_t components_;
    std::array<std::array<std::uint8_t, 64>, 2> steps_{};
    std::array<Code, 2> dc_codes_{Code(dc_spec(false)), Code(dc_spec(true))};
    std::array<Code, 2> ac_codes_{Code(ac_spec(false)), Code(ac_spec(true))};
    std::vector<std::uint8_t> out_;
    std::uint64_t pending_ = 0;
    int count_ = 0;
};

}  // namespace detail

// Grey from one channel, colour from three; alpha has no place in a JPEG and must be gone before.
inline std::vector<std::uint8_t> encode_jpeg(const Image& image) {
    if (image.channels == 2 || image.channels == 4)
        throw ImageError("can't hold alpha, because it is a JPEG; write a .png");
    return detail::JpegEncoder(image).encode();
}

}  // namespace ebsynth
