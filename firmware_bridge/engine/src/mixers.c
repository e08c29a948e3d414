/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent parts: u [D] -> y [D]. What their formulas add up over channels stays in one lane of
 * a channel, in a fixed order, so that loops over channels can be vectorised without changing a
 * bit.
 *
 * An int16 state is kept in groups that share a power of two: the exponent of each, one byte, then
 * the integers. A group is what a channel remembers (state space), or a head under a key
 * (attention).
 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

#if (EA_STATES & 2u) && (EA_HAS(EA_LTI) || EA_HAS_ATTENTION)

/* The exponent of the unit in which values up to `largest` are kept: largest / unit < 32767. */
static uint8_t exponent_of(float largest) {
    uint32_t exponent = ea_to_bits(largest * 1.0001f) >> 23;
    uint32_t least = 64; /* 2^-63: what is smaller is kept as 0 */
    return (uint8_t)((exponent > least ? exponent : least) - 14);
}

static float unit_of(uint8_t exponent) { return ea_from_bits((uint32_t)exponent << 23); }
static float inverse_unit_of(uint8_t exponent) { return unit_of((uint8_t)(254 - exponent)); }

static int16_t kept(float value, float inverse_unit) {
    return (int16_t)ea_round(value * inverse_unit);
}

#endif

#if EA_HAS(EA_LTI)

/* Two numbers for each mode, real and imaginary part, of channels in tiles of EA_TILE. */
#if defined(EA_VECTORS)

static ea_float8 numbers8(const int16_t *at) {
    return __builtin_convertvector(ea_load_short8(at), ea_float8);
}

/* The next state of a tile from channel d on, h [2 n_modes][EA_TILE], and its y. */
static void lti_tile(const ea_lti *m, uint32_t channels, uint32_t d, const float *u,
                     float (*h)[EA_TILE], float *y) {
    ea_float8 input = ea_load_float8(u + d), sum = {0};
    uint32_t k, at = d;
    for (k = 0; k < m->n_modes; k++, at += channels) {
        ea_float8 turn = numbers8(m->cos + at) * (1.0f / 32768.0f);
        ea_float8 side = numbers8(m->sin + at) * (1.0f / 32768.0f);
        ea_float8 re = ea_load_float8(h[2 * k]), im = ea_load_float8(h[2 * k + 1]);
        ea_float8 next = (turn * re - side * im) + input;
        im = side * re + turn * im;
        ea_store_float8(h[2 * k], next);
        ea_store_float8(h[2 * k + 1], im);
        sum = sum + (numbers8(m->real + at) * next - numbers8(m->imag + at) * im);
    }
    ea_store_float8(y + d, ea_load_numbers8(&m->skip, d) * input + m->readout_scale * sum);
}

#if EA_STATES & 1u
static void lti_float(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    uint32_t d;
    for (d = 0; d < channels; d += EA_TILE, state += 2 * m->n_modes * EA_TILE)
        lti_tile(m, channels, d, u, (float (*)[EA_TILE])(void *)state, y);
}
#endif

#if EA_STATES & 2u
static void lti_int16(const ea_lti *m, uint32_t channels, uint8_t *exponents, const float *u,
                      float *y) {
    float h[2 * EA_MAX_MODES][EA_TILE];
    int16_t *q = (int16_t *)(void *)(exponents + channels);
    uint32_t n = 2 * m->n_modes, d, i, c;
    for (d = 0; d < channels; d += EA_TILE, exponents += EA_TILE, q += n * EA_TILE) {
        float unit[EA_TILE], largest[EA_TILE] = {0};
        for (c = 0; c < EA_TILE; c++) unit[c] = unit_of(exponents[c]);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) h[i][c] = (float)q[i * EA_TILE + c] * unit[c];
        lti_tile(m, channels, d, u, h, y);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) largest[c] = ea_max(largest[c], ea_abs(h[i][c]));
        for (c = 0; c < EA_TILE; c++) exponents[c] = exponent_of(largest[c]);
        for (c = 0; c < EA_TILE; c++) unit[c] = inverse_unit_of(exponents[c]);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) q[i * EA_TILE + c] = kept(h[i][c], unit[c]);
    }
}
#endif

#else

