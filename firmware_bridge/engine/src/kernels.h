/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of integer products, which are exact: ea_open makes sure that none can overflow. So they
 * may be added up in any order, and each CPU does it in the way it is quickest at, with the same
 * result. -DEA_PLAIN leaves all of it to the compiler.
 */
#ifndef EA_KERNELS_H
#define EA_KERNELS_H

#include <stdint.h>

#if defined(EA_PLAIN)
#define EA_KERNELS "plain"
#elif defined(__ARM_FEATURE_MVE)
#define EA_KERNELS "helium"
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

#if defined(EA_DSP)
/* Two or four neighbours at once; the addresses are those of arrays of int16_t or int8_t. */
static inline int32_t ea_load_word(const void *address) {
    int32_t word;
    __builtin_memcpy(&word, address, sizeof word);
    return word;
}
#endif

/* sum over i < n of x[i] * weight[i]; n is a multiple of 8. */
static inline int32_t ea_dot8(const int16_t *x, const int8_t *weight, uint32_t n) {
    int32_t sum = 0;
    uint32_t i;
#if defined(EA_PLAIN)
    for (i = 0; i < n; i++) sum += (int32_t)x[i] * weight[i];
#elif defined(__ARM_FEATURE_MVE)
    for (i = 0; i < n; i += 8) sum = vmladavaq_s16(sum, vldrhq_s16(x + i), vldrbq_s16(weight + i));
#elif defined(__ARM_NEON)
    int32x4_t sums = vdupq_n_s32(0);
    int32x2_t half;
    for (i = 0; i < n; i += 8) {
        int16x8_t a = vld1q_s16(x + i), b = vmovl_s8(vld1_s8(weight + i));
        sums = vmlal_s16(sums, vget_low_s16(a), vget_low_s16(b));
        sums = vmlal_s16(sums, vget_high_s16(a), vget_high_s16(b));
    }
    half = vadd_s32(vget_low_s32(sums), vget_high_s32(sums));
    sum = vget_lane_s32(vpadd_s32(half, half), 0);
#elif defined(EA_DSP)
    /* Of the bytes w3 w2 w1 w0, sxtb16 takes w2 w0, and w3 w1 after a rotation: the products are
     * those of x2 x0 and x3 x1, which are packed from x1 x0 and x3 x2. */
    for (i = 0; i < n; i += 4) {
        int32_t w = ea_load_word(weight + i);
        int32_t even = __sxtb16(w), odd = __sxtb16(__ror((uint32_t)w, 8));
        int32_t low = ea_load_word(x + i), high = ea_load_word(x + i + 2);
        int32_t x20 = (int32_t)(((uint32_t)low & 0xffffu) | ((uint32_t)high << 16));
        int32_t x31 = (int32_t)(((uint32_t)low >> 16) | ((uint32_t)high & 0xffff0000u));
        sum = __smlad(x20, even, sum);
        sum = __smlad(x31, odd, sum);
    }
#elif defined(__wasm_simd128__)
    v128_t sums = wasm_i32x4_const_splat(0);
    for (i = 0; i < n; i += 8) {
        v128_t b = wasm_i16x8_load8x8(weight + i);
        sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_v128_load(x + i), b));
    }
    sum = wasm_i32x4_extract_lane(sums, 0) + wasm_i32x4_extract_lane(sums, 1) +
          wasm_i32x4_extract_lane(sums, 2) + wasm_i32x4_extract_lane(sums, 3);
#elif defined(__AVX2__) || defined(__SSE4_1__)
    __m128i sums = _mm_setzero_si128();
    i = 0;
#if defined(__AVX2__)
    {
        __m256i wide = _mm256_setzero_si256();
        for (; i + 16 <= n; i += 16) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(weight + i));
            wide = _mm256_add_epi32(wide, _mm256_madd_epi16(a, _mm256_cvtepi8_epi16(bytes)));
        }
        sums = _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    }
#endif
    for (; i < n; i += 8) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(weight + i));
        sums = _mm_add_epi32(sums, _mm_madd_epi16(a, _mm_cvtepi8_epi16(bytes)));
    }
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
    sum = _mm_cvtsi128_si32(sums);
#else
    for (i = 0; i < n; i++) sum += (int32_t)x[i] * weight[i];
#endif
    return sum;
}

/* The same with int16 weights. */
static inline int32_t ea_dot16(const int16_t *x, const int16_t *weight, uint32_t n) {
    int32_t sum = 0;
    uint32_t i;
#if defined(EA_PLAIN)
    for (i = 0; i < n; i++) sum += (int32_t)x[i] * weight[i];
#elif defined(__ARM_FEATURE_MVE)
    for (i = 0; i < n; i += 8) sum = vmladavaq_s16(sum, vldrhq_s16(x + i), vldrhq_s16(weight + i));
#elif defined(__ARM_NEON)
    int32x4_t sums = vdupq_n_s32(0);
    int32x2_t half;
    for (i = 0; i < n; i += 8) {
        int16x8_t a = vld1q_s16(x + i), b = vld1q_s16(weight + i);
        sums = vmlal_s16(sums, vget_low_s16(a), vget_low_s16(b));
        sums = vmlal_s16(sums, vget_high_s16(a), vget_high_s16(b));
    }
    half = vadd_s32(vget_low_s32(sums), vget_high_s32(sums));
    sum = vget_lane_s32(vpadd_s32(half, half), 0);
#elif defined(EA_DSP)
    for (i = 0; i < n; i += 2) sum = __smlad(ea_load_word(x + i), ea_load_word(weight + i), sum);
#elif defined(__wasm_simd128__)
    v128_t sums = wasm_i32x4_const_splat(0);
    for (i = 0; i < n; i += 8) {
        v128_t product = wasm_i32x4_dot_i16x8(wasm_v128_load(x + i), wasm_v128_load(weight + i));
        sums = wasm_i32x4_add(sums, product);
    }
    sum = wasm_i32x4_extract_lane(sums, 0) + wasm_i32x4_extract_lane(sums, 1) +
          wasm_i32x4_extract_lane(sums, 2) + wasm_i32x4_extract_lane(sums, 3);
#elif defined(__AVX2__) || defined(__SSE4_1__)
    __m128i sums = _mm_setzero_si128();
    for (i = 0; i < n; i += 8) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(weight + i));
        sums = _mm_add_epi32(sums, _mm_madd_epi16(a, b));
    }
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
    sum = _mm_cvtsi128_si32(sums);
#else
    for (i = 0; i < n; i++) sum += (int32_t)x[i] * weight[i];
#endif
    return sum;
}

#endif
