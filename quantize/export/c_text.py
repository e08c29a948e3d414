"""What stands in every model.h: what the numbers mean, and the types of its tables."""

ABOUT = """\
/* SPDX-License-Identifier: Apache-2.0
 *
 * The constants of one edge-audio student, written by `edge-audio export --to c`: change the
 * checkpoint and export again rather than this file. It is data and computes nothing; what a
 * program has to compute with it is this. Arrays are row-major, shapes stand in comments.
 *
 *   relu6(x) = min(max(x, 0), 6)         hardswish(x) = x * relu6(x + 3) / 6
 *   clip(x, m) = min(max(x, -m), m)      act(x) = min(hardswish(x), 6)
 *   sigmoid(x) = 1 / (1 + exp(-x))       linear(l, x)[o] = l.bias[o]
 *                                            + l.scale[o] * sum_i l.weight[o][i] * x[i]
 *
 * FRONT END. Frame k of a stream hears x[i] = sample[k * EA_HOP_SAMPLES + i] / 32768, where
 * 0 <= i < EA_WINDOW_SAMPLES and sample is 16-bit mono at EA_SAMPLE_RATE_HZ. With N = EA_FFT_SIZE:
 *   re[f] + j im[f] = sum_i ea_window[i] * x[i] * exp(-2 pi j f i / N),  0 <= f <= N / 2
 *   power = sum_b weight_m[b] * (re[first_m + b]^2 + im[first_m + b]^2),  0 <= b < count_m
 *   frame[m] = (log(power + EA_LOG_FLOOR) - EA_LOG_MEAN) * EA_LOG_GAIN,  0 <= m < EA_N_MELS
 * first_m is ea_mel_first[m], count_m is ea_mel_count[m]; weight_m is the part of ea_mel_weight
 * that follows those of all bands before m. ea_fft_cos[k] = cos(2 pi k / N) for k < N / 2 and
 * ea_fft_sin[k] = sin(2 pi k / N) are the factors of any fast Fourier transform.
 *
 * STEP. From frames [EA_FRAMES_PER_STEP][EA_N_MELS] and the state, EA_STATE_ELEMENTS floats that
 * are all 0 before the first step, to scores [EA_N_LABELS]; the state is changed in place. Every
 * part of the state begins at the offset that is given with the layer it belongs to.
 *
 * 1. Stem. x [1][EA_FRAMES_PER_STEP][EA_N_MELS] holds the frames: channels, time, bands. Then for
 *    each ea_conv of ea_stem, p [n_in][context + time][n_bands] is its state, followed in time by
 *    x; the last `context` times of p become its state. With c = n_in == 1 ? 0 : f:
 *      g[f][t][b] = relu6(kernel_bias[f] + sum over i, j in 0..2 of
 *                         kernel[f][i][j] * p[c][stride * t + i][stride * b + j - 1])
 *      y[o][t][b] = mix ? relu6(mix_bias[o] + sum_f mix[o][f] * g[f][t][b]) : g[o][t][b]
 *    where p is 0 outside of its bands; time and bands are both divided by the stride. Where
 *    `residual` is set, x is added to y. y is the next x.
 *    What is left has a single time. token[b * channels + c] = x[c][0][b] are the inputs of
 *    x = linear(ea_stem_project, token), [EA_CHANNELS].
 *
 * 2. Blocks. For each ea_block of ea_blocks in turn, with D = EA_CHANNELS:
 *      u[d] = clip(norm_scale[d] * x[d] + norm_shift[d], EA_BOUND)
 *      y = mixer(u), see the type that belongs to its kind
 *      z = linear(mix, act(y)), [2 D]
 *      x[d] += z[d] * sigmoid(z[D + d])
 *
 * 3. Head.
 *      e = act(linear(ea_embed, clip(ea_norm_scale * x + ea_norm_shift, EA_BOUND)))
 *      scores = sigmoid(linear(ea_head, e))
 *
 * The step that begins with frame k ends with frame k + EA_FRAMES_PER_STEP - 1: the first one
 * needs EA_OVERLAP_SAMPLES + EA_STEP_SAMPLES samples, each later one EA_STEP_SAMPLES more.
 */
"""

