/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent parts: u [D] -> y [D]. What their formulas add up over channels stays in one lane of
 * a channel, in a fixed order, so that loops over channels can be vectorised without changing a
 * bit.
 *
 * An int16 state is kept in groups that share a power of two: `exponents`, one float for each
 * group, then the integers. A group is what a channel remembers (state space), or a head under a
 * key (attention).
 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

#if EA_STATES & 2u

/* The unit in which values up to `largest` are kept: largest / unit < 32768. */
static float unit_of(float largest) {
    uint32_t exponent = ea_to_bits(largest) & 0x7f800000u;
    uint32_t least = 64u << 23; /* 2^-63: what is smaller is kept as 0 */
    return ea_from_bits((exponent > least ? exponent : least) - (14u << 23));
}

static int16_t kept(float value, float inverse_unit) {
    return (int16_t)ea_round(ea_min(value * inverse_unit, 32767.0f));
}

/* Of a power of two, exactly. */
static float inverse(float unit) { return ea_from_bits((254u << 23) - ea_to_bits(unit)); }

#endif

#if EA_HAS(EA_LTI)

/* The next state of EA_TILE channels from d on, [2 n_modes][EA_TILE], and their y. */
#if defined(EA_VECTORS)
static void lti_tile(const ea_lti *m, uint32_t channels, uint32_t d, const float *u,
                     float (*h)[EA_TILE], float *y) {
    ea_float8 input = ea_load_float8(u + d), sum = {0};
    uint32_t k, at = d;
    for (k = 0; k < m->n_modes; k++, at += channels) {
        ea_float8 turn = __builtin_convertvector(ea_load_short8(m->cos + at), ea_float8);
        ea_float8 side = __builtin_convertvector(ea_load_short8(m->sin + at), ea_float8);
        ea_float8 real = __builtin_convertvector(ea_load_short8(m->real + at), ea_float8);
        ea_float8 imag = __builtin_convertvector(ea_load_short8(m->imag + at), ea_float8);
        ea_float8 re = ea_load_float8(h[2 * k]), im = ea_load_float8(h[2 * k + 1]), next;
        turn = turn * (1.0f / 32768.0f);
        side = side * (1.0f / 32768.0f);
        next = (turn * re - side * im) + input;
        im = side * re + turn * im;
        ea_store_float8(h[2 * k], next);
        ea_store_float8(h[2 * k + 1], im);
        sum = sum + (real * next - imag * im);
    }
    ea_store_float8(y + d, ea_load_numbers8(&m->skip, d) * input + m->readout_scale * sum);
}
#else
static void lti_tile(const ea_lti *m, uint32_t channels, uint32_t d, const float *u,
                     float (*h)[EA_TILE], float *y) {
    float sum[EA_TILE];
    uint32_t k, c;
    for (c = 0; c < EA_TILE; c++) sum[c] = 0.0f;
    for (k = 0; k < m->n_modes; k++) {
        const int16_t *cosine = m->cos + k * channels + d, *sine = m->sin + k * channels + d;
        const int16_t *real = m->real + k * channels + d, *imag = m->imag + k * channels + d;
        float *re = h[2 * k], *im = h[2 * k + 1];
        for (c = 0; c < EA_TILE; c++) {
            float turn = (float)cosine[c] * (1.0f / 32768.0f);
            float side = (float)sine[c] * (1.0f / 32768.0f);
            float next = (turn * re[c] - side * im[c]) + u[d + c];
            im[c] = side * re[c] + turn * im[c];
            re[c] = next;
            sum[c] += (float)real[c] * re[c] - (float)imag[c] * im[c];
        }
    }
    for (c = 0; c < EA_TILE; c++)
        y[d + c] = ea_number(&m->skip, d + c) * u[d + c] + m->readout_scale * sum[c];
}
#endif

#if EA_STATES & 1u
static void lti_float(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    uint32_t d;
    for (d = 0; d < channels; d += EA_TILE)
        lti_tile(m, channels, d, u, (float (*)[EA_TILE])(void *)(state + 2 * m->n_modes * d), y);
}

#endif

#if EA_STATES & 2u
static void lti_int16(const ea_lti *m, uint32_t channels, uint8_t *state, const float *u,
                      float *y) {
    float h[2 * EA_MAX_MODES][EA_TILE], largest[EA_TILE];
    float *units = (float *)(void *)state;
    int16_t *integers = (int16_t *)(void *)(units + channels);
    uint32_t n = 2 * m->n_modes, d, k, c;
    for (d = 0; d < channels; d += EA_TILE) {
        int16_t *q = integers + n * d;
        for (k = 0; k < n; k++)
            for (c = 0; c < EA_TILE; c++) h[k][c] = (float)q[k * EA_TILE + c] * units[d + c];
        lti_tile(m, channels, d, u, h, y);
        for (c = 0; c < EA_TILE; c++) largest[c] = 0.0f;
        for (k = 0; k < n; k++)
            for (c = 0; c < EA_TILE; c++) largest[c] = ea_max(largest[c], ea_abs(h[k][c]));
        for (c = 0; c < EA_TILE; c++) units[d + c] = unit_of(largest[c]);
        for (k = 0; k < n; k++)
            for (c = 0; c < EA_TILE; c++)
                q[k * EA_TILE + c] = kept(h[k][c], inverse(units[d + c]));
    }
}

