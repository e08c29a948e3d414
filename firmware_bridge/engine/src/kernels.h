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
#include <smmintrin.h>
#else
#define EA_KERNELS "plain"
#endif

/* Vectors where the compiler has them: what it cannot do in one go it splits. */
#if !defined(EA_PLAIN) && (defined(__SSE4_1__) || defined(__aarch64__) || defined(__wasm_simd128__))
#define EA_VECTORS 1
typedef float ea_float8 __attribute__((vector_size(32)));
typedef int32_t ea_int8 __attribute__((vector_size(32)));
typedef int16_t ea_short8 __attribute__((vector_size(16)));

static inline ea_int8 ea_load_short8(const int16_t *at) {
    ea_short8 shorts;
    __builtin_memcpy(&shorts, at, sizeof shorts);
    return __builtin_convertvector(shorts, ea_int8);
}

static inline void ea_store_short8(int16_t *at, ea_int8 integers) {
    ea_short8 shorts = __builtin_convertvector(integers, ea_short8);
    __builtin_memcpy(at, &shorts, sizeof shorts);
}

static inline ea_float8 ea_load_float8(const float *at) {
    ea_float8 floats;
    __builtin_memcpy(&floats, at, sizeof floats);
    return floats;
}

static inline void ea_store_float8(float *at, ea_float8 floats) {
    __builtin_memcpy(at, &floats, sizeof floats);
}

static inline ea_float8 ea_load_numbers8(const ea_numbers *numbers, uint32_t i) {
    return numbers->unit * __builtin_convertvector(ea_load_short8(numbers->values + i), ea_float8);
}

/* Four where they come from four sums: a load wider than the store before it would wait. */
typedef float ea_float4 __attribute__((vector_size(16)));
typedef int32_t ea_int4 __attribute__((vector_size(16)));
typedef int16_t ea_short4 __attribute__((vector_size(8)));

static inline ea_int4 ea_load_int4(const int32_t *at) {
    ea_int4 integers;
    __builtin_memcpy(&integers, at, sizeof integers);
    return integers;
}

static inline ea_int4 ea_load_short4(const int16_t *at) {
    ea_short4 shorts;
    __builtin_memcpy(&shorts, at, sizeof shorts);
    return __builtin_convertvector(shorts, ea_int4);
}

static inline void ea_store_short4(int16_t *at, ea_int4 integers) {
    ea_short4 shorts = __builtin_convertvector(integers, ea_short4);
    __builtin_memcpy(at, &shorts, sizeof shorts);
}

static inline ea_float4 ea_load_numbers4(const ea_numbers *numbers, uint32_t i) {
    return numbers->unit * __builtin_convertvector(ea_load_short4(numbers->values + i), ea_float4);
}
#endif

#if defined(EA_DSP)
/* Two or four neighbours at once; the addresses are those of arrays of int16_t or int8_t. */
static inline int32_t ea_load_word(const void *address) {
    int32_t word;
    __builtin_memcpy(&word, address, sizeof word);
    return word;
}
#endif

/* Four rows of weights [4][n]: sums[r] = sum over i of x[i] * weight[r][i]; n is a multiple of 8. */
#if defined(__ARM_FEATURE_MVE) && !defined(EA_PLAIN)

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    const int8_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    int32_t a = 0, b = 0, c = 0, d = 0;
    uint32_t i;
    for (i = 0; i < n; i += 8) {
        int16x8_t v = vldrhq_s16(x + i);
        a = vmladavaq_s16(a, v, vldrbq_s16(weight + i));
        b = vmladavaq_s16(b, v, vldrbq_s16(w1 + i));
        c = vmladavaq_s16(c, v, vldrbq_s16(w2 + i));
        d = vmladavaq_s16(d, v, vldrbq_s16(w3 + i));
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
    for (i = 0; i < n; i += 8) {
        int16x8_t v = vldrhq_s16(x + i);
        a = vmladavaq_s16(a, v, vldrhq_s16(weight + i));
        b = vmladavaq_s16(b, v, vldrhq_s16(w1 + i));
        c = vmladavaq_s16(c, v, vldrhq_s16(w2 + i));
        d = vmladavaq_s16(d, v, vldrhq_s16(w3 + i));
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

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

#elif (defined(__AVX2__) || defined(__SSE4_1__)) && !defined(EA_PLAIN)

static inline __m128i ea_load_shorts(const int16_t *at) {
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline __m128i ea_load_bytes(const int8_t *at) {
    return _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)at));
}

/* The sums of each of four vectors. */
static inline void ea_store_sums(__m128i a, __m128i b, __m128i c, __m128i d, int32_t *sums) {
    __m128i all = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
    _mm_storeu_si128((__m128i *)(void *)sums, all);
}

#if defined(__AVX2__)

static inline __m256i ea_load_wide(const int16_t *at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline __m256i ea_load_wide_bytes(const int8_t *at) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)at));
}

static inline __m128i ea_halves(__m256i wide) {
    return _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}

#define EA_WIDE_PART(load, n)                                                \
    __m256i wa = _mm256_setzero_si256(), wb = wa, wc = wa, wd = wa;          \
    for (; i + 16 <= (n); i += 16) {                                         \
        __m256i v = ea_load_wide(x + i);                                     \
        wa = _mm256_add_epi32(wa, _mm256_madd_epi16(v, load(weight + i)));   \
        wb = _mm256_add_epi32(wb, _mm256_madd_epi16(v, load(w1 + i)));       \
        wc = _mm256_add_epi32(wc, _mm256_madd_epi16(v, load(w2 + i)));       \
        wd = _mm256_add_epi32(wd, _mm256_madd_epi16(v, load(w3 + i)));       \
    }                                                                        \
    a = ea_halves(wa);                                                       \
    b = ea_halves(wb);                                                       \
    c = ea_halves(wc);                                                       \
    d = ea_halves(wd)
