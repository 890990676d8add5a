// Writes a zlib stream (RFC 1950, 1951): matches found through hash chains, one code per block.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "checksum.h"
#include "deflate_format.h"
#include "prefix_code.h"

namespace ebsynth {

namespace detail {

// Least significant bit first, as deflate packs its codes.
class DeflateBits {
public:
    explicit DeflateBits(std::vector<std::uint8_t>& out) : out_(out) {}

    void put(std::uint32_t value, int bits) {
        pending_ |= static_cast<std::uint64_t>(value) << count_;
        count_ += bits;
        while (count_ >= 8) {
            out_.push_back(static_cast<std::uint8_t>(pending_));
            pending_ >>= 8;
            count_ -= 8;
        }
    }

    void align() {
        if (count_ > 0) put(0, 8 - count_);
    }

    int pending_bits() const { return count_; }

private:
    std::vector<std::uint8_t>& out_;
    std::uint64_t pending_ = 0;
    int count_ = 0;
};

template <std::size_t N>
int last_not_above(const std::array<std::uint16_t, N>& bases, unsigned value) {
    return static_cast<int>(std::upper_bound(bases.begin(), bases.end(), value) - bases.begin()) - 1;
}

struct LengthCodes {
    std::array<std::uint8_t, 259> of{};
    LengthCodes() {
        for (unsigned length = 3; length < of.size(); ++length) {
            of[length] = static_cast<std::uint8_t>(last_not_above(deflate_format::length_base, length));
        }
    }
};

inline int length_code(unsigned length) {
    static const LengthCodes codes;
    return codes.of[length];
}

inline int distance_code(unsigned distance) { return last_not_above(deflate_format::distance_base, distance); }

}  // namespace detail

class Deflater {
public:
    static std::vector<std::uint8_t> zlib(const std::uint8_t* data, std::size_t size) {
        std::vector<std::uint8_t> out{0x78, 0x9C};
        out.reserve(size / 2 + 64);
        Deflater(data, size, out).run();
        const std::uint32_t sum = adler32(data, size);
        for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(sum >> shift));
        return out;
    }

private:
    struct Match {
        unsigned length = 0;
        unsigned distance = 0;
    };
    using Token = Match;  // of a literal: length 0, and the byte as its distance

    static constexpr std::size_t window = 32768;
    static constexpr unsigned shortest_match = 4;  // three bytes seldom pay for their distance in filtered rows
    static constexpr unsigned longest_match = 258;
    static constexpr unsigned good_match = 32;  // long enough to be taken without a look at the next position
    static constexpr int chain_limit = 8;
    static constexpr int hash_bits = 16;
    static constexpr std::size_t block_tokens = 32768;

    Deflater(const std::uint8_t* data, std::size_t size, std::vector<std::uint8_t>& out)
        : data_(data),
          size_(size),
          bits_(out),
          out_(out),
          head_(std::size_t{1} << hash_bits, 0),
          previous_(window, 0) {}

    void run() {
        tokens_.reserve(block_tokens);
        std::size_t at = 0;
        Match waiting = longest_at(0);
        while (at < size_) {
            insert(at);
            const Match next = waiting.length >= good_match ? Match{} : longest_at(at + 1);
            if (waiting.length < shortest_match || next.length > waiting.length) {
                tokens_.push_back({0, data_[at]});
                ++at;
                waiting = next;
            } else {
                tokens_.push_back(waiting);
                for (unsigned i = 1; i < waiting.length; ++i) insert(at + i);
                at += waiting.length;
                waiting = longest_at(at);
            }
            if (tokens_.size() >= block_tokens) flush(at, at == size_);
        }
        if (block_start_ < size_ || size_ == 0) flush(size_, true);
        bits_.align();
    }

    std::uint32_t four_bytes(std::size_t at) const {
        std::uint32_t bytes;
        std::memcpy(&bytes, data_ + at, sizeof bytes);
        return bytes;
    }

    static std::size_t hash(std::uint32_t bytes) { return (bytes * 2654435761u) >> (32 - hash_bits); }

    // Positions are kept plus one, so that 0 means none.
    void insert(std::size_t at) {
        if (at + shortest_match > size_) return;
        const std::size_t h = hash(four_bytes(at));
        previous_[at % window] = head_[h];
        head_[h] = static_cast<std::uint32_t>(at + 1);
    }

    Match longest_at(std::size_t at) const {
        Match best;
        if (at + shortest_match > size_) return best;
        const auto limit = static_cast<unsigned>(std::min<std::size_t>(longest_match, size_ - at));
        const std::uint32_t here = four_bytes(at);
        std::size_t candidate = head_[hash(here)];
        for (int tried = 0; candidate > 0 && tried < chain_limit; ++tried) {
            const std::size_t from = candidate - 1;
            if (at - from > window - 1) break;
            // Most candidates of a hash are none: one comparison settles that.
            if (data_[from + best.length] == data_[at + best.length] && four_bytes(from) == here) {
                const unsigned length = common(from, at, limit);
                if (length > best.length) {
                    best = {length, static_cast<unsigned>(at - from)};
                    if (length == limit) break;
                }
            }
            candidate = previous_[from % window];
        }
        return best.length >= shortest_match ? best : Match{};
    }

    unsigned common(std::size_t a, std::size_t b, unsigned limit) const {
        unsigned length = 0;
        while (length + 8 <= limit && std::memcmp(data_ + a + length, data_ + b + length, 8) == 0) length += 8;
        while (length < limit && data_[a + length] == data_[b + length]) ++length;
        return length;
    }

    // A run of code lengths as the symbols 0–18 with their extra bits.
    struct MetaToken {
        std::uint8_t symbol;
        std::uint8_t extra;
        std::uint8_t extra_bits;
    };