#endif

static void apply_lti(const ea_model *model, const ea_lti *m, uint8_t *state, const float *u,
                      float *y) {
#if EA_STATES & 2u
    if (model->has_int16_state) lti_int16(m, model->channels, state, u, y);
#endif
#if EA_STATES & 1u
    if (!model->has_int16_state) lti_float(m, model->channels, (float *)(void *)state, u, y);
#endif
}

#endif

#if EA_HAS(EA_SELECTIVE) || EA_HAS(EA_MLSTM_SIGMOID) || EA_HAS(EA_MLSTM_EXPONENTIAL)

typedef struct {
    const float *query, *key;   /* [n_keys] */
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
static void recall_int16(int16_t *memory, float *unit, uint32_t n, float decay, float gain,
                         float query, const float *u, float *y, float *next) {
    float largest = 0.0f, inverse_unit;
    uint32_t c;
    for (c = 0; c < n; c++) next[c] = (float)memory[c] * *unit;
    recall_float(next, n, decay, gain, query, u, y);
    for (c = 0; c < n; c++) largest = ea_max(largest, ea_abs(next[c]));
    *unit = unit_of(largest);
    inverse_unit = inverse(*unit);
    for (c = 0; c < n; c++) memory[c] = kept(next[c], inverse_unit);
}

#endif

/* memory [n_keys][D], int16 after units [n_keys][n_heads]; y [D] is what is recalled. */
static void recall(const ea_model *model, const ea_attention *m, const gates *g, uint8_t *memory,
                   const float *u, float *y, float *scratch) {
    uint32_t width = model->channels / m->n_heads, d, n, h;
    float *units = (float *)(void *)memory;
    int16_t *integers = (int16_t *)(void *)(units + m->n_keys * m->n_heads);
    for (d = 0; d < model->channels; d++) y[d] = 0.0f;
    for (n = 0; n < m->n_keys; n++) {
        for (h = 0; h < m->n_heads; h++) {
            uint32_t first = h * width, cell = n * model->channels + first;
            float gain = g->key[n] * g->gain[h];
#if EA_STATES & 2u
            if (model->has_int16_state) {
                recall_int16(integers + cell, units + n * m->n_heads + h, width, g->decay[h], gain,
                             g->query[n], u + first, y + first, scratch);
                continue;
            }
#endif
            recall_float(units + cell, width, g->decay[h], gain, g->query[n], u + first, y + first);
        }
    }
}

static uint32_t memory_bytes(const ea_model *model, const ea_attention *m) {
    uint32_t cells = m->n_keys * model->channels;
    if (!model->has_int16_state) return 4 * cells;
    return ea_round_up(4 * m->n_keys * m->n_heads + 2 * cells, 4);
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

static void apply_selective(const ea_model *model, const ea_attention *m, uint8_t *state,
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
    (void)g;
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

static void apply_mlstm(const ea_model *model, const ea_block *block, uint8_t *state,
                        const float *u, float *y, float *scratch) {
    const ea_attention *m = &block->mixer.attention;
    int is_exponential = block->kind == EA_MLSTM_EXPONENTIAL;
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

#if EA_HAS(EA_SLSTM)

/* weight [2 P][4 P], v [2 P] -> logits [4 P]: i, z, f, o */
static void slstm_logits(const float *weight, uint32_t width, const float *u, const float *hidden,
                         float *logits) {
    uint32_t k, q;
    for (q = 0; q < 4 * width; q++) logits[q] = 0.0f;
    for (k = 0; k < 2 * width; k++) {
        const float *row = weight + k * 4 * width;
        float value = k < width ? u[k] : hidden[k - width];
        for (q = 0; q < 4 * width; q++) logits[q] += row[q] * value;
    }
}

/* State: c, n, h, [D] each. */
static void apply_slstm(const ea_model *model, const ea_slstm *m, float *c, const float *u,
                        float *y, float *logits) {
    float *n = c + model->channels, *hidden = n + model->channels;
    uint32_t width = model->channels / m->n_heads, h, p;
    for (h = 0; h < m->n_heads; h++) {
        uint32_t first = h * width;
        slstm_logits(m->weight + 8 * width * first, width, u + first, hidden + first, logits);
        for (p = 0; p < width; p++) {
            uint32_t d = first + p;
            float gain = ea_exp(ea_clip(logits[p], m->max_logit));
            float forget = ea_sigmoid(logits[2 * width + p] + m->forget_bias[d]);
            n[d] = m->max_decay * forget * n[d] + gain;
            c[d] = c[d] + gain / n[d] * (ea_tanh(logits[width + p]) - c[d]);
            hidden[d] = ea_sigmoid(logits[3 * width + p]) * c[d];
            y[d] = ea_number(&m->skip, d) * u[d] + m->output_scale * hidden[d];
        }
    }
}

#endif

#if EA_HAS(EA_TCN)

static uint32_t context_rows(const ea_tcn *m, uint32_t layer) {
    return m->n_taps[layer] * m->dilation[layer] - 1;
}

/* context [context_rows][D], the oldest row first, then u. */
static void apply_dilated(const ea_tcn *m, uint32_t layer, uint32_t channels, float *context,
                          const float *u, float *y) {
    const float *weight = m->weight[layer], *bias = m->bias[layer];
    uint32_t n = context_rows(m, layer), d, k, i;
    for (d = 0; d < channels; d++) y[d] = bias[d] + weight[d] * u[d];
    for (k = 1; k < m->n_taps[layer]; k++) {
        const float *row = context + (n - k * m->dilation[layer]) * channels;
        for (d = 0; d < channels; d++) y[d] += weight[k * channels + d] * row[d];
    }
    if (n == 0) return;
    for (i = 0; i < (n - 1) * channels; i++) context[i] = context[i + channels];
    for (d = 0; d < channels; d++) context[i + d] = u[d];
}

static void apply_tcn(const ea_model *model, const ea_tcn *m, float *context, const float *u,
                      float *y, float *input) {
    uint32_t layer, d;
    for (d = 0; d < model->channels; d++) input[d] = u[d];
    for (layer = 0; layer < m->n_layers; layer++) {
        apply_dilated(m, layer, model->channels, context, input, y);
        for (d = 0; d < model->channels; d++) input[d] = ea_hardswish(y[d]);
        context += context_rows(m, layer) * model->channels;
    }
    for (d = 0; d < model->channels; d++) y[d] += ea_number(&m->skip, d) * u[d];
}

static uint32_t tcn_state_bytes(const ea_model *model, const ea_tcn *m) {
    uint32_t n = 0, layer;
    for (layer = 0; layer < m->n_layers; layer++) n += context_rows(m, layer);
    return 4 * n * model->channels;
}

#endif

uint32_t ea_mixer_state_bytes(const ea_model *model, const ea_block *block) {
    switch (block->kind) {
#if EA_HAS(EA_LTI)
        case EA_LTI: {
            uint32_t n = 2 * block->mixer.lti.n_modes * model->channels;
            return model->has_int16_state ? 4 * model->channels + 2 * n : 4 * n;
        }
#endif
#if EA_HAS(EA_SELECTIVE)
        case EA_SELECTIVE:
            return memory_bytes(model, &block->mixer.attention);
#endif
#if EA_HAS(EA_MLSTM_SIGMOID)
        case EA_MLSTM_SIGMOID:
            return memory_bytes(model, &block->mixer.attention);
#endif
#if EA_HAS(EA_MLSTM_EXPONENTIAL)
        case EA_MLSTM_EXPONENTIAL: {
            const ea_attention *m = &block->mixer.attention;
            return memory_bytes(model, m) + 4 * (m->n_keys + 1) * m->n_heads;
        }
#endif
#if EA_HAS(EA_SLSTM)
        case EA_SLSTM:
            return 3 * 4 * model->channels;
#endif
#if EA_HAS(EA_TCN)
        case EA_TCN:
            return tcn_state_bytes(model, &block->mixer.tcn);
#endif
        default:
            return 0;
    }
}

uint32_t ea_mixer_scratch_bytes(const ea_model *model, const ea_block *block) {
    switch (block->kind) {
        case EA_SELECTIVE:
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL:
            return 4 * (block->mixer.attention.project.n_out + model->channels);
        case EA_SLSTM:
            return 4 * 4 * model->channels;
        case EA_TCN:
            return 4 * model->channels;
        default:
            return 0;
    }
}

void ea_apply_mixer(const ea_model *model, const ea_block *block, uint8_t *network, const float *u,
                    float *y, float *scratch) {
    uint8_t *state = network + block->state;
    (void)scratch; /* which a state space does not need */
    switch (block->kind) {
#if EA_HAS(EA_LTI)
        case EA_LTI:
            apply_lti(model, &block->mixer.lti, state, u, y);
            break;
#endif
#if EA_HAS(EA_SELECTIVE)
        case EA_SELECTIVE:
            apply_selective(model, &block->mixer.attention, state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_MLSTM_SIGMOID)
        case EA_MLSTM_SIGMOID:
            apply_mlstm(model, block, state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_MLSTM_EXPONENTIAL)
        case EA_MLSTM_EXPONENTIAL:
            apply_mlstm(model, block, state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_SLSTM)
        case EA_SLSTM:
            apply_slstm(model, &block->mixer.slstm, (float *)(void *)state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_TCN)
        case EA_TCN:
            apply_tcn(model, &block->mixer.tcn, (float *)(void *)state, u, y, scratch);
            break;
#endif
        default:
            break;
    }
}