TYPES = """\
/* scale is 1 where ea_weight is float. */
typedef struct {
    int32_t n_in, n_out;
    const ea_weight *weight; /* [n_out][n_in] */
    const float *scale, *bias; /* [n_out] */
} ea_linear;

/* Batch norms are folded in. mix and mix_bias are 0 for a convolution without a mixing part. */
typedef struct {
    int32_t n_in, n_filters, n_out;
    int32_t stride, context, n_bands, residual;
    int32_t state; /* of [n_in][context][n_bands] */
    const float *kernel, *kernel_bias; /* [n_filters][3 times][3 bands], [n_filters] */
    const float *mix, *mix_bias; /* [n_out][n_filters], [n_out] */
} ea_conv;

/* Mixers, from u [D] to y [D], D = EA_CHANNELS. d is a channel, h = d / (D / n_heads) its head,
 * and what is primed is the next state. */

/* a = state[d][k], b = state[d][n_modes + k], k < n_modes:
 *   a' = cos[d][k] * a - sin[d][k] * b + gain[d][k] * u[d]
 *   b' = sin[d][k] * a + cos[d][k] * b
 *   y[d] = skip[d] * u[d] + sum_k (real[d][k] * a' - imag[d][k] * b') */
typedef struct {
    int32_t n_modes;
    int32_t state; /* of [D][2 n_modes] */
    const float *cos, *sin, *gain, *real, *imag; /* [D][n_modes] */
    const float *skip; /* [D] */
} ea_lti;

/* (key [n_keys], query [n_keys], rate [n_heads]) = linear(project, u)
 *   decay[h] = max_decay * sigmoid(rate[h] + decay_bias[h]),  gain[h] = sqrt(1 - decay[h]^2)
 *   state'[n][d] = decay[h] * state[n][d] + key[n] * gain[h] * u[d]
 *   y[d] = skip[d] * u[d] + sum_n query[n] * state'[n][d] */
typedef struct {
    int32_t n_heads, n_keys;
    int32_t state; /* of [n_keys][D] */
    float max_decay;
    ea_linear project;
    const float *decay_bias, *skip; /* [n_heads], [D] */
} ea_selective;

/* (query [n_keys], key [n_keys], in [n_heads], forget [n_heads]) = linear(project, u)
 *   f[h] = max_decay * sigmoid(forget[h] + forget_bias[h])
 * EA_MLSTM_SIGMOID: g[h] = sigmoid(in[h])
 *   c'[n][d] = f[h] * c[n][d] + key_scale * key[n] * g[h] * u[d]
 *   y[d] = skip[d] * u[d] + sum_n query[n] * c'[n][d]
 * EA_MLSTM_EXPONENTIAL: g[h] = exp(clip(in[h], max_logit))
 *   m'[h] = max(f[h] * m[h], g[h]);  f[h] becomes f[h] * m[h] / m'[h], g[h] becomes g[h] / m'[h]
 *   c' as above;  n'[n][h] = f[h] * n[n][h] + key_scale * key[n] * g[h]
 *   y[d] = skip[d] * u[d] + sum_n query[n] * c'[n][d]
 *          * m'[h] / max(|sum_n query[n] * n'[n][h]| * m'[h], 1) */
typedef struct {
    int32_t n_heads, n_keys;
    int32_t state_c, state_n, state_m; /* of [n_keys][D]; [n_keys][n_heads], [n_heads] or 0, 0 */
    float max_decay, key_scale, max_logit;
    ea_linear project;
    const float *forget_bias, *skip; /* [n_heads], [D] */
} ea_mlstm;

/* P = D / n_heads channels p in each head: from v = (u[h][0 .. P - 1], h[h][0 .. P - 1])
 *   (i [P], z [P], f [P], o [P])[q] = sum_k weight[h][k][q] * v[k],  k < 2 P, q < 4 P
 *   g = exp(clip(i[p], max_logit))
 *   n' = max_decay * sigmoid(f[p] + forget_bias[h][p]) * n + g
 *   c' = c + g / n' * (tanh(z[p]) - c),  h' = sigmoid(o[p]) * c'
 *   y[d] = skip[d] * u[d] + output_scale * h' */
typedef struct {
    int32_t n_heads;
    int32_t state_c, state_n, state_h; /* each of [n_heads][P] */
    float max_decay, max_logit, output_scale;
    const float *weight; /* [n_heads][2 P][4 P] */
    const float *forget_bias, *skip; /* [n_heads][P], [D] */
} ea_slstm;

/* r = (state, then u as its last row); all rows of r but the first are state'.
 *   y[d] = bias[d] + sum_k weight[k][d] * r[n_taps * dilation - 1 - k * dilation][d] */
typedef struct {
    int32_t n_taps, dilation;
    int32_t state; /* of [n_taps * dilation - 1][D] */
    const float *weight, *bias; /* [n_taps][D], [D] */
} ea_dilated;

/* Each layer's u is hardswish(y) of the layer before it; then y[d] += skip[d] * u[d] with the
 * u of the first. */
typedef struct {
    int32_t n_layers;
    const ea_dilated *layers;
    const float *skip; /* [D] */
} ea_tcn;

typedef enum {
    EA_LTI,
    EA_SELECTIVE,
    EA_MLSTM_SIGMOID,
    EA_MLSTM_EXPONENTIAL,
    EA_SLSTM,
    EA_TCN
} ea_kind;

typedef struct {
    const float *norm_scale, *norm_shift; /* [D] */
    ea_kind kind;
    const void *mixer; /* ea_lti, ea_selective, ea_mlstm (both kinds), ea_slstm or ea_tcn */
    ea_linear mix;
} ea_block;
"""
