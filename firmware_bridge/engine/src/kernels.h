/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of integer products, which are exact: ea_open makes sure that none can overflow. So they
 * may be added up in any order, and each CPU does it in the way it is quickest at, with the same
 * result. -DEA_PLAIN leaves all of it to the compiler.
 */
#ifndef EA_KERNELS_H
#define EA_KERNELS_H

#include <stdint.h>

#include "edge_audio_model.h"

#if defined(EA_PLAIN)
#define EA_KERNELS "plain"
#elif defined(__ARM_FEATURE_MVE)
#define EA_KERNELS "helium"
#define EA_DSP 1
#include <arm_acle.h>
#include <arm_mve.h>
#elif defined(__ARM_NEON)
#define EA_KERNELS "neon"
#include <arm_neon.h>
#elif defined(__ARM_FEATURE_DSP)
#define EA_KERNELS "dsp"
#define EA_DSP 1
#include <arm_acle.h>
#elif defined(__wasm_simd128__)
#define EA_KERNELS "wasm-simd"
#include <wasm_simd128.h>
#elif defined(__AVX2__)
#define EA_KERNELS "avx2"
#include <immintrin.h>
#elif defined(__SSE4_1__)
#define EA_KERNELS "sse4"
#include <immintrin.h>
#else
#define EA_KERNELS "plain"
#endif

/* Vectors where the compiler has them: what it cannot do in one go it splits. Mostly of eight; of
 * four where they come from four sums, since a load wider than the store before it would wait. */
#if !defined(EA_PLAIN) && (defined(__SSE4_1__) || defined(__aarch64__) || defined(__wasm_simd128__))
#define EA_VECTORS 1
typedef float ea_float8 __attribute__((vector_size(32)));
typedef int32_t ea_int8 __attribute__((vector_size(32)));
typedef int16_t ea_short8 __attribute__((vector_size(16)));
typedef float ea_float4 __attribute__((vector_size(16)));
typedef int32_t ea_int4 __attribute__((vector_size(16)));
typedef int16_t ea_short4 __attribute__((vector_size(8)));

/* The same functions for both widths: ea_load_float8, ea_load_float4 and so on. ea_min, ea_max and
 * ea_round are those of numbers.h in every lane. */
#define EA_DEFINE_VECTORS(n)                                                              \
    static inline ea_int##n ea_load_int##n(const int32_t *at) {                           \
        ea_int##n integers;                                                               \
        __builtin_memcpy(&integers, at, sizeof integers);                                 \
        return integers;                                                                  \
    }                                                                                     \
    static inline ea_int##n ea_load_short##n(const int16_t *at) {                         \
        ea_short##n shorts;                                                               \
        __builtin_memcpy(&shorts, at, sizeof shorts);                                     \
        return __builtin_convertvector(shorts, ea_int##n);                                \
    }                                                                                     \
    static inline void ea_store_short##n(int16_t *at, ea_int##n integers) {               \
        ea_short##n shorts = __builtin_convertvector(integers, ea_short##n);              \
        __builtin_memcpy(at, &shorts, sizeof shorts);                                     \
    }                                                                                     \
    static inline ea_float##n ea_load_float##n(const float *at) {                         \
        ea_float##n floats;                                                               \
        __builtin_memcpy(&floats, at, sizeof floats);                                     \
        return floats;                                                                    \
    }                                                                                     \
    static inline void ea_store_float##n(float *at, ea_float##n floats) {                 \
        __builtin_memcpy(at, &floats, sizeof floats);                                     \
    }                                                                                     \
    static inline ea_float##n ea_load_numbers##n(const ea_numbers *numbers, uint32_t i) { \
        ea_int##n integers = ea_load_short##n(numbers->values + i);                       \
        return numbers->unit * __builtin_convertvector(integers, ea_float##n);            \
    }                                                                                     \
    static inline ea_int##n ea_round##n(ea_float##n x) {                                  \
        return (ea_int##n)(x + 12582912.0f) - 0x4b400000;                                 \
    }

EA_DEFINE_VECTORS(4)
EA_DEFINE_VECTORS(8)

#define EA_DEFINE_LIMITS(n)                                                         \
    static inline ea_float##n ea_min##n(ea_float##n a, ea_float##n b) {             \
        ea_int##n is_less = a < b;                                                  \
        return (ea_float##n)(((ea_int##n)a & is_less) | ((ea_int##n)b & ~is_less)); \
    }                                                                               \
    static inline ea_float##n ea_max##n(ea_float##n a, ea_float##n b) {             \
        ea_int##n is_more = a > b;                                                  \
        return (ea_float##n)(((ea_int##n)a & is_more) | ((ea_int##n)b & ~is_more)); \
    }

