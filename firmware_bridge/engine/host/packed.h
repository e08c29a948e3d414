/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights in the order in which vectors of AVX2 and AVX-512 take them, packed once when a model is
 * opened. The sums are the same integers, what follows them the same operations, so scores have the
 * same bits. Programs on computers are built so (EA_HOST), and use them once ea_pack was called.
 *
 * Inputs are taken in pairs, by an instruction that multiplies two and adds them up, for several
 * outputs at once: an input pair is the same for all of them, and nothing has to be summed across.
 */
#ifndef EA_PACKED_H
#define EA_PACKED_H

#include <immintrin.h>

#include "../src/engine.h"

enum { EA_PAIRS = 5, EA_FILTERS = 16, EA_OUTS = 8 };
enum { EA_AT_ONCE = 4 }; /* pairs of inputs between two looks at the end: a row has eights */

/* Nine taps of 16 filters, as pairs and the last one with 0; filters in the order of
 * _mm256_unpacklo_epi16 and _mm256_unpackhi_epi16. */
typedef struct {
    int16_t kernel[EA_PAIRS][2][EA_FILTERS];
    float gain[2][EA_OUTS], bias[2][EA_OUTS];
} ea_packed_filters;

/* Of a mix: weight [row / 2][groups][EA_OUTS][2], groups of EA_OUTS outputs. */
typedef struct {
    uint32_t n_groups;
    const int16_t *weight;
    const float *gain, *bias; /* [groups][EA_OUTS] */
} ea_packed_mix;

struct ea_packed_conv {
    const ea_packed_filters *filters; /* those that come in sixteens, then those in eights */
    ea_packed_mix mix;
};

#if defined(__AVX512VNNI__)
enum { EA_LINEAR_OUTS = 16, EA_LINEAR_INS = 4, EA_LINEAR_TILE = 4 };
#else
enum { EA_LINEAR_OUTS = 8, EA_LINEAR_INS = 2, EA_LINEAR_TILE = 8 };
#endif

/* weight [row / EA_LINEAR_INS][groups][EA_LINEAR_OUTS][EA_LINEAR_INS]. Of each output, [groups *
 * EA_LINEAR_OUTS], sum: of its weights, times 32768; scale, bias: those of the image as floats. */
struct ea_packed_linear {
    uint32_t n_groups;
    const int8_t *weight;
    const int32_t *sum;
    const float *scale, *bias;
};

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define ea_add_pairs(sum, x, weight) _mm256_dpwssd_epi32(sum, x, weight)
#else
#define ea_add_pairs(sum, x, weight) _mm256_add_epi32(sum, _mm256_madd_epi16(x, weight))
#endif

static inline int32_t ea_load_pair(const int16_t *at) {
    int32_t pair;
    __builtin_memcpy(&pair, at, sizeof pair);
    return pair;
}

static inline __m256i ea_load_wide(const void *at) {
    return _mm256_loadu_si256((const __m256i *)at);
}

/* relu6 of sums in units of the map that they go to, rounded: `activated` of stem.c. */
static inline __m256i ea_activated(__m256i sum, __m256 gain, __m256 bias, float limit) {
    __m256 y = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), gain), bias);
    y = _mm256_min_ps(_mm256_max_ps(y, _mm256_setzero_ps()), _mm256_set1_ps(limit));
    return _mm256_cvtps_epi32(y);
}

/* Sixteen neighbours, or eight and eight zeros. */
static inline __m256i ea_load_channels(const int16_t *at, int n) {
    if (n == EA_FILTERS) return ea_load_wide(at);
    return _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)at));
}

static inline __m256i ea_finish_filters(const ea_packed_filters *filters, __m256i low, __m256i high,
                                        float limit) {
    low = ea_activated(low, _mm256_loadu_ps(filters->gain[0]), _mm256_loadu_ps(filters->bias[0]),
                       limit);
    high = ea_activated(high, _mm256_loadu_ps(filters->gain[1]), _mm256_loadu_ps(filters->bias[1]),
                        limit);
    return _mm256_packs_epi32(low, high);
}

/* n filters, 16 or 8, of as many channels. */
static inline __m256i ea_filter_channels(const ea_packed_filters *filters,
                                         const int16_t *const *tap, uint32_t f, int n,
                                         float limit) {
    __m256i low = _mm256_setzero_si256(), high = low;
    uint32_t k;
    for (k = 0; k < EA_PAIRS; k++) {
        __m256i a = ea_load_channels(tap[2 * k] + f, n), b = _mm256_setzero_si256();
        if (k < EA_PAIRS - 1) b = ea_load_channels(tap[2 * k + 1] + f, n);
        low = ea_add_pairs(low, _mm256_unpacklo_epi16(a, b), ea_load_wide(filters->kernel[k][0]));
        high = ea_add_pairs(high, _mm256_unpackhi_epi16(a, b), ea_load_wide(filters->kernel[k][1]));
    }
    return ea_finish_filters(filters, low, high, limit);
}

