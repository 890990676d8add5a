// The entropy-coded part of JPEG: bits, Huffman codes, and the blocks of sequential and progressive scans.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "image.h"
#include "jpeg_dct.h"

namespace ebsynth {

// A code as a DHT segment gives it. Absent until it is filled.
class JpegCode {
public:
    bool present() const { return present_; }

    void fill(const std::uint8_t* counts, const std::uint8_t* symbols) {
        *this = JpegCode();
        present_ = true;
        int code = 0;
        int index = 0;
        for (std::size_t length = 1; length <= 16; ++length, code <<= 1) {
            first_index_[length] = index - code;
            for (int i = 0; i < counts[length - 1]; ++i, ++index, ++code) {
                // A code of ones only is kept for padding, but files with it exist; more than that is damage.
                if (code >= 1 << length) throw ImageError("is damaged (a Huffman code with too many symbols)");
                symbols_[static_cast<std::size_t>(index)] = symbols[index];
                if (length > fast_bits) continue;
                const auto entry = static_cast<std::uint16_t>(length << 8 | symbols[index]);
                const std::size_t first = static_cast<std::size_t>(code) << (fast_bits - length);
                std::fill_n(fast_.begin() + static_cast<std::ptrdiff_t>(first), std::size_t{1} << (fast_bits - length),
                            entry);
            }
            end_[length] = code;
        }
    }

    // `window` holds the next 16 bits. Returns the symbol; its length, or 0 if there is none.
    std::uint8_t decode(unsigned window, int& length) const {
        const std::uint16_t entry = fast_[window >> (16 - fast_bits)];
        if (entry != 0) {
            length = entry >> 8;
            return static_cast<std::uint8_t>(entry);
        }
        for (std::size_t l = fast_bits + 1; l <= 16; ++l) {
            const int code = static_cast<int>(window >> (16 - l));
            if (code < end_[l]) {
                length = static_cast<int>(l);
                return symbols_[static_cast<std::size_t>(first_index_[l] + code)];
            }
        }
        length = 0;
        return 0;
    }

private:
    static constexpr std::size_t fast_bits = 9;
    bool present_ = false;
    std::array<std::uint16_t, std::size_t{1} << fast_bits> fast_{};
    std::array<int, 17> end_{};
    std::array<int, 17> first_index_{};
    std::array<std::uint8_t, 256> symbols_{};
};

// Reads up to the next marker; past it come zeros, and `check` reports that they were used.
class JpegBits {
public:
    JpegBits(const std::uint8_t* data, const std::uint8_t* end) : next_(data), end_(end) {}

    std::uint8_t symbol(const JpegCode& code) {
        if (count_ < 16) refill();
        int length = 0;
        const std::uint8_t value = code.decode(static_cast<unsigned>(bits_ >> 48), length);
        if (length == 0) throw ImageError("is damaged (an unknown Huffman code)");
        drop(length);
        return value;
    }

    int take(int bits) {
        if (bits == 0) return 0;
        if (count_ < bits) refill();
        const int value = static_cast<int>(bits_ >> (64 - bits));
        drop(bits);
        return value;
    }

    // A signed number of so many bits: the upper half of the range is positive, the lower half negative.
    int take_signed(int bits) {
        const int value = take(bits);
        return bits == 0 || value >= 1 << (bits - 1) ? value : value - (1 << bits) + 1;
    }

    void check() const {
        if (padding_ > count_) throw ImageError("ends in the middle of its image data (truncated or damaged)");
    }

    // Drops what is left of the last byte, and returns where the marker that ended the bits stands.
    const std::uint8_t* finish() {
        check();
        // Whole bytes left over, were they read ahead or not, are no part of a picture.
        while (next_ < end_ && !at_marker()) ++next_;
        return next_;
    }

    void restart(int number) {
        next_ = finish();
        while (end_ - next_ > 2 && next_[1] == 0xFF) ++next_;
        if (end_ - next_ < 2) throw ImageError("ends in the middle of its image data (truncated)");
        if (next_[1] != 0xD0 + number) throw ImageError("is damaged (a restart marker is missing)");
        next_ += 2;
        bits_ = 0;
        count_ = 0;
        padding_ = 0;
    }

private:
    bool at_marker() const { return next_[0] == 0xFF && (end_ - next_ < 2 || next_[1] != 0); }

    void refill() {
        while (count_ <= 56) {
            std::uint64_t byte = 0;
            if (next_ >= end_ || at_marker()) {
                padding_ += 8;
            } else {
                byte = *next_;
                next_ += byte == 0xFF ? 2 : 1;
            }
            bits_ |= byte << (56 - count_);
            count_ += 8;
        }
    }

