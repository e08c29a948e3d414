/* The front end and the step of a student, from nothing but its model.h: the equations there,
 * written out. For reading and for testing, not for speed. */

#include <math.h>

#include "model.h"

enum { D = EA_CHANNELS, HALF_TURN = EA_FFT_SIZE / 2 };

/* samples [EA_WINDOW_SAMPLES] within -1 and 1 -> frame [EA_N_MELS] */
void log_mel(const float *samples, float *frame);

/* frames [EA_FRAMES_PER_STEP][EA_N_MELS], state [EA_STATE_ELEMENTS] -> scores [EA_N_LABELS] */
void step(const float *frames, float *state, float *scores);

static float clip(float x, float limit) { return fminf(fmaxf(x, -limit), limit); }
static float relu6(float x) { return fminf(fmaxf(x, 0.0f), 6.0f); }
static float hardswish(float x) { return x * relu6(x + 3.0f) / 6.0f; }
static float act(float x) { return fminf(hardswish(x), EA_BOUND); }
static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* Also where `to` begins before `from` in the same array. */
static void copy(float *to, const float *from, int32_t n) {
    for (int32_t i = 0; i < n; i++) to[i] = from[i];
}

static void apply_linear(const ea_linear *linear, const float *x, float *y) {
    for (int32_t o = 0; o < linear->n_out; o++) {
        const ea_weight *weight = linear->weight + o * linear->n_in;
        float sum = 0.0f;
        for (int32_t i = 0; i < linear->n_in; i++) sum += (float)weight[i] * x[i];
        y[o] = linear->bias[o] + linear->scale[o] * sum;
    }
}

/* Front end */

/* cos or sin of 2 pi k / EA_FFT_SIZE. */
static float factor(const float *table, int32_t k) {
    k %= EA_FFT_SIZE;
    return k < HALF_TURN ? table[k] : -table[k - HALF_TURN];
}

static float bin_power(const float *windowed, int32_t bin) {
    float re = 0.0f, im = 0.0f;
    for (int32_t i = 0; i < EA_WINDOW_SAMPLES; i++) {
        re += windowed[i] * factor(ea_fft_cos, bin * i);
        im -= windowed[i] * factor(ea_fft_sin, bin * i);
    }
    return re * re + im * im;
}

void log_mel(const float *samples, float *frame) {
    float windowed[EA_WINDOW_SAMPLES], power[HALF_TURN + 1];
    const float *weight = ea_mel_weight;
    for (int32_t i = 0; i < EA_WINDOW_SAMPLES; i++) windowed[i] = ea_window[i] * samples[i];
    for (int32_t bin = 0; bin <= HALF_TURN; bin++) power[bin] = bin_power(windowed, bin);
    for (int32_t m = 0; m < EA_N_MELS; m++) {
        float sum = 0.0f;
        for (int32_t b = 0; b < ea_mel_count[m]; b++) sum += weight[b] * power[ea_mel_first[m] + b];
        weight += ea_mel_count[m];
        frame[m] = (logf(sum + EA_LOG_FLOOR) - EA_LOG_MEAN) * EA_LOG_GAIN;
    }
}

/* Stem */

/* state and x [n_in][n_times][n_bands] -> padded [n_in][context + n_times][n_bands] and state. */
static void pad(const ea_conv *conv, int32_t n_times, const float *x, float *state, float *padded) {
    int32_t n_state = conv->context * conv->n_bands, n_x = n_times * conv->n_bands;
    for (int32_t c = 0; c < conv->n_in; c++) {
        float *channel = padded + c * (n_state + n_x);
        copy(channel, state + c * n_state, n_state);
        copy(channel + n_state, x + c * n_x, n_x);
        copy(state + c * n_state, channel + n_x, n_state);
    }
}