/* 16 filters of one channel. */
static inline __m256i ea_filter_one(const ea_packed_filters *filters, const __m256i *pairs,
                                    float limit) {
    __m256i low = _mm256_setzero_si256(), high = low;
    uint32_t k;
    for (k = 0; k < EA_PAIRS; k++) {
        low = ea_add_pairs(low, pairs[k], ea_load_wide(filters->kernel[k][0]));
        high = ea_add_pairs(high, pairs[k], ea_load_wide(filters->kernel[k][1]));
    }
    return ea_finish_filters(filters, low, high, limit);
}

static inline void ea_store_channels(int16_t *at, __m256i channels, int n) {
    if (n == EA_FILTERS)
        _mm256_storeu_si256((__m256i *)(void *)at, channels);
    else
        _mm_storeu_si128((__m128i *)(void *)at, _mm256_castsi256_si128(channels));
}

/* Returns how many filters it has done. */
static inline uint32_t ea_filter_packed(const ea_conv *conv, const int16_t *const *tap,
                                        int16_t *out) {
    const ea_packed_filters *filters = conv->packed->filters;
    uint32_t n = conv->n_filters, f = 0, k;
    __m256i pairs[EA_PAIRS];
    if (conv->n_in == 1) {
        for (k = 0; k < EA_PAIRS; k++) {
            uint32_t pair = (uint16_t)tap[2 * k][0];
            if (k < EA_PAIRS - 1) pair |= (uint32_t)(uint16_t)tap[2 * k + 1][0] << 16;
            pairs[k] = _mm256_set1_epi32((int32_t)pair);
        }
        for (; f + 16 <= n; f += 16)
            ea_store_channels(out + f, ea_filter_one(filters++, pairs, conv->filter_limit), 16);
        for (; f + 8 <= n; f += 8)
            ea_store_channels(out + f, ea_filter_one(filters++, pairs, conv->filter_limit), 8);
        return f;
    }
    for (; f + 16 <= n; f += 16)
        ea_store_channels(out + f, ea_filter_channels(filters++, tap, f, 16, conv->filter_limit),
                          16);
    for (; f + 8 <= n; f += 8)
        ea_store_channels(out + f, ea_filter_channels(filters++, tap, f, 8, conv->filter_limit), 8);
    return f;
}

/* sums [groups][EA_OUTS] of the groups from `first` on, n of them. */
static inline void ea_mix_groups(const ea_conv *conv, const int16_t *filtered, uint32_t first,
                                 uint32_t n, __m256i *sums) {
    const ea_packed_mix *mix = &conv->packed->mix;
    const int16_t *weight = mix->weight + first * 2 * EA_OUTS;
    uint32_t i, g, k;
    for (g = 0; g < n; g++) sums[g] = _mm256_setzero_si256();
    for (i = 0; i < conv->row; i += 2 * EA_AT_ONCE)
        for (k = 0; k < EA_AT_ONCE; k++, weight += mix->n_groups * 2 * EA_OUTS) {
            __m256i pair = _mm256_set1_epi32(ea_load_pair(filtered + i + 2 * k));
            for (g = 0; g < n; g++)
                sums[g] = ea_add_pairs(sums[g], pair, ea_load_wide(weight + g * 2 * EA_OUTS));
        }
}

/* `finish_mix` of stem.c for the outputs of group g. */
static inline __m256i ea_finish_group(const ea_conv *conv, __m256i sums, uint32_t g,
                                      const int16_t *x) {
    const ea_packed_mix *mix = &conv->packed->mix;
    __m256i y = ea_activated(sums, _mm256_loadu_ps(mix->gain + g * EA_OUTS),
                             _mm256_loadu_ps(mix->bias + g * EA_OUTS), conv->out_limit);
    if (conv->is_residual) {
        int drop = (int)(conv->in_bits - conv->out_bits), half = drop ? 1 << (drop - 1) : 0;
        __m256i added = _mm256_cvtepi16_epi32(
            _mm_loadu_si128((const __m128i *)(const void *)(x + g * EA_OUTS)));
        added = _mm256_srai_epi32(_mm256_add_epi32(added, _mm256_set1_epi32(half)), drop);
        y = _mm256_min_epi32(_mm256_add_epi32(y, added), _mm256_set1_epi32(32767));
    }
    return y;
}