EA_DEFINE_LIMITS(4)
#if defined(__AVX__) /* has them, with the same answers for NaN and zeros */
static inline ea_float8 ea_min8(ea_float8 a, ea_float8 b) {
    return (ea_float8)_mm256_min_ps((__m256)a, (__m256)b);
}
static inline ea_float8 ea_max8(ea_float8 a, ea_float8 b) {
    return (ea_float8)_mm256_max_ps((__m256)a, (__m256)b);
}
#else
EA_DEFINE_LIMITS(8)
#endif
#endif

#if defined(EA_DSP)
/* Two or four neighbours at once; the addresses are those of arrays of int16_t or int8_t. */
static inline int32_t ea_load_word(const void *address) {
    int32_t word;
    __builtin_memcpy(&word, address, sizeof word);
    return word;
}
#endif

/* What the loop below is made of: ea_sum gathers products of eight x and eight weights. */
#if defined(EA_PLAIN)

#elif defined(__ARM_FEATURE_MVE)

#define EA_DOTS 1
typedef int16x8_t ea_eight;
typedef int32_t ea_sum;
#define EA_NO_SUM 0
#define ea_eight_shorts(at) vldrhq_s16(at)
#define ea_eight_bytes(at) vldrbq_s16(at)
#define ea_add_products(sum, x, weight) vmladavaq_s16(sum, x, weight)

static inline void ea_store_sums(ea_sum a, ea_sum b, ea_sum c, ea_sum d, int32_t *sums) {
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#elif defined(__ARM_NEON)

#define EA_DOTS 1
typedef int16x8_t ea_eight;
typedef int32x4_t ea_sum;
#define EA_NO_SUM vdupq_n_s32(0)
#define ea_eight_shorts(at) vld1q_s16(at)
#define ea_eight_bytes(at) vmovl_s8(vld1_s8(at))

static inline ea_sum ea_add_products(ea_sum sum, ea_eight x, ea_eight weight) {
    sum = vmlal_s16(sum, vget_low_s16(x), vget_low_s16(weight));
    return vmlal_s16(sum, vget_high_s16(x), vget_high_s16(weight));
}

static inline int32x2_t ea_halves(ea_sum sum) {
    return vadd_s32(vget_low_s32(sum), vget_high_s32(sum));
}

static inline void ea_store_sums(ea_sum a, ea_sum b, ea_sum c, ea_sum d, int32_t *sums) {
    vst1_s32(sums, vpadd_s32(ea_halves(a), ea_halves(b)));
    vst1_s32(sums + 2, vpadd_s32(ea_halves(c), ea_halves(d)));
}

#elif defined(__wasm_simd128__)

#define EA_DOTS 1
typedef v128_t ea_eight;
typedef v128_t ea_sum;
#define EA_NO_SUM wasm_i32x4_const_splat(0)
#define ea_eight_shorts(at) wasm_v128_load(at)
#define ea_eight_bytes(at) wasm_i16x8_load8x8(at)
#define ea_add_products(sum, x, weight) wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x, weight))

static inline int32_t ea_in_all(ea_sum a) {
    return wasm_i32x4_extract_lane(a, 0) + wasm_i32x4_extract_lane(a, 1) +
           wasm_i32x4_extract_lane(a, 2) + wasm_i32x4_extract_lane(a, 3);
}

static inline void ea_store_sums(ea_sum a, ea_sum b, ea_sum c, ea_sum d, int32_t *sums) {
    sums[0] = ea_in_all(a);
    sums[1] = ea_in_all(b);
    sums[2] = ea_in_all(c);
    sums[3] = ea_in_all(d);
}

#elif defined(__SSE4_1__)

#define EA_DOTS 1
typedef __m128i ea_eight;
typedef __m128i ea_sum;
#define EA_NO_SUM _mm_setzero_si128()
#define ea_eight_shorts(at) _mm_loadu_si128((const __m128i *)(const void *)(at))
#define ea_eight_bytes(at) _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(at)))
#define ea_add_products(sum, x, weight) _mm_add_epi32(sum, _mm_madd_epi16(x, weight))

static inline void ea_store_sums(ea_sum a, ea_sum b, ea_sum c, ea_sum d, int32_t *sums) {
    __m128i all = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
    _mm_storeu_si128((__m128i *)(void *)sums, all);
}

#endif

/* AVX2 takes sixteen at once, as far as they go. */
#if defined(__AVX2__) && !defined(EA_PLAIN)

#define ea_sixteen_shorts(at) _mm256_loadu_si256((const __m256i *)(const void *)(at))
#define ea_sixteen_bytes(at) \
    _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(at)))
#define ea_add_wide(sum, x, weight) _mm256_add_epi32(sum, _mm256_madd_epi16(x, weight))

static inline __m128i ea_narrow(__m256i wide) {
    return _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}

