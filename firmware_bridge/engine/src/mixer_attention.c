/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear attention (distill/students/selective.py and mlstm.py): a memory that is written under keys
 * and recalled by queries, per head.
 */
#include "mixers.h"

#if EA_HAS_ATTENTION

typedef struct {
    const float *query, *key; /* [n_keys] */
    float decay[EA_MAX_HEADS], gain[EA_MAX_HEADS];
} gates;

/* memory [n] of one head under one key, n channels of which have values u; adds what is recalled
 * to y. */
static void recall_float(float *memory, uint32_t n, float decay, float gain, float query,
                         const float *u, float *y) {
    uint32_t c;
    for (c = 0; c < n; c++) {
        memory[c] = decay * memory[c] + gain * u[c];
        y[c] += query * memory[c];
    }
}

#if EA_STATES & 2u
static void recall_int16(int16_t *memory, uint8_t *exponent, uint32_t n, float decay, float gain,
                         float query, const float *u, float *y, float *next) {
    float largest = 0.0f, unit = ea_unit_of(*exponent);
    uint32_t c;
    for (c = 0; c < n; c++) next[c] = (float)memory[c] * unit;
    recall_float(next, n, decay, gain, query, u, y);
    for (c = 0; c < n; c++) largest = ea_max(largest, ea_abs(next[c]));
    *exponent = ea_exponent_of(largest);
    unit = ea_inverse_unit_of(*exponent);
    for (c = 0; c < n; c++) memory[c] = ea_kept(next[c], unit);
}

#endif

static uint32_t exponent_bytes(const ea_attention *m) {
    return ea_round_up(m->n_keys * m->n_heads, 4);
}

/* memory [n_keys][D], int16 after exponents [n_keys][n_heads]; y [D] is what is recalled. */
static void recall(const ea_model *model, const ea_attention *m, const gates *g, uint8_t *memory,
                   const float *u, float *y, float *scratch) {
    uint32_t width = model->channels / m->n_heads, d, n, h;
    float *floats = (float *)(void *)memory;
#if EA_STATES & 2u
    int16_t *integers = (int16_t *)(void *)(memory + exponent_bytes(m));
#endif
    (void)scratch; /* which a float state does not need */
    for (d = 0; d < model->channels; d++) y[d] = 0.0f;
    for (n = 0; n < m->n_keys; n++) {
        for (h = 0; h < m->n_heads; h++) {
            uint32_t first = h * width, cell = n * model->channels + first;
            float gain = g->key[n] * g->gain[h];
#if EA_STATES & 2u
            if (model->has_int16_state) {
                recall_int16(integers + cell, memory + n * m->n_heads + h, width, g->decay[h], gain,
                             g->query[n], u + first, y + first, scratch);
                continue;
            }
#endif
            recall_float(floats + cell, width, g->decay[h], gain, g->query[n], u + first,
                         y + first);
        }
    }
}

static uint32_t memory_bytes(const ea_model *model, const ea_attention *m) {
    uint32_t cells = m->n_keys * model->channels;
    if (!model->has_int16_state) return 4 * cells;
    return exponent_bytes(m) + ea_round_up(2 * cells, 4);
}

static void add_skip(const ea_model *model, const ea_numbers *skip, const float *u, float *y) {
    uint32_t d;
    for (d = 0; d < model->channels; d++) y[d] += ea_number(skip, d) * u[d];
}

/* The logits [2 n_keys + ...], with working memory after them. */
static float *project(const ea_attention *m, const float *u, float *scratch) {
    float *end = scratch + m->project.n_out;
    ea_apply_linear(&m->project, u, scratch, (int16_t *)(void *)end);
    return end;
}

#endif

#if EA_HAS(EA_SELECTIVE)