#define EA_WIDE_BYTES(n) EA_WIDE_PART(ea_load_wide_bytes, n)
#define EA_WIDE_SHORTS(n) EA_WIDE_PART(ea_load_wide, n)

#else

#define EA_WIDE_BYTES(n) (void)0
#define EA_WIDE_SHORTS(n) (void)0

#endif

#define EA_NARROW_PART(load, n)                                      \
    for (; i < (n); i += 8) {                                        \
        __m128i v = ea_load_shorts(x + i);                           \
        a = _mm_add_epi32(a, _mm_madd_epi16(v, load(weight + i)));   \
        b = _mm_add_epi32(b, _mm_madd_epi16(v, load(w1 + i)));       \
        c = _mm_add_epi32(c, _mm_madd_epi16(v, load(w2 + i)));       \
        d = _mm_add_epi32(d, _mm_madd_epi16(v, load(w3 + i)));       \
    }                                                                \
    ea_store_sums(a, b, c, d, sums)

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    const int8_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
    uint32_t i = 0;
    EA_WIDE_BYTES(n);
    EA_NARROW_PART(ea_load_bytes, n);
}

static inline void ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n, int32_t *sums) {
    const int16_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
    uint32_t i = 0;
    EA_WIDE_SHORTS(n);
    EA_NARROW_PART(ea_load_shorts, n);
}

#elif defined(__ARM_NEON) && !defined(EA_PLAIN)

static inline int32x4_t ea_add_products(int32x4_t sum, int16x8_t x, int16x8_t weight) {
    sum = vmlal_s16(sum, vget_low_s16(x), vget_low_s16(weight));
    return vmlal_s16(sum, vget_high_s16(x), vget_high_s16(weight));
}

static inline int32x2_t ea_halves(int32x4_t sum) {
    return vadd_s32(vget_low_s32(sum), vget_high_s32(sum));
}

static inline void ea_store_sums(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d,
                                 int32_t *sums) {
    vst1_s32(sums, vpadd_s32(ea_halves(a), ea_halves(b)));
    vst1_s32(sums + 2, vpadd_s32(ea_halves(c), ea_halves(d)));
}

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    const int8_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    uint32_t i;
    for (i = 0; i < n; i += 8) {
        int16x8_t v = vld1q_s16(x + i);
        a = ea_add_products(a, v, vmovl_s8(vld1_s8(weight + i)));
        b = ea_add_products(b, v, vmovl_s8(vld1_s8(w1 + i)));
        c = ea_add_products(c, v, vmovl_s8(vld1_s8(w2 + i)));
        d = ea_add_products(d, v, vmovl_s8(vld1_s8(w3 + i)));
    }
    ea_store_sums(a, b, c, d, sums);
}

static inline void ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n, int32_t *sums) {
    const int16_t *w1 = weight + n, *w2 = w1 + n, *w3 = w2 + n;
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    uint32_t i;
    for (i = 0; i < n; i += 8) {
        int16x8_t v = vld1q_s16(x + i);
        a = ea_add_products(a, v, vld1q_s16(weight + i));
        b = ea_add_products(b, v, vld1q_s16(w1 + i));
        c = ea_add_products(c, v, vld1q_s16(w2 + i));
        d = ea_add_products(d, v, vld1q_s16(w3 + i));
    }
    ea_store_sums(a, b, c, d, sums);
}

#elif defined(__wasm_simd128__) && !defined(EA_PLAIN)

static inline int32_t ea_sum(v128_t a) {
    return wasm_i32x4_extract_lane(a, 0) + wasm_i32x4_extract_lane(a, 1) +
           wasm_i32x4_extract_lane(a, 2) + wasm_i32x4_extract_lane(a, 3);
}

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    uint32_t i, r;
    for (r = 0; r < 4; r++) {
        v128_t sum = wasm_i32x4_const_splat(0);
        for (i = 0; i < n; i += 8) {
            v128_t w = wasm_i16x8_load8x8(weight + r * n + i);
            sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(wasm_v128_load(x + i), w));
        }
        sums[r] = ea_sum(sum);
    }
}

static inline void ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n, int32_t *sums) {
    uint32_t i, r;
    for (r = 0; r < 4; r++) {
        v128_t sum = wasm_i32x4_const_splat(0);
        for (i = 0; i < n; i += 8) {
            v128_t w = wasm_v128_load(weight + r * n + i);
            sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(wasm_v128_load(x + i), w));
        }
        sums[r] = ea_sum(sum);
    }
}

#else

static inline void ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n, int32_t *sums) {
    uint32_t r, i;
    for (r = 0; r < 4; r++)
        for (sums[r] = 0, i = 0; i < n; i++) sums[r] += (int32_t)x[i] * weight[r * n + i];
}

static inline void ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n, int32_t *sums) {
    uint32_t r, i;
    for (r = 0; r < 4; r++)
        for (sums[r] = 0, i = 0; i < n; i++) sums[r] += (int32_t)x[i] * weight[r * n + i];
}

#endif

#endif
