// Voting: every target pixel becomes the weighted mean of what the patches over it bring along.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "isa.h"
#include "lanes.h"

namespace ebs {

// Up to three channels and a one that counts the votes: [c0 c1 c2 1], 0 outside of the image, where nothing votes.
constexpr int kVoteChannels = 3;

struct Ballot {
    Size size{0, 0};
    int pad = 0;
    ptrdiff_t pitch = 0;
    std::vector<uint32_t> pixels;

    // `channel(y, x)` points to the group's first channel.
    template <class Channel>
    Ballot(Size size, int pad, int channels, const Channel& channel)
        : size(size), pad(pad), pitch(size.width + 2 * pad), pixels(size_t(pitch) * (size.height + 2 * pad) + kLoadSlack) {
        for (int y = 0; y < size.height; ++y)
            for (int x = 0; x < size.width; ++x) {
                const uint8_t* from = channel(y, x);
                uint32_t packed = 1u << 24;
                for (int c = 0; c < channels; ++c) packed |= uint32_t(from[c]) << (8 * c);
                pixels[(y + pad) * pitch + x + pad] = packed;
            }
    }
};

// Adds `count` pixels times their weights to each of `patch` rows of sums; `wide` repeats each weight four times and goes
// on with zeros. A weight stays below 2^15.
using AccumulateFn = void (*)(int32_t* const* rows, ptrdiff_t at, const uint32_t* source, ptrdiff_t pitch,
                              const int32_t* wide, int count, int patch);

inline void accumulate_portable(int32_t* const* rows, ptrdiff_t at, const uint32_t* source, ptrdiff_t pitch,
                                const int32_t* wide, int count, int patch) {
    for (int row = 0; row < patch; ++row, source += pitch) {
        int32_t* to = rows[row] + at;
        const uint8_t* from = reinterpret_cast<const uint8_t*>(source);
        for (int i = 0; i < 4 * count; ++i) to[i] += from[i] * wide[i];
    }
}

#if EBS_X86
__attribute__((target("avx2"))) inline void accumulate_avx2(int32_t* const* rows, ptrdiff_t at, const uint32_t* source,
                                                            ptrdiff_t pitch, const int32_t* wide, int count, int patch) {
    for (int row = 0; row < patch; ++row, source += pitch) {
        int32_t* to = rows[row] + at;
        for (int i = 0; i < count; i += 2) {
            const __m256i from = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source + i)));
            const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(wide + 4 * i));
            __m256i* sum = reinterpret_cast<__m256i*>(to + 4 * i);
            _mm256_storeu_si256(sum, _mm256_add_epi32(_mm256_loadu_si256(sum), _mm256_madd_epi16(from, weight)));
        }
    }
}

__attribute__((target("avx512f,avx512bw,avx512vl"))) inline void accumulate_avx512(int32_t* const* rows, ptrdiff_t at,
                                                                                   const uint32_t* source,
                                                                                   ptrdiff_t pitch, const int32_t* wide,
                                                                                   int count, int patch) {
    for (int row = 0; row < patch; ++row, source += pitch) {
        int32_t* to = rows[row] + at;
        for (int i = 0; i < count; i += 4) {
            const __m512i from = _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i)));
            const __m512i weight = _mm512_loadu_si512(wide + 4 * i);
            _mm512_storeu_si512(to + 4 * i,
                                _mm512_add_epi32(_mm512_loadu_si512(to + 4 * i), _mm512_madd_epi16(from, weight)));
        }
    }
}
#endif

inline AccumulateFn choose_accumulate(Isa isa) {
#if EBS_X86
    if (isa == Isa::avx512) return accumulate_avx512;
    if (isa != Isa::portable) return accumulate_avx2;
#endif
    (void)isa;
    return accumulate_portable;
}

// The means of a row's votes, rounded half up: four bytes a pixel, of which the fourth has no meaning. A mean is off by less
// than 1e-12, one that is no tie by more than 1e-7 from one: the small addend makes the rounding exact.
inline void weighted_means(const int32_t* sums, int width, uint8_t* means) {
    for (int x = 0; x < width; ++x, sums += 4, means += 4) {
        const double inverse = 1.0 / double(sums[kVoteChannels]);
        for (int c = 0; c < 4; ++c) means[c] = uint8_t(double(sums[c]) * inverse + (0.5 + 1e-9));
    }
}

