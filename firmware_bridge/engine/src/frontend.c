/* SPDX-License-Identifier: Apache-2.0 */
#include "frontend.h"

#include "numbers.h"

#if defined(EA_PACKED) && EA_LANES == 8
#include "../host/lanes.h"
#define EA_HAS_LANES 1
#endif

static float *lane_of(ea_vector *z, uint32_t lane) { return (float *)(void *)z + lane; }

/* The window is symmetric around its middle: its second half is the first one backwards. */
#define EA_LOAD_WINDOWED(value)                                           \
    const float *half = model->window_half;                               \
    float *to = lane_of(z, lane);                                         \
    uint32_t n = model->window, i;                                        \
    for (i = 0; i <= n / 2; i++, to += EA_LANES) *to = (value) * half[i]; \
    for (; i < n; i++, to += EA_LANES) *to = (value) * half[n - i];       \
    for (; i < model->fft_size; i++, to += EA_LANES) *to = 0.0f

void ea_load_samples(const ea_model *model, const float *samples, uint32_t lane, ea_vector *z) {
    EA_LOAD_WINDOWED(samples[i]);
}

void ea_load_pcm(const ea_model *model, const int16_t *pcm, uint32_t lane, ea_vector *z) {
    EA_LOAD_WINDOWED((float)pcm[i] * (1.0f / 32768.0f));
}

/* cos and sin of 2 pi i / fft_size, i < 3 / 4 fft_size, from a quarter of a wave. */
static float cosine(const ea_model *model, uint32_t i) {
    uint32_t quarter = model->fft_size / 4;
    if (i <= quarter) return model->sine[quarter - i];
    return i <= 2 * quarter ? -model->sine[i - quarter] : -model->sine[3 * quarter - i];
}

static float sine(const ea_model *model, uint32_t i) {
    uint32_t quarter = model->fft_size / 4;
    if (i <= quarter) return model->sine[i];
    return i <= 2 * quarter ? model->sine[2 * quarter - i] : -model->sine[i - 2 * quarter];
}

/* z times exp(-j angle). */
#define EA_STORE_TURNED(to, re, im, c, s)  \
    do {                                   \
        (to)[0] = (re) * (c) + (im) * (s); \
        (to)[1] = (im) * (c) - (re) * (s); \
    } while (0)

/* One stage of a radix-4 transform, decimation in frequency: n points each, whose quarters go on
 * to be transforms of their own. The order of quarters is that of a radix-2 transform. */
static void radix4_stage(const ea_model *model, ea_vector *z, uint32_t n_points, uint32_t n) {
    uint32_t quarter = n / 4, turn = model->fft_size / n, j, k;
    for (j = 0; j < quarter; j++) {
        float c1 = model->sine[model->fft_size / 4 - j * turn], s1 = model->sine[j * turn];
        float c2 = cosine(model, 2 * j * turn), s2 = sine(model, 2 * j * turn);
        float c3 = cosine(model, 3 * j * turn), s3 = sine(model, 3 * j * turn);
        for (k = j; k < n_points; k += n) {
            ea_vector *a = z + 2 * k, *b = a + 2 * quarter, *c = b + 2 * quarter;
            ea_vector *d = c + 2 * quarter;
            ea_vector sum_ac = a[0] + c[0], sum_ac_i = a[1] + c[1];
            ea_vector less_ac = a[0] - c[0], less_ac_i = a[1] - c[1];
            ea_vector sum_bd = b[0] + d[0], sum_bd_i = b[1] + d[1];
            ea_vector less_bd = b[0] - d[0], less_bd_i = b[1] - d[1];
            ea_vector re = sum_ac - sum_bd, im = sum_ac_i - sum_bd_i;
            ea_vector re_c = less_ac + less_bd_i, im_c = less_ac_i - less_bd;
            ea_vector re_d = less_ac - less_bd_i, im_d = less_ac_i + less_bd;
            a[0] = sum_ac + sum_bd;
            a[1] = sum_ac_i + sum_bd_i;
            if (j == 0) { /* an angle of 0 */
                b[0] = re;
                b[1] = im;
                c[0] = re_c;
                c[1] = im_c;
                d[0] = re_d;
                d[1] = im_d;
                continue;
            }
            EA_STORE_TURNED(b, re, im, c2, s2);
            EA_STORE_TURNED(c, re_c, im_c, c1, s1);
            EA_STORE_TURNED(d, re_d, im_d, c3, s3);
        }
    }
}

static void radix2_stage(ea_vector *z, uint32_t n_points) {
    uint32_t k;
    for (k = 0; k < n_points; k += 2) {
        ea_vector *a = z + 2 * k, *b = a + 2;
        ea_vector re = a[0] - b[0], im = a[1] - b[1];
        a[0] = a[0] + b[0];
        a[1] = a[1] + b[1];
        b[0] = re;
        b[1] = im;
    }
}

/* z of n_points, in place; the result is in bit-reversed order. */
static void fourier(const ea_model *model, ea_vector *z, uint32_t n_points) {
    uint32_t n;
    for (n = n_points; n >= 4; n /= 4) radix4_stage(model, z, n_points, n);
    if (n == 2) radix2_stage(z, n_points);
}

