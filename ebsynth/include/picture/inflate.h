// Reads a zlib stream (RFC 1950, 1951) of a size known beforehand.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "checksum.h"
#include "deflate_format.h"
#include "image.h"

namespace ebsynth {

// A canonical prefix code, read least significant bit first: short codes by one look-up, long ones bit by bit.
class InflateCode {
public:
    InflateCode(const std::uint8_t* lengths, int symbols) {
        for (int symbol = 0; symbol < symbols; ++symbol) ++count_[lengths[symbol]];
        count_[0] = 0;
        int left = 1;
        int used = 0;
        for (int length = 1; length <= deflate_format::longest_code; ++length) {
            left = 2 * left - count_[static_cast<std::size_t>(length)];
            used += count_[static_cast<std::size_t>(length)];
            if (left < 0) throw ImageError("holds damaged compressed data (a code with too many symbols)");
        }
        // RFC 1951 lets a code of one symbol (or none, where nothing is coded) leave bit patterns unused.
        if (left > 0 && !(used == 0 || (used == 1 && count_[1] == 1))) {
            throw ImageError("holds damaged compressed data (a code with unused patterns)");
        }
        order_symbols(lengths, symbols);
    }

    // Needs 15 bits in `bits`, missing ones as zero; returns the symbol and its length, or -1.
    int decode(std::uint64_t bits, int& length) const {
        const std::uint16_t entry = fast_[bits & (fast_size - 1)];
        if (entry != 0) {
            length = entry >> 9;
            return entry & 511;
        }
        int code = 0;
        int first = 0;
        int index = 0;
        for (length = 1; length <= deflate_format::longest_code; ++length) {
            code |= static_cast<int>(bits & 1);
            bits >>= 1;
            const int count = count_[static_cast<std::size_t>(length)];
            if (code - first < count) return sorted_[static_cast<std::size_t>(index + code - first)];
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        return -1;
    }

private:
    static constexpr int fast_bits = 10;
    static constexpr std::size_t fast_size = std::size_t{1} << fast_bits;

    void order_symbols(const std::uint8_t* lengths, int symbols) {
        std::array<int, 17> next_index{};
        std::array<unsigned, 17> next_code{};
        for (std::size_t length = 1; length <= 15; ++length) {
            next_index[length + 1] = next_index[length] + count_[length];
            next_code[length + 1] = (next_code[length] + static_cast<unsigned>(count_[length])) << 1;
        }
        for (int symbol = 0; symbol < symbols; ++symbol) {
            const unsigned length = lengths[symbol];
            if (length == 0) continue;
            sorted_[static_cast<std::size_t>(next_index[length]++)] = static_cast<std::uint16_t>(symbol);
            const unsigned code = next_code[length]++;
            if (length > fast_bits) continue;
            unsigned reversed = 0;
            for (unsigned bit = 0; bit < length; ++bit) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
            const auto entry = static_cast<std::uint16_t>(length << 9 | static_cast<unsigned>(symbol));
            for (std::size_t slot = reversed; slot < fast_size; slot += std::size_t{1} << length) fast_[slot] = entry;
        }
    }

    std::array<int, 16> count_{};
    std::array<std::uint16_t, 288> sorted_{};
    std::array<std::uint16_t, fast_size> fast_{};
};

class Inflater {
public:
    Inflater(const std::uint8_t* data, std::size_t size, std::uint8_t* out, std::size_t out_size)
        : data_(data), end_(data + size), out_(out), out_size_(out_size) {}

    // Fills the output exactly, or throws.
    void run() {
        const unsigned method = take(8);
        const unsigned flags = take(8);
        if ((method & 15) != 8 || (method >> 4) > 7 || (method * 256 + flags) % 31 != 0 || (flags & 32) != 0) {
            throw ImageError("holds damaged compressed data (no zlib header)");
        }
        bool last = false;
        while (!last) {
            last = take(1) != 0;
            switch (take(2)) {
                case 0: stored_block(); break;
                case 1: fixed_block(); break;
                case 2: dynamic_block(); break;
                default: throw ImageError("holds damaged compressed data (an unknown kind of block)");
            }
        }
        if (written_ != out_size_) {
            throw ImageError("holds " + std::to_string(written_) + " bytes of image data where its size needs " +
                             std::to_string(out_size_));
        }
        drop(count_ & 7);
        std::uint32_t expected = 0;
        for (int byte = 0; byte < 4; ++byte) expected = expected << 8 | take(8);
        if (expected != adler32(out_, out_size_)) throw ImageError("holds damaged compressed data (checksum differs)");
    }

private:
    // At least 56 bits, as long as the data last.
    void refill() {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (end_ - data_ >= 8) {
            std::uint64_t next;
            std::memcpy(&next, data_, sizeof next);
            bits_ |= next << count_;
            data_ += (63 - count_) / 8;
            count_ |= 56;  // whole bytes only; the bits above are taken again with the next eight
            return;
        }
        bits_ &= (std::uint64_t{1} << count_) - 1;
#endif
        while (count_ <= 56 && data_ < end_) {
            bits_ |= static_cast<std::uint64_t>(*data_++) << count_;
            count_ += 8;
        }
    }

    void drop(int bits) {
        if (bits > count_) throw ImageError("ends in the middle of its compressed data (truncated)");
        bits_ >>= bits;
        count_ -= bits;
    }

