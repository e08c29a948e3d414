/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementary functions from additions, multiplications, divisions and bits alone, so that every
 * CPU with IEEE 754 single precision computes the same bits. None has a branch, so that loops
 * over them can be vectorised.
 */
#ifndef EA_NUMBERS_H
#define EA_NUMBERS_H

#include <stdint.h>

typedef union {
    float number;
    uint32_t bits;
} ea_bits;

static inline float ea_from_bits(uint32_t bits) {
    ea_bits word;
    word.bits = bits;
    return word.number;
}

static inline uint32_t ea_to_bits(float number) {
    ea_bits word;
    word.number = number;
    return word.bits;
}

static inline float ea_max(float a, float b) { return a > b ? a : b; }
static inline float ea_min(float a, float b) { return a < b ? a : b; }
static inline float ea_abs(float x) { return __builtin_fabsf(x); }
static inline float ea_clip(float x, float limit) { return ea_min(ea_max(x, -limit), limit); }

/* The nearest integer, halves to even, of |x| < 2^22: adding 1.5 * 2^23 leaves no bit for a
 * fraction. */
static inline int32_t ea_round(float x) {
    return (int32_t)(ea_to_bits(x + 12582912.0f) - 0x4b400000u);
}

/* 2^k for -126 <= k <= 127. */
static inline float ea_power_of_two(int32_t k) { return ea_from_bits((uint32_t)(k + 127) << 23); }

/* exp(x), x clipped to +-87: x = k log 2 + r with |r| <= log(2) / 2, and the Taylor series of
 * exp(r) up to r^6 / 6!, whose rest is below 2e-7. log 2 is split so that k times its first part
 * is exact. */
static inline float ea_exp(float x) {
    float r, p;
    int32_t k;
    x = ea_clip(x, 87.0f);
    k = ea_round(x * 1.44269504f);
    r = (x - (float)k * 0.693359375f) + (float)k * 2.12194440e-4f;
    p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * ea_power_of_two(k);
}

/* log(x) of a normal x > 0: x = 2^k m with 1/sqrt(2) <= m < sqrt(2), and with s = (m - 1)/(m + 1)
 * log m = 2 (s + s^3/3 + s^5/5 + s^7/7 + s^9/9), |s| < 0.172. */
static inline float ea_log(float x) {
    uint32_t bits = ea_to_bits(x) - 0x3f3504f3u; /* less the bits of 1/sqrt(2) */
    int32_t k = (int32_t)bits >> 23;
    float m = ea_from_bits((bits & 0x007fffffu) + 0x3f3504f3u);
    float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    float p = 2.0f / 9.0f;
    p = p * q + 2.0f / 7.0f;
    p = p * q + 2.0f / 5.0f;
    p = p * q + 2.0f / 3.0f;
    p = p * q + 2.0f;
    return (float)k * 0.693147181f + p * s;
}

static inline float ea_sigmoid(float x) { return 1.0f / (1.0f + ea_exp(-x)); }
static inline float ea_tanh(float x) { return 2.0f * ea_sigmoid(2.0f * x) - 1.0f; }

/* sqrt(x) of x >= 0, by Newton's iteration from a guess that halves the exponent. */
static inline float ea_sqrt(float x) {
    float y = ea_from_bits((ea_to_bits(x) >> 1) + 0x1fbd1df5u);
    y = 0.5f * (y + x / y);
    y = 0.5f * (y + x / y);
    y = 0.5f * (y + x / y);
    return y;
}

/* min(hardswish(x), limit), hardswish(x) = x * min(max(x + 3, 0), 6) / 6 */
static inline float ea_hardswish(float x) {
    return x * ea_min(ea_max(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f);
}

#endif