/* g[f][t][b] from the channel of `padded` that filter f hears. */
static float filtered(const ea_conv *conv, const float *channel, int32_t f, int32_t t, int32_t b) {
    float sum = conv->kernel_bias[f];
    for (int32_t i = 0; i < 3; i++) {
        for (int32_t j = 0; j < 3; j++) {
            int32_t time = conv->stride * t + i, band = conv->stride * b + j - 1;
            if (band < 0 || band >= conv->n_bands) continue;
            sum += conv->kernel[9 * f + 3 * i + j] * channel[time * conv->n_bands + band];
        }
    }
    return relu6(sum);
}

/* g[f][k] -> y[o][k], k < n */
static void mix_filters(const ea_conv *conv, int32_t n, const float *g, float *y) {
    for (int32_t o = 0; o < conv->n_out; o++) {
        for (int32_t k = 0; k < n; k++) {
            float sum = conv->mix_bias[o];
            for (int32_t f = 0; f < conv->n_filters; f++)
                sum += conv->mix[o * conv->n_filters + f] * g[f * n + k];
            y[o * n + k] = relu6(sum);
        }
    }
}

/* x [n_in][n_times][n_bands] becomes [n_out][n_times / stride][n_bands / stride]. */
static void apply_conv(const ea_conv *conv, int32_t n_times, float *state, float *x) {
    float padded[EA_SCRATCH_ELEMENTS], g[EA_SCRATCH_ELEMENTS], y[EA_SCRATCH_ELEMENTS];
    int32_t times = n_times / conv->stride, bands = conv->n_bands / conv->stride;
    int32_t n = times * bands, n_channel = (conv->context + n_times) * conv->n_bands;
    pad(conv, n_times, x, state + conv->state, padded);
    for (int32_t f = 0; f < conv->n_filters; f++) {
        const float *channel = padded + (conv->n_in == 1 ? 0 : f) * n_channel;
        for (int32_t k = 0; k < n; k++)
            g[f * n + k] = filtered(conv, channel, f, k / bands, k % bands);
    }
    if (conv->mix)
        mix_filters(conv, n, g, y);
    else
        copy(y, g, conv->n_out * n);
    for (int32_t k = 0; k < conv->n_out * n; k++) x[k] = conv->residual ? x[k] + y[k] : y[k];
}

/* frames -> x [D] */
static void apply_stem(const float *frames, float *state, float *x) {
    float map[EA_SCRATCH_ELEMENTS], token[EA_SCRATCH_ELEMENTS];
    int32_t n_times = EA_FRAMES_PER_STEP, n_bands = EA_N_MELS, n_channels = 1;
    copy(map, frames, n_times * n_bands);
    for (int32_t i = 0; i < EA_N_CONVS; i++) {
        apply_conv(&ea_stem[i], n_times, state, map);
        n_times /= ea_stem[i].stride;
        n_bands /= ea_stem[i].stride;
        n_channels = ea_stem[i].n_out;
    }
    for (int32_t b = 0; b < n_bands; b++)
        for (int32_t c = 0; c < n_channels; c++) token[b * n_channels + c] = map[c * n_bands + b];
    apply_linear(&ea_stem_project, token, x);
}

/* Mixers: u [D] and the whole state -> y [D] */

static void apply_lti(const ea_lti *m, const float *u, float *state, float *y) {
    int32_t n = m->n_modes;
    for (int32_t d = 0; d < D; d++) {
        float *re = state + m->state + 2 * n * d, *im = re + n;
        y[d] = m->skip[d] * u[d];
        for (int32_t k = 0; k < n; k++) {
            int32_t mode = n * d + k;
            float a = re[k], b = im[k];
            re[k] = m->cos[mode] * a - m->sin[mode] * b + m->gain[mode] * u[d];
            im[k] = m->sin[mode] * a + m->cos[mode] * b;
            y[d] += m->real[mode] * re[k] - m->imag[mode] * im[k];
        }
    }
}

/* memory [n_keys][n_columns] and what is recalled from it, y [n_columns]. u = 0 means all ones. */
typedef struct {
    int32_t n_heads, n_keys;
    const float *query, *key, *decay, *gain;
} attention;

