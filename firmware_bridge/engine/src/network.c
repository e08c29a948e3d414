/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows the stem: projection, residual blocks, head.
 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* y and the integers that it is computed from. */
static uint32_t linear_bytes(const ea_linear *linear) {
    return 4 * linear->n_out + 2 * linear->row;
}

uint32_t ea_network_scratch_bytes(const ea_model *model) {
    uint32_t n = larger(linear_bytes(&model->project), linear_bytes(&model->embed)), i;
    n = larger(n, 4 * model->embedding_dim + 2 * model->head.row);
    for (i = 0; i < model->n_blocks; i++) {
        const ea_block *block = &model->blocks[i];
        n = larger(n, larger(linear_bytes(&block->mix), ea_mixer_scratch_bytes(model, block)));
    }
    return 4 * 3 * model->channels + n;
}

static void normalise(const ea_model *model, const ea_numbers *scale, const ea_numbers *shift,
                      const float *x, float *u) {
    uint32_t d = 0;
#if defined(EA_VECTORS)
    ea_float8 limit = {0};
    limit = limit + model->bound;
    for (; d + 8 <= model->channels; d += 8) {
        ea_float8 y = ea_load_numbers8(scale, d) * ea_load_float8(x + d);
        y = ea_max8(y + ea_load_numbers8(shift, d), -limit);
        ea_store_float8(u + d, ea_min8(y, limit));
    }
#endif
    for (; d < model->channels; d++)
        u[d] = ea_clip(ea_number(scale, d) * x[d] + ea_number(shift, d), model->bound);
}

static void activate(float *y, uint32_t n, float limit) {
    uint32_t i = 0;
#if defined(EA_VECTORS)
    ea_float8 zero = {0}, six = zero + 6.0f, most = zero + limit;
    for (; i + 8 <= n; i += 8) {
        ea_float8 x = ea_load_float8(y + i);
        x = x * ea_min8(ea_max8(x + 3.0f, zero), six) * (1.0f / 6.0f);
        ea_store_float8(y + i, ea_min8(x, most));
    }
#endif
    for (; i < n; i++) y[i] = ea_min(ea_hardswish(y[i]), limit);
}

/* x += z * gate, each [n]. */
static void add_gated(float *x, const float *z, const float *gate, uint32_t n) {
    uint32_t d = 0;
#if defined(EA_VECTORS)
    for (; d + 8 <= n; d += 8) {
        ea_float8 change = ea_load_float8(z + d) * ea_load_float8(gate + d);
        ea_store_float8(x + d, ea_load_float8(x + d) + change);
    }
#endif
    for (; d < n; d++) x[d] += z[d] * gate[d];
}

/* x [D] -> the same, plus what the block makes of it. */
static void apply_block(const ea_model *model, const ea_block *block, uint8_t *network, float *x) {
    float *u = x + model->channels, *y = u + model->channels, *z = y + model->channels;
    float *gate = z + model->channels;
    normalise(model, &block->norm_scale, &block->norm_shift, x, u);
    ea_apply_mixer(model, block, network, u, y, z);
    activate(y, model->channels, model->bound);
    ea_apply_linear(&block->mix, y, z, (int16_t *)(void *)(gate + model->channels));
    ea_apply_sigmoid(gate, model->channels);
    add_gated(x, z, gate, model->channels);
}

uint32_t ea_embedding_offset(const ea_model *model) { return 2 * model->channels; }

void ea_apply_network(const ea_model *model, uint8_t *network, const int16_t *token, float *scores,
                      float *scratch) {
    float *x = scratch, *u = x + model->channels, *e = x + ea_embedding_offset(model);
    int16_t *q = (int16_t *)(void *)(e + model->embedding_dim);
    uint32_t bits = model->convs[model->n_convs - 1].out_bits, i;
    ea_apply_integers(&model->project, token, ea_power_of_two(-(int32_t)bits), x);
    for (i = 0; i < model->n_blocks; i++) apply_block(model, &model->blocks[i], network, x);
    normalise(model, &model->norm_scale, &model->norm_shift, x, u);
    ea_apply_linear(&model->embed, u, e, q);
    activate(e, model->embedding_dim, model->bound);
    ea_apply_linear(&model->head, e, scores, q);
    ea_apply_sigmoid(scores, model->n_labels);
}
