// Prefix codes made to measure: Huffman's construction with a limit on the longest code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "deflate_format.h"

namespace ebsynth {

namespace detail {

struct PrefixCode {
    std::vector<std::uint8_t> lengths;
    std::vector<std::uint16_t> codes;  // bit-reversed, ready to be packed
};

// How many symbols get each length in the shortest code of these ascending frequencies, before any limit:
// the two-queue form of Huffman's construction, which needs no heap because its sums come out in order.
inline std::vector<int> huffman_depths(const std::vector<std::uint32_t>& ascending) {
    const std::size_t leaves = ascending.size();
    const std::size_t nodes = 2 * leaves - 1;
    std::vector<std::uint64_t> weight(nodes);
    std::vector<std::size_t> parent(nodes, 0);
    std::copy(ascending.begin(), ascending.end(), weight.begin());
    std::size_t leaf = 0;
    std::size_t inner = leaves;
    for (std::size_t made = leaves; made < nodes; ++made) {
        for (int child = 0; child < 2; ++child) {
            const bool take_leaf = leaf < leaves && (inner >= made || weight[leaf] <= weight[inner]);
            const std::size_t chosen = take_leaf ? leaf++ : inner++;
            weight[made] += weight[chosen];
            parent[chosen] = made;
        }
    }
    std::vector<int> depth(nodes, 0);
    for (std::size_t node = nodes - 1; node-- > 0;) depth[node] = depth[parent[node]] + 1;
    depth.resize(leaves);
    return depth;
}

// The lengths of a prefix code in which none is longer than `limit`; unused symbols get 0, and at least two are used.
inline std::vector<std::uint8_t> limited_lengths(std::vector<std::uint32_t> frequency, int limit) {
    for (std::size_t spare = 0;
         std::count(frequency.begin(), frequency.end(), 0u) > std::ptrdiff_t(frequency.size()) - 2; ++spare) {
        frequency[spare] = std::max(frequency[spare], 1u);
    }
    std::vector<std::size_t> used;
    for (std::size_t symbol = 0; symbol < frequency.size(); ++symbol) {
        if (frequency[symbol] > 0) used.push_back(symbol);
    }
    std::sort(used.begin(), used.end(), [&](std::size_t a, std::size_t b) {
        return frequency[a] != frequency[b] ? frequency[a] < frequency[b] : a < b;
    });
    std::vector<std::uint32_t> ascending;
    for (std::size_t symbol : used) ascending.push_back(frequency[symbol]);

    std::vector<int> count(static_cast<std::size_t>(limit) + 1, 0);
    std::int64_t excess =
        -(std::int64_t{1} << limit);  // by how much the shortened code overfills, in units of its deepest leaf
    for (int depth : huffman_depths(ascending)) {
        const int length = std::min(depth, limit);
        ++count[static_cast<std::size_t>(length)];
        excess += std::int64_t{1} << (limit - length);
    }
    // A leaf at `limit` moves up beside one that a shorter leaf gives room for: each turn frees exactly one unit.
    for (; excess > 0; --excess) {
        int length = limit - 1;
        while (count[static_cast<std::size_t>(length)] == 0) --length;
        --count[static_cast<std::size_t>(length)];
        count[static_cast<std::size_t>(length) + 1] += 2;
        --count[static_cast<std::size_t>(limit)];
    }
    std::vector<std::uint8_t> lengths(frequency.size(), 0);
    std::size_t next = 0;
    for (int length = limit; length > 0; --length) {
        for (int i = 0; i < count[static_cast<std::size_t>(length)]; ++i) {
            lengths[used[next++]] = static_cast<std::uint8_t>(length);
        }
    }
    return lengths;
}

inline PrefixCode prefix_code(std::vector<std::uint8_t> lengths) {
    PrefixCode code{std::move(lengths), {}};
    code.codes.resize(code.lengths.size(), 0);
    unsigned next = 0;
    for (unsigned length = 1; length <= deflate_format::longest_code; ++length, next <<= 1) {
        for (std::size_t symbol = 0; symbol < code.lengths.size(); ++symbol) {
            if (code.lengths[symbol] != length) continue;
            unsigned reversed = 0;
            for (unsigned bit = 0; bit < length; ++bit) reversed |= ((next >> bit) & 1) << (length - 1 - bit);
            code.codes[symbol] = static_cast<std::uint16_t>(reversed);
            ++next;
        }
    }
    return code;
}

}  // namespace detail

}  // namespace ebsynth