static void attend(const attention *a, int32_t n_columns, const float *u, float *memory, float *y) {
    int32_t width = n_columns / a->n_heads;
    for (int32_t d = 0; d < n_columns; d++) {
        int32_t h = d / width;
        y[d] = 0.0f;
        for (int32_t n = 0; n < a->n_keys; n++) {
            float *cell = memory + n * n_columns + d;
            *cell = a->decay[h] * *cell + a->key[n] * a->gain[h] * (u ? u[d] : 1.0f);
            y[d] += a->query[n] * *cell;
        }
    }
}

static void apply_selective(const ea_selective *m, const float *u, float *state, float *y) {
    float projected[EA_SCRATCH_ELEMENTS], decay[D], gain[D];
    const float *key = projected, *query = key + m->n_keys, *rate = query + m->n_keys;
    attention a = {m->n_heads, m->n_keys, query, key, decay, gain};
    apply_linear(&m->project, u, projected);
    for (int32_t h = 0; h < m->n_heads; h++) {
        decay[h] = m->max_decay * sigmoid(rate[h] + m->decay_bias[h]);
        gain[h] = sqrtf(1.0f - decay[h] * decay[h]);
    }
    attend(&a, D, u, state + m->state, y);
    for (int32_t d = 0; d < D; d++) y[d] += m->skip[d] * u[d];
}

/* Divides what is kept and what is added by the larger of both, which becomes m. */
static void normalise_gates(int32_t n_heads, float *decay, float *gain, float *m) {
    for (int32_t h = 0; h < n_heads; h++) {
        float kept = decay[h] * m[h];
        m[h] = fmaxf(kept, gain[h]);
        decay[h] = kept / m[h];
        gain[h] = gain[h] / m[h];
    }
}

static void apply_mlstm(const ea_mlstm *m, int exponential, const float *u, float *state,
                        float *y) {
    float projected[EA_SCRATCH_ELEMENTS], decay[D], gain[D], weight[D];
    float *query = projected, *key = query + m->n_keys, *maximum = state + m->state_m;
    const float *in = key + m->n_keys, *forget = in + m->n_heads;
    attention a = {m->n_heads, m->n_keys, query, key, decay, gain};
    apply_linear(&m->project, u, projected);
    for (int32_t n = 0; n < m->n_keys; n++) key[n] *= m->key_scale;
    for (int32_t h = 0; h < m->n_heads; h++) {
        decay[h] = m->max_decay * sigmoid(forget[h] + m->forget_bias[h]);
        gain[h] = exponential ? expf(clip(in[h], m->max_logit)) : sigmoid(in[h]);
    }
    if (exponential) {
        normalise_gates(m->n_heads, decay, gain, maximum);
        attend(&a, m->n_heads, 0, state + m->state_n, weight);
    }
    attend(&a, D, u, state + m->state_c, y);
    for (int32_t d = 0; d < D; d++) {
        int32_t h = d / (D / m->n_heads);
        if (exponential) y[d] *= maximum[h] / fmaxf(fabsf(weight[h]) * maximum[h], 1.0f);
        y[d] += m->skip[d] * u[d];
    }
}

/* v [2 P] of one head -> logits [4 P]: i, z, f, o */
static void slstm_logits(const float *weight, int32_t width, const float *v, float *logits) {
    for (int32_t q = 0; q < 4 * width; q++) {
        logits[q] = 0.0f;
        for (int32_t k = 0; k < 2 * width; k++) logits[q] += weight[k * 4 * width + q] * v[k];
    }
}