    static std::vector<MetaToken> run_lengths(const std::vector<std::uint8_t>& lengths) {
        std::vector<MetaToken> tokens;
        for (std::size_t i = 0; i < lengths.size();) {
            const std::uint8_t value = lengths[i];
            std::size_t run = 1;
            while (i + run < lengths.size() && lengths[i + run] == value) ++run;
            i += run;
            if (value != 0) {
                tokens.push_back({value, 0, 0});
                --run;
            }
            while (run >= 3) {
                const std::size_t most = value != 0 ? 6 : run >= 11 ? 138 : 10;
                const std::size_t count = std::min(run, most);
                if (value != 0) {
                    tokens.push_back({16, static_cast<std::uint8_t>(count - 3), 2});
                } else if (count >= 11) {
                    tokens.push_back({18, static_cast<std::uint8_t>(count - 11), 7});
                } else {
                    tokens.push_back({17, static_cast<std::uint8_t>(count - 3), 3});
                }
                run -= count;
            }
            for (; run > 0; --run) tokens.push_back({value, 0, 0});
        }
        return tokens;
    }

    void flush(std::size_t end, bool last) {
        std::vector<std::uint32_t> literal_frequency(deflate_format::literal_codes, 0);
        std::vector<std::uint32_t> distance_frequency(deflate_format::distance_codes, 0);
        literal_frequency[deflate_format::end_of_block] = 1;
        for (const Token& token : tokens_) {
            if (token.length == 0) {
                ++literal_frequency[token.distance];
            } else {
                ++literal_frequency[static_cast<std::size_t>(257 + detail::length_code(token.length))];
                ++distance_frequency[static_cast<std::size_t>(detail::distance_code(token.distance))];
            }
        }
        const detail::PrefixCode literals = detail::prefix_code(detail::limited_lengths(literal_frequency, 15));
        const detail::PrefixCode distances = detail::prefix_code(detail::limited_lengths(distance_frequency, 15));
        std::uint64_t bits = 0;
        for (std::size_t s = 0; s < literal_frequency.size(); ++s) {
            const int extra = s > 256 ? deflate_format::length_extra[s - 257] : 0;
            bits += std::uint64_t{literal_frequency[s]} * static_cast<std::uint64_t>(literals.lengths[s] + extra);
        }
        for (std::size_t s = 0; s < distance_frequency.size(); ++s) {
            bits += std::uint64_t{distance_frequency[s]} *
                    static_cast<std::uint64_t>(distances.lengths[s] + deflate_format::distance_extra[s]);
        }
        if (bits / 8 >= end - block_start_) {
            write_stored(end, last);
        } else {
            write_coded(literals, distances, last);
        }
        tokens_.clear();
        block_start_ = end;
    }

    void write_stored(std::size_t end, bool last) {
        std::size_t at = block_start_;
        do {
            const std::size_t count = std::min<std::size_t>(end - at, 65535);
            bits_.put(last && at + count == end ? 1 : 0, 1);
            bits_.put(0, 2);
            bits_.align();
            bits_.put(static_cast<std::uint32_t>(count), 16);
            bits_.put(static_cast<std::uint32_t>(count) ^ 0xFFFF, 16);
            out_.insert(out_.end(), data_ + at, data_ + at + count);
            at += count;
        } while (at < end);
    }

    void write_coded(const detail::PrefixCode& literals, const detail::PrefixCode& distances, bool last) {
        std::vector<std::uint8_t> all = literals.lengths;
        all.insert(all.end(), distances.lengths.begin(), distances.lengths.end());
        const std::vector<MetaToken> header = run_lengths(all);
        std::vector<std::uint32_t> frequency(19, 0);
        for (const MetaToken& token : header) ++frequency[token.symbol];
        const detail::PrefixCode meta = detail::prefix_code(detail::limited_lengths(frequency, 7));
        bits_.put(last ? 1 : 0, 1);
        bits_.put(2, 2);
        bits_.put(deflate_format::literal_codes - 257, 5);
        bits_.put(deflate_format::distance_codes - 1, 5);
        bits_.put(19 - 4, 4);
        for (std::uint8_t symbol : deflate_format::code_length_order) bits_.put(meta.lengths[symbol], 3);
        for (const MetaToken& token : header) {
            bits_.put(meta.codes[token.symbol], meta.lengths[token.symbol]);
            bits_.put(token.extra, token.extra_bits);
        }
        for (const Token& token : tokens_) {
            if (token.length == 0) {
                bits_.put(literals.codes[token.distance], literals.lengths[token.distance]);
                continue;
            }
            const auto lc = static_cast<std::size_t>(detail::length_code(token.length));
            const auto dc = static_cast<std::size_t>(detail::distance_code(token.distance));
            bits_.put(literals.codes[257 + lc], literals.lengths[257 + lc]);
            bits_.put(token.length - deflate_format::length_base[lc], deflate_format::length_extra[lc]);
            bits_.put(distances.codes[dc], distances.lengths[dc]);
            bits_.put(token.distance - deflate_format::distance_base[dc], deflate_format::distance_extra[dc]);
        }
        bits_.put(literals.codes[deflate_format::end_of_block], literals.lengths[deflate_format::end_of_block]);
    }

    const std::uint8_t* data_;
    std::size_t size_;
    detail::DeflateBits bits_;
    std::vector<std::uint8_t>& out_;
    std::vector<std::uint32_t> head_;
    std::vector<std::uint32_t> previous_;
    std::vector<Token> tokens_;
    std::size_t block_start_ = 0;
};

}  // namespace ebsynth
