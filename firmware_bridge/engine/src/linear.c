/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

/* x [n] -> q [n], the largest of which is 32767, and what one unit of q is worth. */
static float quantize(const float *x, uint32_t n, int16_t *q) {
    float largest = 0.0f, gain;
    uint32_t i;
    for (i = 0; i < n; i++) largest = ea_max(largest, ea_abs(x[i]));
    if (!(largest > 1e-30f)) largest = 1e-30f; /* all zero, or as good as */
    gain = 32767.0f / largest;
    for (i = 0; i < n; i++) q[i] = (int16_t)ea_round(x[i] * gain);
    return largest * (1.0f / 32767.0f);
}

/* n outputs from o on. */
static void finish(const ea_linear *linear, const int32_t *sums, uint32_t o, uint32_t n, float unit,
                   float *y) {
    uint32_t i;
    for (i = 0; i < n; i++)
        y[o + i] = linear->bias[o + i] + linear->scale[o + i] * unit * (float)sums[i];
}

void ea_apply_integers(const ea_linear *linear, const int16_t *q, float unit, float *y) {
    uint32_t n_out = linear->n_out, o, i, k;
    int32_t sums[4];
    for (o = 0; o + 4 <= n_out; o += 4) {
        ea_dot8(q, linear->weight + o * linear->row, linear->row, sums);
        finish(linear, sums, o, 4, unit, y);
    }
    for (i = 0; i < n_out - o; i++)
        for (sums[i] = 0, k = 0; k < linear->n_in; k++)
            sums[i] += (int32_t)q[k] * linear->weight[(o + i) * linear->row + k];
    finish(linear, sums, o, n_out - o, unit, y);
}

void ea_apply_linear(const ea_linear *linear, const float *x, float *y, int16_t *q) {
    float unit = quantize(x, linear->n_in, q);
    uint32_t i;
    for (i = linear->n_in; i < linear->row; i++) q[i] = 0;
    ea_apply_integers(linear, q, unit, y);
}