    void drop(int bits) {
        bits_ <<= bits;
        count_ -= bits;
    }

    const std::uint8_t* next_;
    const std::uint8_t* end_;
    std::uint64_t bits_ = 0;
    int count_ = 0;
    int padding_ = 0;
};

// What a scan header says of the coefficients that it brings.
struct JpegBand {
    int first = 0;
    int last = 63;
    int high = 0;  // the bit refined so far, 0 for a first scan
    int low = 0;   // the bit that this scan goes down to
};

namespace detail {

inline std::int16_t to_coefficient(int value, int shift) {
    const std::int64_t shifted = static_cast<std::int64_t>(value) * (std::int64_t{1} << shift);
    if (shifted < -32767 || shifted > 32767) throw ImageError("is damaged (a coefficient out of range)");
    return static_cast<std::int16_t>(shifted);
}

inline void read_dc(JpegBits& bits, const JpegCode& code, int shift, int& predicted, std::int16_t* block) {
    const int length = bits.symbol(code);
    if (length > 15) throw ImageError("is damaged (a coefficient out of range)");
    predicted += bits.take_signed(length);
    block[0] = to_coefficient(predicted, shift);
}

inline void read_ac(JpegBits& bits, const JpegCode& code, std::int16_t* block) {
    for (int k = 1; k < 64; ++k) {
        const int symbol = bits.symbol(code);
        const int length = symbol & 15;
        const int run = symbol >> 4;
        if (length == 0 && run != 15) return;
        k += run;
        if (k > 63) throw ImageError("is damaged (a block with too many coefficients)");
        if (length > 0) block[jpeg_zigzag[static_cast<std::size_t>(k)]] = to_coefficient(bits.take_signed(length), 0);
    }
}

// `to_skip` counts the blocks still to come that bring nothing new in this band.
inline void read_ac_first(JpegBits& bits, const JpegCode& code, const JpegBand& band, int& to_skip,
                          std::int16_t* block) {
    if (to_skip > 0) {
        --to_skip;
        return;
    }
    for (int k = band.first; k <= band.last; ++k) {
        const int symbol = bits.symbol(code);
        const int length = symbol & 15;
        const int run = symbol >> 4;
        if (length == 0 && run != 15) {
            to_skip = (1 << run) - 1 + bits.take(run);
            return;
        }
        k += run;
        if (k > band.last) throw ImageError("is damaged (a block with too many coefficients)");
        if (length > 0)
            block[jpeg_zigzag[static_cast<std::size_t>(k)]] = to_coefficient(bits.take_signed(length), band.low);
    }
}

// Goes forward from `k` past `zeros` coefficients that are still zero, giving each that is not its next bit;
// returns the place of the zero after them, or one past the band.
inline int refine_up_to(JpegBits& bits, const JpegBand& band, int k, int zeros, std::int16_t* block) {
    for (; k <= band.last; ++k) {
        std::int16_t& value = block[jpeg_zigzag[static_cast<std::size_t>(k)]];
        if (value == 0) {
            if (zeros-- == 0) return k;
        } else if (bits.take(1) != 0) {
            value = to_coefficient(value + (value > 0 ? 1 : -1) * (1 << band.low), 0);
        }
    }
    return k;
}

inline void read_ac_refinement(JpegBits& bits, const JpegCode& code, const JpegBand& band, int& to_skip,
                               std::int16_t* block) {
    constexpr int all = 64;
    int k = band.first;
    while (to_skip == 0 && k <= band.last) {
        const int symbol = bits.symbol(code);
        const int length = symbol & 15;
        const int run = symbol >> 4;
        if (length > 1) throw ImageError("is damaged (a refinement of more than one bit)");
        if (length == 0 && run != 15) {
            to_skip = (1 << run) + bits.take(run);
            break;
        }
        const int fresh = length == 0 ? 0 : (bits.take(1) != 0 ? 1 : -1);
        k = refine_up_to(bits, band, k, run, block);
        if (k > band.last) {
            if (fresh != 0) throw ImageError("is damaged (a block with too many coefficients)");
            return;
        }
        block[jpeg_zigzag[static_cast<std::size_t>(k)]] = static_cast<std::int16_t>(fresh * (1 << band.low));
        ++k;
    }
    if (to_skip > 0) {
        refine_up_to(bits, band, k, all, block);
        --to_skip;
    }
}

}  // namespace detail

}  // namespace ebsynth