static inline void ea_store_group(int16_t *out, __m256i y) {
    __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    _mm_storeu_si128((__m128i *)(void *)out, shorts);
}

/* Returns how many outputs it has done; those of a group that is not full are left. */
static inline uint32_t ea_mix_packed(const ea_conv *conv, const int16_t *filtered, const int16_t *x,
                                     int16_t *out) {
    uint32_t n_groups = conv->n_out / EA_OUTS, g = 0, i;
    __m256i sums[4];
    for (; g + 4 <= n_groups; g += 4) {
        ea_mix_groups(conv, filtered, g, 4, sums);
        for (i = 0; i < 4; i++)
            ea_store_group(out + (g + i) * EA_OUTS, ea_finish_group(conv, sums[i], g + i, x));
    }
    for (; g + 2 <= n_groups; g += 2) {
        ea_mix_groups(conv, filtered, g, 2, sums);
        for (i = 0; i < 2; i++)
            ea_store_group(out + (g + i) * EA_OUTS, ea_finish_group(conv, sums[i], g + i, x));
    }
    for (; g < n_groups; g++) {
        ea_mix_groups(conv, filtered, g, 1, sums);
        ea_store_group(out + g * EA_OUTS, ea_finish_group(conv, sums[0], g, x));
    }
    return g * EA_OUTS;
}

#if defined(__AVX512VNNI__)

/* Bytes of x + 32768, which are not negative: x = 256 * high + low - 32768. */
static inline void ea_split(const int16_t *q, uint32_t n, uint8_t *low, uint8_t *high) {
    uint32_t i;
    for (i = 0; i < n; i++) {
        uint32_t x = (uint16_t)q[i] ^ 0x8000u;
        low[i] = (uint8_t)x;
        high[i] = (uint8_t)(x >> 8);
    }
}

static inline int32_t ea_load_four(const uint8_t *at) {
    int32_t four;
    __builtin_memcpy(&four, at, sizeof four);
    return four;
}

static inline void ea_linear_groups(const ea_linear *linear, const uint8_t *low,
                                    const uint8_t *high, uint32_t first, uint32_t n,
                                    int32_t *sums) {
    const struct ea_packed_linear *packed = linear->packed;
    const int8_t *weight = packed->weight + first * 64;
    __m512i lows[EA_LINEAR_TILE], highs[EA_LINEAR_TILE];
    uint32_t i, g;
    for (g = 0; g < n; g++) lows[g] = highs[g] = _mm512_setzero_si512();
    for (i = 0; i < linear->row; i += 4, weight += packed->n_groups * 64) {
        __m512i l = _mm512_set1_epi32(ea_load_four(low + i));
        __m512i h = _mm512_set1_epi32(ea_load_four(high + i));
        for (g = 0; g < n; g++) {
            __m512i w = _mm512_loadu_si512((const void *)(weight + g * 64));
            lows[g] = _mm512_dpbusd_epi32(lows[g], l, w);
            highs[g] = _mm512_dpbusd_epi32(highs[g], h, w);
        }
    }
    for (g = 0; g < n; g++) {
        __m512i less = _mm512_loadu_si512((const void *)(packed->sum + (first + g) * 16));
        __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(highs[g], 8), lows[g]);
        _mm512_storeu_si512((void *)(sums + g * 16), _mm512_sub_epi32(sum, less));
    }
}

#else

static inline void ea_linear_groups(const ea_linear *linear, const int16_t *q, const void *unused,
                                    uint32_t first, uint32_t n, int32_t *sums) {
    const struct ea_packed_linear *packed = linear->packed;
    const int8_t *weight = packed->weight + first * 16;
    __m256i sum[EA_LINEAR_TILE];
    uint32_t i, g, k;
    (void)unused;
    for (g = 0; g < n; g++) sum[g] = _mm256_setzero_si256();
    for (i = 0; i < linear->row; i += 2 * EA_AT_ONCE)
        for (k = 0; k < EA_AT_ONCE; k++, weight += packed->n_groups * 16) {
            __m256i pair = _mm256_set1_epi32(ea_load_pair(q + i + 2 * k));
            for (g = 0; g < n; g++) {
                __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(weight + g * 16));
                sum[g] = ea_add_pairs(sum[g], pair, _mm256_cvtepi8_epi16(bytes));
            }
        }
    for (g = 0; g < n; g++) _mm256_storeu_si256((__m256i *)(void *)(sums + g * 8), sum[g]);
}

#endif

#endif