static void apply_slstm(const ea_slstm *m, const float *u, float *state, float *y) {
    float v[2 * D], logits[4 * D];
    float *c = state + m->state_c, *n = state + m->state_n, *hidden = state + m->state_h;
    int32_t width = D / m->n_heads;
    for (int32_t h = 0; h < m->n_heads; h++) {
        copy(v, u + h * width, width);
        copy(v + width, hidden + h * width, width);
        slstm_logits(m->weight + h * 8 * width * width, width, v, logits);
        for (int32_t p = 0; p < width; p++) {
            int32_t d = h * width + p;
            float gain = expf(clip(logits[p], m->max_logit));
            float forget = sigmoid(logits[2 * width + p] + m->forget_bias[d]);
            n[d] = m->max_decay * forget * n[d] + gain;
            c[d] += gain / n[d] * (tanhf(logits[width + p]) - c[d]);
            hidden[d] = sigmoid(logits[3 * width + p]) * c[d];
            y[d] = m->skip[d] * u[d] + m->output_scale * hidden[d];
        }
    }
}

static void apply_dilated(const ea_dilated *m, const float *u, float *state, float *y) {
    int32_t n_context = m->n_taps * m->dilation - 1;
    float *context = state + m->state;
    for (int32_t d = 0; d < D; d++) {
        y[d] = m->bias[d] + m->weight[d] * u[d];
        for (int32_t k = 1; k < m->n_taps; k++)
            y[d] += m->weight[k * D + d] * context[(n_context - k * m->dilation) * D + d];
    }
    if (n_context == 0) return;
    copy(context, context + D, (n_context - 1) * D);
    copy(context + (n_context - 1) * D, u, D);
}

static void apply_tcn(const ea_tcn *m, const float *u, float *state, float *y) {
    float input[D];
    copy(input, u, D);
    for (int32_t i = 0; i < m->n_layers; i++) {
        apply_dilated(&m->layers[i], input, state, y);
        for (int32_t d = 0; d < D; d++) input[d] = hardswish(y[d]);
    }
    for (int32_t d = 0; d < D; d++) y[d] += m->skip[d] * u[d];
}

static void apply_mixer(const ea_block *block, const float *u, float *state, float *y) {
    switch (block->kind) {
        case EA_LTI: apply_lti(block->mixer, u, state, y); break;
        case EA_SELECTIVE: apply_selective(block->mixer, u, state, y); break;
        case EA_MLSTM_SIGMOID: apply_mlstm(block->mixer, 0, u, state, y); break;
        case EA_MLSTM_EXPONENTIAL: apply_mlstm(block->mixer, 1, u, state, y); break;
        case EA_SLSTM: apply_slstm(block->mixer, u, state, y); break;
        case EA_TCN: apply_tcn(block->mixer, u, state, y); break;
    }
}

/* Blocks and head */

static void normalise(const float *scale, const float *shift, const float *x, float *u) {
    for (int32_t d = 0; d < D; d++) u[d] = clip(scale[d] * x[d] + shift[d], EA_BOUND);
}

static void apply_block(const ea_block *block, float *state, float *x) {
    float u[D], y[D], z[2 * D];
    normalise(block->norm_scale, block->norm_shift, x, u);
    apply_mixer(block, u, state, y);
    for (int32_t d = 0; d < D; d++) y[d] = act(y[d]);
    apply_linear(&block->mix, y, z);
    for (int32_t d = 0; d < D; d++) x[d] += z[d] * sigmoid(z[D + d]);
}

void step(const float *frames, float *state, float *scores) {
    float x[D], u[D], e[EA_EMBEDDING_DIM];
    apply_stem(frames, state, x);
    for (int32_t i = 0; i < EA_N_BLOCKS; i++) apply_block(&ea_blocks[i], state, x);
    normalise(ea_norm_scale, ea_norm_shift, x, u);
    apply_linear(&ea_embed, u, e);
    for (int32_t i = 0; i < EA_EMBEDDING_DIM; i++) e[i] = act(e[i]);
    apply_linear(&ea_head, e, scores);
    for (int32_t i = 0; i < EA_N_LABELS; i++) scores[i] = sigmoid(scores[i]);
}