    unsigned take(int bits) {
        if (count_ < bits) refill();
        const auto value = static_cast<unsigned>(bits_ & ((std::uint64_t{1} << bits) - 1));
        drop(bits);
        return value;
    }

    int symbol(const InflateCode& code) {
        int length = 0;
        const int value = code.decode(bits_, length);
        if (value < 0) throw ImageError("holds damaged compressed data (an unknown code)");
        drop(length);
        return value;
    }

    void reserve(std::size_t bytes) const {
        if (bytes > out_size_ - written_) {
            throw ImageError("holds more image data than the " + std::to_string(out_size_) + " bytes its size needs");
        }
    }

    void stored_block() {
        drop(count_ & 7);
        const unsigned size = take(16);
        if ((size ^ take(16)) != 0xFFFF) throw ImageError("holds damaged compressed data (a bad block length)");
        reserve(size);
        std::size_t left = size;
        for (; left > 0 && count_ > 0; --left) out_[written_++] = static_cast<std::uint8_t>(take(8));
        if (count_ == 0) bits_ = 0;  // the bytes read ahead are passed over below
        if (left > static_cast<std::size_t>(end_ - data_)) {
            throw ImageError("ends in the middle of its compressed data (truncated)");
        }
        std::copy_n(data_, left, out_ + written_);
        data_ += left;
        written_ += left;
    }

    void fixed_block() {
        std::array<std::uint8_t, 32> distances{};  // the last two are never valid; they complete the code
        distances.fill(5);
        const auto literals = deflate_format::fixed_literal_lengths();
        coded_block(InflateCode(literals.data(), 288), InflateCode(distances.data(), 32));
    }

    void dynamic_block() {
        const int literals = static_cast<int>(take(5)) + 257;
        const int distances = static_cast<int>(take(5)) + 1;
        const int listed = static_cast<int>(take(4)) + 4;
        if (literals > deflate_format::literal_codes || distances > deflate_format::distance_codes) {
            throw ImageError("holds damaged compressed data (too many codes)");
        }
        std::array<std::uint8_t, 19> meta{};
        for (int i = 0; i < listed; ++i) {
            meta[deflate_format::code_length_order[static_cast<std::size_t>(i)]] = static_cast<std::uint8_t>(take(3));
        }
        const InflateCode meta_code(meta.data(), 19);
        std::array<std::uint8_t, 320> lengths{};
        for (int filled = 0; filled < literals + distances;) {
            refill();
            const int value = symbol(meta_code);
            int repeat = 1;
            int repeated = value;
            if (value == 16) {
                if (filled == 0) throw ImageError("holds damaged compressed data (a repeat of nothing)");
                repeated = lengths[static_cast<std::size_t>(filled - 1)];
                repeat = 3 + static_cast<int>(take(2));
            } else if (value >= 17) {
                repeated = 0;
                repeat = value == 17 ? 3 + static_cast<int>(take(3)) : 11 + static_cast<int>(take(7));
            }
            if (repeat > literals + distances - filled) {
                throw ImageError("holds damaged compressed data (too many code lengths)");
            }
            for (; repeat > 0; --repeat)
                lengths[static_cast<std::size_t>(filled++)] = static_cast<std::uint8_t>(repeated);
        }
        if (lengths[deflate_format::end_of_block] == 0) {
            throw ImageError("holds damaged compressed data (a block without end)");
        }
        coded_block(InflateCode(lengths.data(), literals), InflateCode(lengths.data() + literals, distances));
    }

    void coded_block(const InflateCode& literals, const InflateCode& distances) {
        for (;;) {
            refill();  // a literal or length with its distance takes at most 48 bits
            const int value = symbol(literals);
            if (value < deflate_format::end_of_block) {
                reserve(1);
                out_[written_++] = static_cast<std::uint8_t>(value);
                continue;
            }
            if (value == deflate_format::end_of_block) return;
            copy_match(value - deflate_format::end_of_block - 1, distances);
        }
    }

    void copy_match(int length_code, const InflateCode& distances) {
        if (length_code >= deflate_format::length_codes) {
            throw ImageError("holds damaged compressed data (an unknown length)");
        }
        const auto lc = static_cast<std::size_t>(length_code);
        const std::size_t length = deflate_format::length_base[lc] + take(deflate_format::length_extra[lc]);
        const int distance_code = symbol(distances);
        if (distance_code >= deflate_format::distance_codes) {
            throw ImageError("holds damaged compressed data (an unknown distance)");
        }
        const auto dc = static_cast<std::size_t>(distance_code);
        const std::size_t distance = deflate_format::distance_base[dc] + take(deflate_format::distance_extra[dc]);
        if (distance > written_) throw ImageError("holds damaged compressed data (a distance before its start)");
        reserve(length);
        std::uint8_t* to = out_ + written_;
        const std::uint8_t* from = to - distance;
        if (distance >= length) {
            std::memcpy(to, from, length);
        } else {
            for (std::size_t i = 0; i < length; ++i) to[i] = from[i];
        }
        written_ += length;
    }

    const std::uint8_t* data_;
    const std::uint8_t* end_;
    std::uint8_t* out_;
    std::size_t out_size_;
    std::size_t written_ = 0;
    std::uint64_t bits_ = 0;
    int count_ = 0;
};

}  // namespace ebsynth
