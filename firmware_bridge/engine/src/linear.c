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

void ea_apply_integers(const ea_linear *linear, const int16_t *q, float unit, float *y) {
    uint32_t o;
    for (o = 0; o < linear->n_out; o++) {
        int32_t sum = ea_dot8(q, linear->weight + o * linear->row, linear->row);
        y[o] = linear->bias[o] + linear->scale[o] * unit * (float)sum;
    }
}

void ea_apply_linear(const ea_linear *linear, const float *x, float *y, int16_t *q) {
    float unit = quantize(x, linear->n_in, q);
    uint32_t i;
    for (i = linear->n_in; i < linear->row; i++) q[i] = 0;
    ea_apply_integers(linear, q, unit, y);
}