void ea_apply_selective(const ea_model *model, const ea_attention *m, uint8_t *state,
                        const float *u, float *y, float *scratch) {
    float *end = project(m, u, scratch), *rate = scratch + 2 * m->n_keys;
    gates g;
    uint32_t h;
    g.key = scratch;
    g.query = scratch + m->n_keys;
    for (h = 0; h < m->n_heads; h++) {
        g.decay[h] = m->max_decay * ea_sigmoid(rate[h] + m->decay_bias[h]);
        g.gain[h] = ea_sqrt(1.0f - g.decay[h] * g.decay[h]);
    }
    recall(model, m, &g, state, u, y, end);
    add_skip(model, &m->skip, u, y);
}

#endif

#if EA_HAS(EA_MLSTM_SIGMOID) || EA_HAS(EA_MLSTM_EXPONENTIAL)

/* After the memory: n [n_keys][n_heads] and m [n_heads]. */
static void normalise(const ea_model *model, const ea_attention *m, gates *g, float *n, float *y) {
    float *maximum = n + m->n_keys * m->n_heads;
    uint32_t width = model->channels / m->n_heads, h, k, d;
    for (h = 0; h < m->n_heads; h++) {
        float sum = 0.0f, scale;
        for (k = 0; k < m->n_keys; k++) {
            float *cell = n + k * m->n_heads + h;
            *cell = g->decay[h] * *cell + g->key[k] * g->gain[h];
            sum += g->query[k] * *cell;
        }
        scale = maximum[h] / ea_max(ea_abs(sum) * maximum[h], 1.0f);
        for (d = h * width; d < (h + 1) * width; d++) y[d] *= scale;
    }
}

/* Divides what is kept and what is added by the larger of both, which becomes the maximum. */
static void stabilise(const ea_attention *m, gates *g, float *maximum) {
    uint32_t h;
    for (h = 0; h < m->n_heads; h++) {
        float held = g->decay[h] * maximum[h];
        maximum[h] = ea_max(held, g->gain[h]);
        g->decay[h] = held / maximum[h];
        g->gain[h] = g->gain[h] / maximum[h];
    }
}

/* Known where a build has one kind of mLSTM alone, so that the code of the other is left out. */
static inline int has_exponential_gates(const ea_block *block) {
    if (!EA_HAS(EA_MLSTM_SIGMOID)) return 1;
    return EA_HAS(EA_MLSTM_EXPONENTIAL) && block->kind == EA_MLSTM_EXPONENTIAL;
}

void ea_apply_mlstm(const ea_model *model, const ea_block *block, uint8_t *state, const float *u,
                    float *y, float *scratch) {
    const ea_attention *m = &block->mixer.attention;
    int is_exponential = has_exponential_gates(block);
    float *end = project(m, u, scratch), *key = scratch + m->n_keys, *in = key + m->n_keys;
    float *forget = in + m->n_heads, *n = (float *)(void *)(state + memory_bytes(model, m));
    gates g;
    uint32_t h, k;
    g.query = scratch;
    g.key = key;
    for (k = 0; k < m->n_keys; k++) key[k] *= m->key_scale;
    for (h = 0; h < m->n_heads; h++) {
        g.decay[h] = m->max_decay * ea_sigmoid(forget[h] + m->decay_bias[h]);
        g.gain[h] = is_exponential ? ea_exp(ea_clip(in[h], m->max_logit)) : ea_sigmoid(in[h]);
    }
    if (is_exponential) stabilise(m, &g, n + m->n_keys * m->n_heads);
    recall(model, m, &g, state, u, y, end);
    if (is_exponential) normalise(model, m, &g, n, y);
    add_skip(model, &m->skip, u, y);
}

#endif

#if EA_HAS_ATTENTION

uint32_t ea_attention_state_bytes(const ea_model *model, const ea_block *block) {
    const ea_attention *m = &block->mixer.attention;
    uint32_t n_bytes = memory_bytes(model, m);
    if (block->kind == EA_MLSTM_EXPONENTIAL) n_bytes += 4 * (m->n_keys + 1) * m->n_heads;
    return n_bytes;
}

#endif