/* The bit-reversed numbers after and before `reversed`, half of n_points being the top bit. */
static uint32_t reversed_next(uint32_t reversed, uint32_t half) {
    while (reversed & half) {
        reversed ^= half;
        half >>= 1;
    }
    return reversed | half;
}

static uint32_t reversed_last(uint32_t reversed, uint32_t half) {
    while (!(reversed & half)) {
        reversed ^= half;
        half >>= 1;
    }
    return reversed ^ half;
}

/* Adds 4 |X|^2 of a bin to the two bands between whose peaks it lies, band[0] and band[1]: they
 * are triangles, whose weights add up to 1. */
static inline void add_power(const ea_model *model, uint32_t bin, ea_vector re, ea_vector im,
                             ea_vector *band) {
    ea_vector power = re * re + im * im, upper = power * ea_number(&model->mel_weight, bin);
    band += model->mel_band[bin];
    band[0] = band[0] + (power - upper);
    band[1] = band[1] + upper;
}

/* The transform of even samples + j odd samples -> band [n_mels + 2]. */
static void add_powers(const ea_model *model, const ea_vector *z, uint32_t n_points,
                       ea_vector *band) {
    uint32_t k, up = 0, down = 0; /* bit-reversed k and (n_points - k) mod n_points */
    for (k = 0; k <= n_points / 2; k++) {
        const ea_vector *a = z + 2 * up, *b = z + 2 * down;
        float c = model->sine[n_points / 2 - k], s = model->sine[k]; /* of up to a quarter turn */
        ea_vector even = a[0] + b[0], even_i = a[1] - b[1];
        ea_vector odd = a[1] + b[1], odd_i = b[0] - a[0];
        ea_vector re = odd * c + odd_i * s, im = odd_i * c - odd * s;
        add_power(model, k, even + re, even_i + im, band);
        if (k < n_points / 2) add_power(model, n_points - k, even - re, even_i - im, band);
        up = reversed_next(up, n_points / 2);
        down = k == 0 ? n_points - 1 : reversed_last(down, n_points / 2);
    }
}

/* Of the sums of 4 |X|^2 in a band. */
#if EA_LANES > 1
typedef int32_t ea_integers __attribute__((vector_size(4 * EA_LANES), aligned(4), may_alias));

/* ea_log in every lane. */
static inline ea_vector log_lanes(ea_vector x) {
    ea_integers bits = (ea_integers)x - 0x3f3504f3;
    ea_vector m = (ea_vector)((bits & 0x007fffff) + 0x3f3504f3);
    ea_vector s = (m - 1.0f) / (m + 1.0f), q = s * s, p;
    p = q * (2.0f / 9.0f) + 2.0f / 7.0f;
    p = p * q + 2.0f / 5.0f;
    p = p * q + 2.0f / 3.0f;
    p = p * q + 2.0f;
    return __builtin_convertvector(bits >> 23, ea_vector) * 0.693147181f + p * s;
}
#else
static inline ea_vector log_lanes(ea_vector x) { return ea_log(x); }
#endif

static inline ea_vector normalised(const ea_model *model, ea_vector power) {
    return (log_lanes(power * 0.25f + model->log_floor) - model->log_mean) * model->log_gain;
}

void ea_transform(const ea_model *model, ea_vector *z, uint32_t n_lanes, float *frames) {
    uint32_t n_points = model->fft_size / 2, n_mels = model->n_mels, m, lane;
    ea_vector *band = z + model->fft_size;
    fourier(model, z, n_points);
    for (m = 0; m < n_mels + 2; m++) band[m] = z[0] * 0.0f;
    add_powers(model, z, n_points, band);
    for (m = 0; m < n_mels; m++) {
        band[1 + m] = normalised(model, band[1 + m]);
        for (lane = 0; lane < n_lanes; lane++)
            frames[lane * n_mels + m] = *lane_of(band + 1 + m, lane);
    }
}

/* The last of n_lanes windows stands in those lanes too that nobody reads. */
static void load_windows(const ea_model *model, const float *samples, uint32_t n_lanes,
                         ea_vector *z) {
    uint32_t lane;
#if defined(EA_HAS_LANES)
    if (n_lanes == EA_LANES) {
        ea_load_lanes(model, samples, z);
        return;
    }
#endif
    for (lane = 0; lane < EA_LANES; lane++) {
        uint32_t heard = lane < n_lanes ? lane : n_lanes - 1;
        ea_load_samples(model, samples + heard * model->hop, lane, z);
    }
}

void ea_log_mel(const ea_model *model, const float *samples, size_t n_frames, float *frames,
                void *scratch) {
    ea_vector *z = scratch;
    while (n_frames > 0) {
        uint32_t n_lanes = n_frames < EA_LANES ? (uint32_t)n_frames : EA_LANES;
        load_windows(model, samples, n_lanes, z);
        ea_transform(model, z, n_lanes, frames);
        samples += n_lanes * model->hop;
        frames += n_lanes * model->n_mels;
        n_frames -= n_lanes;
    }
}
