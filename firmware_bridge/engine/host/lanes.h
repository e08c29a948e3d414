/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows that are transformed together, of samples that they share: eight neighbours of each are
 * loaded at once and turned into lanes.
 */
#ifndef EA_LANES_H
#define EA_LANES_H

#include <immintrin.h>

#include "../src/frontend.h"

/* Rows of eight to columns. */
static inline void ea_turn(__m256 *rows) {
    __m256 pairs[8], fours[8];
    int i;
    for (i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (i = 0; i < 8; i += 4) {
        fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
}

/* `ea_load_samples` of all lanes, whose windows begin a hop after each other. */
static inline void ea_load_lanes(const ea_model *model, const float *samples, ea_vector *z) {
    const float *half = model->window_half;
    uint32_t n = model->window, i, k;
    float *to = (float *)(void *)z;
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 rows[8];
        for (k = 0; k < 8; k++) rows[k] = _mm256_loadu_ps(samples + k * model->hop + i);
        ea_turn(rows);
        for (k = 0; k < 8; k++) {
            uint32_t at = i + k <= n / 2 ? i + k : n - i - k;
            _mm256_storeu_ps(to + 8 * (i + k), _mm256_mul_ps(rows[k], _mm256_set1_ps(half[at])));
        }
    }
    for (; i < n; i++)
        for (k = 0; k < 8; k++)
            to[8 * i + k] = samples[k * model->hop + i] * half[i <= n / 2 ? i : n - i];
    for (; i < model->fft_size; i++) _mm256_storeu_ps(to + 8 * i, _mm256_setzero_ps());
}

#endif
