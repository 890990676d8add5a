// Included by score_x86.h once for each instruction set, inside its namespace; so no `#pragma once`.

EBS_SIMD EBS_INLINE int64_t total64(__m128i v) {
    return _mm_cvtsi128_si64(_mm_add_epi64(v, _mm_unpackhi_epi64(v, v)));
}

// Four 32-bit sums times their weights.
EBS_SIMD EBS_INLINE int64_t weigh_four(__m128i sums, const int32_t* weights) {
    const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights));
    return total64(
        _mm_add_epi64(_mm_mul_epi32(sums, w), _mm_mul_epi32(_mm_srli_epi64(sums, 32), _mm_srli_epi64(w, 32))));
}

// Patch size and lanes are known at compile time. Where 1, 2 or 4 lanes repeat within every vector, all vectors of a row
// add up in two sums; otherwise each vector of the row has its own.
template <int P, int L, Rows R>
EBS_SIMD void dots(const PatchGeometry& g, const uint8_t* target, const uint8_t* const* sources, int count,
                   int64_t* out) {
    constexpr int kRow = 4 * P * L, kVectors = (kRow + kBytes - 1) / kBytes;
    constexpr bool kShared = L == 1 || L == 2 || L == 4;
    constexpr int kSums = kShared ? 2 : kVectors;
    constexpr bool kKeep = P * kVectors <= 12;  // the target's patch fits the registers
    Target kept[kKeep ? P * kVectors : 1];
    if constexpr (kKeep) {
#pragma GCC unroll 16
        for (int row = 0; row < P; ++row)
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v)
                kept[row * kVectors + v] = load_target(target + row * g.target_pitch + v * kBytes, kRow - v * kBytes);
    }
    for (int i = 0; i < count; ++i) {
        Vector sums[kSums];
#pragma GCC unroll 16
        for (int k = 0; k < kSums; ++k) sums[k] = zero();
        const uint8_t* b = sources[i];
#pragma GCC unroll 33
        for (int row = 0; row < P; ++row) {
            if (is_row_of(R, row)) {
#pragma GCC unroll 16
                for (int v = 0; v < kVectors; ++v) {
                    const int k = kShared ? (row * kVectors + v) & 1 : v;
                    if constexpr (kKeep)
                        sums[k] = dot(sums[k], b + v * kBytes, kept[row * kVectors + v]);
                    else
                        sums[k] = dot(sums[k], b + v * kBytes,
                                      load_target(target + row * g.target_pitch + v * kBytes, kRow - v * kBytes));
                }
            }
            b += g.source_pitch;
        }
        if constexpr (kShared) {
            out[i] = weigh_four(fold32(add(sums[0], sums[1])), g.weights);
        } else {
            Vector total = weigh(sums[0], g.weights);
#pragma GCC unroll 16
            for (int v = 1; v < kVectors; ++v) total = add64(total, weigh(sums[v], g.weights + v * (kBytes / 4)));
            out[i] = total64(fold64(total));
        }
    }
}

// Any patch size and number of lanes: one column of vectors after the other.
template <Rows R>
EBS_SIMD void dots_any(const PatchGeometry& g, const uint8_t* target, const uint8_t* const* sources, int count,
                       int64_t* out) {
    const int row_bytes = 4 * g.patch * g.lanes;
    const bool shared = g.lanes == 1 || g.lanes == 2 || g.lanes == 4;
    for (int i = 0; i < count; ++i) {
        Vector all = zero(), total = zero();
        for (int at = 0; at < row_bytes; at += kBytes) {
            Vector sum = zero();
            for (int row = 0; row < g.patch; ++row)
                if (is_row_of(R, row))
                    sum = dot(sum, sources[i] + row * g.source_pitch + at,
                              load_target(target + row * g.target_pitch + at, row_bytes - at));
            if (shared)
                all = add(all, sum);
            else
                total = add64(total, weigh(sum, g.weights + at / 4));
        }
        out[i] = shared ? weigh_four(fold32(all), g.weights) : total64(fold64(total));
    }
}

template <int P, int L>
DotKernels fixed_kernels() {
    // Patches this small are never bounded: a part of them costs as much as the whole.
    if constexpr (P <= 5)
        return {dots<P, L, Rows::all>, dots_any<Rows::sampled>, dots_any<Rows::others>};
    else
        return {dots<P, L, Rows::all>, dots<P, L, Rows::sampled>, dots<P, L, Rows::others>};
}

inline DotKernels kernels(int patch, int lanes) {
    switch (patch * 100 + lanes) {
        case 301: return fixed_kernels<3, 1>();
        case 302: return fixed_kernels<3, 2>();
        case 501: return fixed_kernels<5, 1>();
        case 502: return fixed_kernels<5, 2>();
        case 503: return fixed_kernels<5, 3>();
        case 504: return fixed_kernels<5, 4>();
        case 505: return fixed_kernels<5, 5>();
        case 1101: return fixed_kernels<11, 1>();
        case 1102: return fixed_kernels<11, 2>();
        case 2101: return fixed_kernels<21, 1>();
        case 2102: return fixed_kernels<21, 2>();
        default: return {dots_any<Rows::all>, dots_any<Rows::sampled>, dots_any<Rows::others>};
    }
}