// The same of at most 33 * 33 votes without weights, where a float will do: sums stay below 2^24, a mean is off by less
// than 1e-4 and one that is no tie by more than 4e-4 from one.
inline void plain_means(const int32_t* sums, int width, uint8_t* means) {
    static_assert(EBS_MAX_PATCH * EBS_MAX_PATCH <= 1100, "");
    for (int x = 0; x < width; ++x, sums += 4, means += 4) {
        const float inverse = 1.0f / float(sums[kVoteChannels]);
        int32_t whole[4];
        for (int c = 0; c < 4; ++c) whole[c] = int32_t(float(sums[c]) * inverse + (0.5f + 1.5e-4f));
        for (int c = 0; c < 4; ++c) means[c] = uint8_t(whole[c]);
    }
}

// Votes the rows [begin, end) and hands their means, four bytes a pixel, to paint(y, means).
// Neighbours with one offset to their sources vote as one run: their patches bring the same pixels, so that a run costs its
// length plus a patch for each row, not a patch for each pixel. `weights` (one a pixel, at most 256) may be null.
template <class Paint>
void vote_rows(const Ballot& ballot, const Point* nnf, Size size, int begin, int end, const uint16_t* weights,
               AccumulateFn accumulate, const Paint& paint) {
    const int reach = ballot.pad, patch = 2 * reach + 1, width = size.width;
    const size_t row_sums = size_t(width + 2 * reach + 16) * 4;
    std::vector<int32_t> sums(row_sums * patch), wide(row_sums), before(size_t(width) + 1);
    std::vector<int32_t*> rows(patch);
    std::vector<uint8_t> means(4 * size_t(width));
    const auto ring = [&](int y) { return &sums[size_t((y % patch + patch) % patch) * row_sums]; };
    for (int y = begin - reach; y < end + reach; ++y) {
        if (y >= 0 && y < size.height) {
            for (int row = 0; row < patch; ++row) rows[row] = ring(y - reach + row);
            const Point* n = nnf + size_t(y) * width;
            const uint16_t* weight = weights ? weights + size_t(y) * width : nullptr;
            for (int first = 0, last; first < width; first = last) {
                const int offset = n[first].x - first, source_row = n[first].y;
                for (last = first + 1; last < width && n[last].x - last == offset && n[last].y == source_row;) ++last;
                const int run = last - first, length = run + 2 * reach;
                if (weight)
                    for (int i = 0; i < run; ++i) before[i + 1] = before[i] + weight[first + i];
                for (int i = 0; i < length; ++i) {
                    const int from = std::max(0, i - 2 * reach), to = std::min(run, i + 1);
                    const int32_t votes = weight ? before[to] - before[from] : to - from;
                    for (int c = 0; c < 4; ++c) wide[4 * i + c] = votes;
                }
                std::fill_n(&wide[4 * length], 16, 0);
                accumulate(rows.data(), ptrdiff_t(first) * 4,
                           &ballot.pixels[source_row * ballot.pitch + n[first].x], ballot.pitch, wide.data(), length,
                           patch);
            }
        }
        const int done = y - reach;
        int32_t* row = ring(done);
        if (done >= begin && done < end) {
            (weights ? weighted_means : plain_means)(row + 4 * reach, width, means.data());
            paint(done, means.data());
        }
        std::fill_n(row, row_sums, 0);
    }
}

// Weights of an error-weighted vote: 256 m / (m + error), m the mean error, at least 1.
inline std::vector<uint16_t> vote_weights(const float* error, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += double(error[i]);
    const double mean = sum / double(count);
    std::vector<uint16_t> weights(count, 256);
    if (mean > 0)
        for (size_t i = 0; i < count; ++i)
            weights[i] = uint16_t(std::max(1.0, 256.0 * mean / (mean + double(error[i]))));
    return weights;
}

// Votes a whole image of any number of channels into dense pixels.
template <class Channel>
void vote_image(Size source, int channels, const Channel& channel, const Point* nnf, Size size, int patch,
                const uint16_t* weights, Isa isa, Pool& pool, uint8_t* voted) {
    const AccumulateFn accumulate = choose_accumulate(isa);
    for (int first = 0; first < channels; first += kVoteChannels) {
        const int group = std::min(kVoteChannels, channels - first);
        const Ballot ballot(source, patch / 2, group, [&](int y, int x) { return channel(y, x) + first; });
        for_vote_bands(pool, size.height, [&](int begin, int end) {
            vote_rows(ballot, nnf, size, begin, end, weights, accumulate, [&](int y, const uint8_t* means) {
                uint8_t* to = voted + size_t(y) * size.width * channels + first;
                for (int x = 0; x < size.width; ++x, to += channels, means += 4)
                    for (int c = 0; c < group; ++c) to[c] = means[c];
            });
        });
    }
}

}  // namespace ebs