typedef struct {
    float re, im;
} mode;

/* The next state h [n_modes] of channel d and its y; returns its largest number. */
static float lti_channel(const ea_lti *m, uint32_t channels, uint32_t d, float input, mode *h,
                         float *y) {
    float sum = 0.0f, largest = 0.0f;
    uint32_t k, at = d;
    for (k = 0; k < m->n_modes; k++, at += channels) {
        float turn = (float)m->cos[at] * (1.0f / 32768.0f);
        float side = (float)m->sin[at] * (1.0f / 32768.0f);
        float re = (turn * h[k].re - side * h[k].im) + input;
        float im = side * h[k].re + turn * h[k].im;
        h[k].re = re;
        h[k].im = im;
        largest = ea_max(largest, ea_max(ea_abs(re), ea_abs(im)));
        sum += (float)m->real[at] * re - (float)m->imag[at] * im;
    }
    *y = ea_number(&m->skip, d) * input + m->readout_scale * sum;
    return largest;
}

/* Where the state of channel d begins; its numbers are EA_TILE apart. */
static uint32_t lti_begin(const ea_lti *m, uint32_t d) {
    return d / EA_TILE * EA_TILE * 2 * m->n_modes + d % EA_TILE;
}

#if EA_STATES & 1u
static void lti_float(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    mode h[EA_MAX_MODES];
    uint32_t d, k;
    for (d = 0; d < channels; d++) {
        float *at = state + lti_begin(m, d);
        for (k = 0; k < m->n_modes; k++) {
            h[k].re = at[2 * k * EA_TILE];
            h[k].im = at[(2 * k + 1) * EA_TILE];
        }
        (void)lti_channel(m, channels, d, u[d], h, y + d);
        for (k = 0; k < m->n_modes; k++) {
            at[2 * k * EA_TILE] = h[k].re;
            at[(2 * k + 1) * EA_TILE] = h[k].im;
        }
    }
}
#endif

#if EA_STATES & 2u
static void lti_int16(const ea_lti *m, uint32_t channels, uint8_t *exponents, const float *u,
                      float *y) {
    int16_t *state = (int16_t *)(void *)(exponents + channels);
    mode h[EA_MAX_MODES];
    uint32_t d, k;
    for (d = 0; d < channels; d++) {
        int16_t *at = state + lti_begin(m, d);
        float unit = unit_of(exponents[d]);
        for (k = 0; k < m->n_modes; k++) {
            h[k].re = (float)at[2 * k * EA_TILE] * unit;
            h[k].im = (float)at[(2 * k + 1) * EA_TILE] * unit;
        }
        exponents[d] = exponent_of(lti_channel(m, channels, d, u[d], h, y + d));
        unit = inverse_unit_of(exponents[d]);
        for (k = 0; k < m->n_modes; k++) {
            at[2 * k * EA_TILE] = kept(h[k].re, unit);
            at[(2 * k + 1) * EA_TILE] = kept(h[k].im, unit);
        }
    }
}
#endif

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

#if EA_HAS_ATTENTION

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
static void recall_int16(int16_t *memory, uint8_t *exponent, uint32_t n, float decay, float gain,
                         float query, const float *u, float *y, float *next) {
    float largest = 0.0f, unit = unit_of(*exponent);
    uint32_t c;
    for (c = 0; c < n; c++) next[c] = (float)memory[c] * unit;
    recall_float(next, n, decay, gain, query, u, y);
    for (c = 0; c < n; c++) largest = ea_max(largest, ea_abs(next[c]));
    *exponent = exponent_of(largest);
    unit = inverse_unit_of(*exponent);
    for (c = 0; c < n; c++) memory[c] = kept(next[c], unit);
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
                recall_int16(integers + cell, memory + n * m->n_heads + h, width, g->decay[h],
                             gain, g->query[n], u + first, y + first, scratch);
                continue;
            }
#endif
            recall_float(floats + cell, width, g->decay[h], gain, g->query[n], u + first, y + first);
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
            return model->has_int16_state ? model->channels + 2 * n : 4 * n;
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
#if EA_HAS_ATTENTION
        case EA_SELECTIVE:
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL:
            return 4 * (block->mixer.attention.project.n_out + model->channels);
#endif
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
