// The dot products for x86: four instruction sets give their vectors and operations, score_x86_body.h the loops.
#pragma once

#if EBS_X86
#include <immintrin.h>

#define EBS_INLINE inline __attribute__((always_inline))

// ---- 64-byte vectors with VNNI
#define EBS_SIMD __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
namespace ebs {
namespace avx512 {
constexpr int kBytes = 64;
using Vector = __m512i;
using Target = __m512i;
EBS_SIMD EBS_INLINE Vector zero() { return _mm512_setzero_si512(); }
EBS_SIMD EBS_INLINE Target load_target(const uint8_t* p, int bytes) {
    return bytes >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((__mmask64(1) << bytes) - 1, p);
}
EBS_SIMD EBS_INLINE Vector dot(Vector sum, const uint8_t* source, Target target) {
    return _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(source), target);
}
EBS_SIMD EBS_INLINE Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
EBS_SIMD EBS_INLINE Vector add64(Vector a, Vector b) { return _mm512_add_epi64(a, b); }
// GCC makes the plain forms of these of an undefined vector, and warns of it; with all lanes chosen, these cost the same.
EBS_SIMD EBS_INLINE Vector multiply(Vector a, Vector b) { return _mm512_maskz_mul_epi32(0xff, a, b); }
EBS_SIMD EBS_INLINE Vector odd_lanes(Vector v) { return _mm512_maskz_srli_epi64(0xff, v, 32); }
EBS_SIMD EBS_INLINE __m256i low_half(Vector v) { return _mm512_maskz_extracti64x4_epi64(0xff, v, 0); }
EBS_SIMD EBS_INLINE __m256i high_half(Vector v) { return _mm512_maskz_extracti64x4_epi64(0xff, v, 1); }
EBS_SIMD EBS_INLINE Vector weigh(Vector sum, const int32_t* weights) {
    const Vector w = _mm512_loadu_si512(weights);
    return _mm512_add_epi64(multiply(sum, w), multiply(odd_lanes(sum), odd_lanes(w)));
}
EBS_SIMD EBS_INLINE __m128i fold32(Vector v) {
    const __m256i half = _mm256_add_epi32(low_half(v), high_half(v));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
EBS_SIMD EBS_INLINE __m128i fold64(Vector v) {
    const __m256i half = _mm256_add_epi64(low_half(v), high_half(v));
    return _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
#include "score_x86_body.h"
}  // namespace avx512
}  // namespace ebs
#undef EBS_SIMD

// ---- 32-byte vectors with VNNI, in both of its encodings
#define EBS_HALF_VECTORS(DPBUSD)                                                                               \
    constexpr int kBytes = 32;                                                                                 \
    using Vector = __m256i;                                                                                    \
    using Target = __m256i;                                                                                    \
    EBS_SIMD EBS_INLINE Vector zero() { return _mm256_setzero_si256(); }                                       \
    EBS_SIMD EBS_INLINE Target load_target(const uint8_t* p, int bytes) { return load_whole_lanes(p, bytes); } \
    EBS_SIMD EBS_INLINE Vector dot(Vector sum, const uint8_t* source, Target target) {                         \
        return DPBUSD(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)), target);              \
    }                                                                                                          \
    EBS_256_SUMS

// What 32-byte vectors share. A row holds whole lanes, so its tail is masked by four bytes.
#define EBS_256_LOAD                                                                                     \
    EBS_SIMD EBS_INLINE __m256i load_whole_lanes(const uint8_t* p, int bytes) {                          \
        if (bytes >= 32) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));                 \
        const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);                                 \
        return _mm256_maskload_epi32(reinterpret_cast<const int*>(p),                                    \
                                     _mm256_cmpgt_epi32(_mm256_set1_epi32(bytes / 4), index));           \
    }
#define EBS_256_SUMS                                                                                     \
    EBS_SIMD EBS_INLINE Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }                \
    EBS_SIMD EBS_INLINE Vector add64(Vector a, Vector b) { return _mm256_add_epi64(a, b); }              \
    EBS_SIMD EBS_INLINE Vector weigh(Vector sum, const int32_t* weights) {                               \
        const Vector w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));                  \
        return _mm256_add_epi64(_mm256_mul_epi32(sum, w),                                                \
                                _mm256_mul_epi32(_mm256_srli_epi64(sum, 32), _mm256_srli_epi64(w, 32))); \
    }                                                                                                    \
    EBS_SIMD EBS_INLINE __m128i fold32(Vector v) {                                                       \
        return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));                 \
    }                                                                                                    \
    EBS_SIMD EBS_INLINE __m128i fold64(Vector v) {                                                       \
        return _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));                 \
    }

#define EBS_SIMD __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
namespace ebs {
namespace avx512half {
EBS_256_LOAD
EBS_HALF_VECTORS(_mm256_dpbusd_epi32)
#include "score_x86_body.h"
}  // namespace avx512half
}  // namespace ebs
#undef EBS_SIMD

#define EBS_SIMD __attribute__((target("avx2,avxvnni")))
namespace ebs {
namespace avxvnni {
EBS_256_LOAD
EBS_HALF_VECTORS(_mm256_dpbusd_avx_epi32)
#include "score_x86_body.h"
}  // namespace avxvnni
}  // namespace ebs
#undef EBS_SIMD

// ---- AVX2: the byte product instruction saturates, so even and odd bytes are multiplied as 16 bits
#define EBS_SIMD __attribute__((target("avx2")))
namespace ebs {
namespace avx2 {
constexpr int kBytes = 32;
using Vector = __m256i;
struct Target {
    __m256i even, odd;
};
EBS_256_LOAD
EBS_SIMD EBS_INLINE Vector zero() { return _mm256_setzero_si256(); }
EBS_SIMD EBS_INLINE Target load_target(const uint8_t* p, int bytes) {
    const __m256i v = load_whole_lanes(p, bytes);
    return {_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), _mm256_srai_epi16(v, 8)};
}
EBS_SIMD EBS_INLINE Vector dot(Vector sum, const uint8_t* source, Target target) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(v, _mm256_set1_epi16(0xff)), target.even);
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(v, 8), target.odd);
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
EBS_256_SUMS
#include "score_x86_body.h"
}  // namespace avx2
}  // namespace ebs
#undef EBS_SIMD
#undef EBS_HALF_VECTORS
#undef EBS_256_LOAD
#undef EBS_256_SUMS
#endif