#define EA_WIDE_PART(type)                                              \
    {                                                                   \
        __m256i wa = _mm256_setzero_si256(), wb = wa, wc = wa, wd = wa; \
        for (; i + 16 <= n; i += 16) {                                  \
            __m256i v = ea_sixteen_shorts(x + i);                       \
            wa = ea_add_wide(wa, v, ea_sixteen_##type(weight + i));     \
            wb = ea_add_wide(wb, v, ea_sixteen_##type(w1 + i));         \
            wc = ea_add_wide(wc, v, ea_sixteen_##type(w2 + i));         \
            wd = ea_add_wide(wd, v, ea_sixteen_##type(w3 + i));         \
        }                                                               \
        a = ea_narrow(wa);                                              \
        b = ea_narrow(wb);                                              \
        c = ea_narrow(wc);                                              \
        d = ea_narrow(wd);                                              \
    }

#else
#define EA_WIDE_PART(type)
#endif

/* ea_dot8 and ea_dot16, by the size of weights. Four rows of weights [4][n]:
 * sums[r] = sum over i of x[i] * weight[r][i]; n is a multiple of 8. */
#if defined(EA_DOTS)

#define EA_DEFINE_DOT(name, weight_type, type)                                       \
    static inline void name(const int16_t *x, const weight_type *weight, uint32_t n, \
                            int32_t *sums) {                                         \
        const weight_type *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;              \
        ea_sum a = EA_NO_SUM, b = EA_NO_SUM, c = EA_NO_SUM, d = EA_NO_SUM;           \
        uint32_t i = 0;                                                              \
        EA_WIDE_PART(type)                                                           \
        for (; i < n; i += 8) {                                                      \
            ea_eight v = ea_eight_shorts(x + i);                                     \
            a = ea_add_products(a, v, ea_eight_##type(weight + i));                  \
            b = ea_add_products(b, v, ea_eight_##type(w1 + i));                      \
            c = ea_add_products(c, v, ea_eight_##type(w2 + i));                      \
            d = ea_add_products(d, v, ea_eight_##type(w3 + i));                      \
        }                                                                            \
        ea_store_sums(a, b, c, d, sums);                                             \
    }

EA_DEFINE_DOT(ea_dot8, int8_t, bytes)
EA_DEFINE_DOT(ea_dot16, int16_t, shorts)

#elif defined(EA_DSP)

/* Of the bytes w3 w2 w1 w0, sxtb16 takes w2 w0, and w3 w1 after a shift: they are multiplied
 * by x2 x0 and x3 x1, which are packed from x1 x0 and x3 x2 once for all rows. */
static inline int32_t ea_four_products(int32_t even, int32_t odd, const int8_t *weight,
                                       int32_t sum) {
    int32_t w = ea_load_word(weight);
    sum = __smlad(even, __sxtb16(w), sum);
    return __smlad(odd, __sxtb16((int32_t)((uint32_t)w >> 8)), sum);
}

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    const int8_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    int32_t a = 0, b = 0, c = 0, d = 0;
    uint32_t i;
    for (i = 0; i < n; i += 4) {
        uint32_t low = (uint32_t)ea_load_word(x + i), high = (uint32_t)ea_load_word(x + i + 2);
        int32_t even = (int32_t)((low & 0xffffu) | (high << 16));
        int32_t odd = (int32_t)((low >> 16) | (high & 0xffff0000u));
        a = ea_four_products(even, odd, weight + i, a);
        b = ea_four_products(even, odd, w1 + i, b);
        c = ea_four_products(even, odd, w2 + i, c);
        d = ea_four_products(even, odd, w3 + i, d);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

static inline void ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n, int32_t *sums) {
    const int16_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    int32_t a = 0, b = 0, c = 0, d = 0;
    uint32_t i;
    for (i = 0; i < n; i += 2) {
        int32_t v = ea_load_word(x + i);
        a = __smlad(v, ea_load_word(weight + i), a);
        b = __smlad(v, ea_load_word(w1 + i), b);
        c = __smlad(v, ea_load_word(w2 + i), c);
        d = __smlad(v, ea_load_word(w3 + i), d);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#else

#define EA_DEFINE_DOT(name, weight_type)                                                       \
    static inline void name(const int16_t *x, const weight_type *weight, uint32_t n,           \
                            int32_t *sums) {                                                   \
        uint32_t r, i;                                                                         \
        for (r = 0; r < 4; r++)                                                                \
            for (sums[r] = 0, i = 0; i < n; i++) sums[r] += (int32_t)x[i] * weight[r * n + i]; \
    }

EA_DEFINE_DOT(ea_dot8, int8_t)
EA_DEFINE_DOT(ea_dot16, int16_t)

#endif

#endif
