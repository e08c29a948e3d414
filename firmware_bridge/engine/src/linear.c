/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

#if defined(EA_PACKED)
#include "../host/packed.h"
#endif

/* Of |x|. */
static float largest_of(const float *x, uint32_t n) {
    float largest = 0.0f;
    uint32_t i = 0;
#if defined(EA_VECTORS)
    ea_float8 all = {0};
    uint32_t lane;
    for (; i + 8 <= n; i += 8) {
        ea_float8 v = ea_load_float8(x + i);
        all = ea_max8(all, ea_max8(v, -v));
    }
    for (lane = 0; lane < 8; lane++) largest = ea_max(largest, all[lane]);
#endif
    for (; i < n; i++) largest = ea_max(largest, ea_abs(x[i]));
    return largest;
}

/* x [n] -> q [n], the largest of which is 32767, and what one unit of q is worth. */
static float quantize(const float *x, uint32_t n, int16_t *q) {
    float largest = largest_of(x, n), gain;
    uint32_t i = 0;
    if (!(largest > 1e-30f)) largest = 1e-30f; /* all zero, or as good as */
    gain = 32767.0f / largest;
#if defined(EA_VECTORS)
    for (; i + 8 <= n; i += 8) ea_store_short8(q + i, ea_round8(ea_load_float8(x + i) * gain));
#endif
    for (; i < n; i++) q[i] = (int16_t)ea_round(x[i] * gain);
    return largest * (1.0f / 32767.0f);
}

/* The output of which `sum` is the sum. */
static float finished(const ea_linear *linear, int32_t sum, uint32_t o, float unit) {
    return ea_number(&linear->bias, o) + ea_number(&linear->scale, o) * unit * (float)sum;
}

#if defined(EA_VECTORS)
static void finish4(const ea_linear *linear, const int32_t *sums, uint32_t o, float unit,
                    float *y) {
    ea_float4 sum = __builtin_convertvector(ea_load_int4(sums), ea_float4);
    ea_float4 scale = ea_load_numbers4(&linear->scale, o) * unit;
    sum = ea_load_numbers4(&linear->bias, o) + scale * sum;
    ea_store_float4(y + o, sum);
}
#else
static void finish4(const ea_linear *linear, const int32_t *sums, uint32_t o, float unit,
                    float *y) {
    uint32_t i;
    for (i = 0; i < 4; i++) y[o + i] = finished(linear, sums[i], o + i, unit);
}
#endif

#if defined(EA_PACKED)

/* n_groups groups of outputs from `first` on: `finished`, of eight at once. */
static void finish_groups(const ea_linear *linear, const int32_t *sums, uint32_t first,
                          uint32_t n_groups, float unit, float *y) {
    const struct ea_packed_linear *packed = linear->packed;
    uint32_t o = first * EA_LINEAR_OUTS, end = o + n_groups * EA_LINEAR_OUTS;
    if (end > linear->n_out) end = linear->n_out;
    for (; o + 8 <= end; o += 8, sums += 8) {
        ea_float8 sum = __builtin_convertvector(ea_load_int8(sums), ea_float8);
        ea_float8 scale = ea_load_float8(packed->scale + o) * unit;
        ea_store_float8(y + o, ea_load_float8(packed->bias + o) + scale * sum);
    }
    for (; o < end; o++) y[o] = finished(linear, *sums++, o, unit);
}

static void apply_packed(const ea_linear *linear, const int16_t *q, float unit, float *y) {
    uint32_t n_groups = linear->packed->n_groups, g = 0;
    int32_t sums[EA_LINEAR_TILE * EA_LINEAR_OUTS];
#if defined(__AVX512VNNI__)
    uint8_t x[EA_MAX_SIZE], high[EA_MAX_SIZE];
    ea_split(q, linear->row, x, high);
#else
    const int16_t *x = q;
    const void *high = 0;
#endif
    for (; g + EA_LINEAR_TILE <= n_groups; g += EA_LINEAR_TILE) {
        ea_linear_groups(linear, x, high, g, EA_LINEAR_TILE, sums);
        finish_groups(linear, sums, g, EA_LINEAR_TILE, unit, y);
    }
    for (; g + 2 <= n_groups; g += 2) {
        ea_linear_groups(linear, x, high, g, 2, sums);
        finish_groups(linear, sums, g, 2, unit, y);
    }
    for (; g < n_groups; g++) {
        ea_linear_groups(linear, x, high, g, 1, sums);
        finish_groups(linear, sums, g, 1, unit, y);
    }
}

#endif

void ea_apply_integers(const ea_linear *linear, const int16_t *q, float unit, float *y) {
    uint32_t n_out = linear->n_out, o, k;
    int32_t sums[4];
#if defined(EA_PACKED)
    if (linear->packed) {
        apply_packed(linear, q, unit, y);
        return;
    }
#endif
    for (o = 0; o + 4 <= n_out; o += 4) {
        ea_dot8(q, linear->weight + o * linear->row, linear->row, sums);
        finish4(linear, sums, o, unit, y);
    }
    for (; o < n_out; o++) {
        const int8_t *weight = linear->weight + o * linear->row;
        int32_t sum = 0;
        for (k = 0; k < linear->n_in; k++) sum += (int32_t)q[k] * weight[k];
        y[o] = finished(linear, sum, o, unit);
    }
}

void ea_apply_linear(const ea_linear *linear, const float *x, float *y, int16_t *q) {
    float unit = quantize(x, linear->n_in, q);
    uint32_t i;
    for (i = linear->n_in; i < linear->row; i++) q[i] = 0;
    ea_apply_integers(linear, q, unit, y);
}

#if defined(EA_VECTORS)

/* ea_sigmoid of eight numbers, operation by operation. */
static ea_float8 sigmoid8(ea_float8 x) {
    ea_float8 zero = {0}, limit = zero + 87.0f, r, p, whole;
    ea_int8 k;
    x = ea_min8(ea_max8(-x, -limit), limit);
    k = ea_round8(x * 1.44269504f);
    whole = __builtin_convertvector(k, ea_float8);
    r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    p = zero + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return 1.0f / (1.0f + p * (ea_float8)((k + 127) << 23));
}

#endif

void ea_apply_sigmoid(float *x, uint32_t n) {
    uint32_t i = 0;
#if defined(EA_VECTORS)
    for (; i + 8 <= n; i += 8) ea_store_float8(x + i, sigmoid8(ea_load_float8(x + i)));
#endif
    for (; i < n; i++) x[i] = ea_sigmoid(x[i]);
}
