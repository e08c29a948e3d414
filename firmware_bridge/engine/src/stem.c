/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions, one row of bands at a time: a row is computed as soon as the rows it depends on
 * are there, so that of every map only two rows are kept.
 */
#include "engine.h"
#include "kernels.h"
#include "numbers.h"

#if defined(EA_PACKED)
#include "../host/packed.h"
#endif

/* A frame of its own, where memory is short: the deepest calls do not carry it. */
#if defined(EA_PACKED) || !defined(__GNUC__)
#define EA_APART
#else
#define EA_APART __attribute__((noinline))
#endif

enum { TAPS = 9, GROUP = 4 };

/* Stands for bands below the first and above the last. */
static const int16_t zeros[EA_MAX_MAP_CHANNELS] = {0};

uint32_t ea_stem_state_bytes(const ea_conv *conv) {
    return ea_round_up(4 + 2 * 2 * conv->n_bands * conv->n_in, 4);
}

static uint32_t padded_row(const ea_conv *conv) {
    uint32_t n_bands = conv->n_bands / conv->stride, n = n_bands * conv->n_out;
    return ea_round_up(n, 8);
}

/* Two rows and the filtered bands between them. */
static uint32_t row_elements(const ea_model *model) {
    uint32_t n = ea_round_up(model->n_mels, 8), i;
    for (i = 0; i < model->n_convs; i++) {
        uint32_t row = padded_row(&model->convs[i]);
        if (row > n) n = row;
    }
    return n;
}

uint32_t ea_stem_scratch_bytes(const ea_model *model) {
    uint32_t filters = 8, i;
    for (i = 0; i < model->n_convs; i++)
        if (model->convs[i].row > filters) filters = model->convs[i].row;
    return 2 * (2 * row_elements(model) + filters);
}

/* Sums of TAPS products for GROUP filters, whose inputs are of channels (filter * step). */
#if defined(EA_DSP)
static void filter_group(const int16_t *const *tap, uint32_t first, uint32_t step,
                         const int16_t *kernel, uint32_t n_filters, int32_t *sum) {
    int32_t a = 0, b = 0, c = 0, d = 0;
    uint32_t k;
    for (k = 0; k < TAPS; k++) {
        const int16_t *weight = kernel + k * n_filters + first;
        int32_t low = ea_load_word(weight), high = ea_load_word(weight + 2);
        if (step) {
            int32_t x_low = ea_load_word(tap[k] + first), x_high = ea_load_word(tap[k] + first + 2);
            a = __smlabb(x_low, low, a);
            b = __smlatt(x_low, low, b);
            c = __smlabb(x_high, high, c);
            d = __smlatt(x_high, high, d);
        } else {
            int32_t x = tap[k][0];
            a = __smlabb(x, low, a);
            b = __smlabt(x, low, b);
            c = __smlabb(x, high, c);
            d = __smlabt(x, high, d);
        }
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}
#else
static void filter_group(const int16_t *const *tap, uint32_t first, uint32_t step,
                         const int16_t *kernel, uint32_t n_filters, int32_t *sum) {
    uint32_t k, c;
    for (c = 0; c < GROUP; c++) sum[c] = 0;
    for (k = 0; k < TAPS; k++) {
        const int16_t *weight = kernel + k * n_filters + first, *x = tap[k] + first * step;
        if (step)
            for (c = 0; c < GROUP; c++) sum[c] += (int32_t)x[c] * weight[c];
        else
            for (c = 0; c < GROUP; c++) sum[c] += (int32_t)x[0] * weight[c];
    }
}
#endif

/* relu6 of sum * gain + bias, all in units of the map that it goes to. Floats above 0 are in the
 * order of their bits, which costs less to compare. */
static int16_t activated(int32_t sum, float gain, float bias, float limit) {
    int32_t bits = (int32_t)ea_to_bits((float)sum * gain + bias);
    int32_t most = (int32_t)ea_to_bits(limit);
    bits = bits > 0 ? bits : 0;
    bits = bits < most ? bits : most;
    return (int16_t)ea_round(ea_from_bits((uint32_t)bits));
}

#if defined(EA_VECTORS)

/* `activated` of eight sums. */
static ea_int8 activated8(ea_int8 sum, ea_float8 gain, ea_float8 bias, float limit) {
    ea_float8 zero = {0}, y = __builtin_convertvector(sum, ea_float8) * gain;
    return ea_round8(ea_min8(ea_max8(y + bias, zero), zero + limit));
}

/* The filters that come in eights; returns how many there are. */
static uint32_t filter_eights(const ea_conv *conv, const int16_t *const *tap, int16_t *out) {
    uint32_t n = conv->n_filters, f, k;
    for (f = 0; f + 8 <= n; f += 8) {
        ea_int8 sum = {0};
        if (conv->n_in > 1)
            for (k = 0; k < TAPS; k++)
                sum += ea_load_short8(tap[k] + f) * ea_load_short8(conv->kernel + k * n + f);
        else
            for (k = 0; k < TAPS; k++)
                sum += (int32_t)tap[k][0] * ea_load_short8(conv->kernel + k * n + f);
        sum = activated8(sum, ea_load_numbers8(&conv->kernel_gain, f),
                         ea_load_numbers8(&conv->kernel_bias, f), conv->filter_limit);
        ea_store_short8(out + f, sum);
    }
    return f;
}

#else

static uint32_t filter_eights(const ea_conv *conv, const int16_t *const *tap, int16_t *out) {
    (void)conv;
    (void)tap;
    (void)out;
    return 0;
}

#endif

static void filter_band(const ea_conv *conv, const int16_t *const *tap, int16_t *out) {
    uint32_t step = conv->n_in > 1, f = 0, c;
    int32_t sum[GROUP];
#if defined(EA_PACKED)
    if (conv->packed) f = ea_filter_packed(conv, tap, out);
#endif
    if (f == 0) f = filter_eights(conv, tap, out);
    for (; f < conv->n_filters; f += GROUP) {
        filter_group(tap, f, step, conv->kernel, conv->n_filters, sum);
        for (c = 0; c < GROUP; c++)
            out[f + c] = activated(sum[c], ea_number(&conv->kernel_gain, f + c),
                                   ea_number(&conv->kernel_bias, f + c), conv->filter_limit);
    }
}

#if defined(EA_VECTORS)

static ea_int4 activated4(ea_int4 sum, ea_float4 gain, ea_float4 bias, float limit) {
    ea_float4 zero = {0}, y = __builtin_convertvector(sum, ea_float4) * gain;
    return ea_round4(ea_min4(ea_max4(y + bias, zero), zero + limit));
}

/* Four outputs; x is added where the layer is residual. */
static void finish_mix(const ea_conv *conv, const int32_t *sums, uint32_t o, const int16_t *x,
                       int16_t *out) {
    ea_int4 y = ea_load_int4(sums), most = (ea_int4){0} + 32767;
    y = activated4(y, ea_load_numbers4(&conv->mix_gain, o), ea_load_numbers4(&conv->mix_bias, o),
                   conv->out_limit);
    if (conv->is_residual) {
        int32_t drop = (int32_t)(conv->in_bits - conv->out_bits);
        int32_t half = drop ? 1 << (drop - 1) : 0;
        ea_int4 added = ea_load_short4(x + o), is_below;
        y += (added + half) >> drop;
        is_below = y < most;
        y = (y & is_below) | (most & ~is_below);
    }
    ea_store_short4(out + o, y);
}

#else

/* x rounded to `drop` bits less. */
static int32_t rounded(int32_t x, uint32_t drop) {
    return drop ? (x + (1 << (drop - 1))) >> drop : x;
}

static void finish_mix(const ea_conv *conv, const int32_t *sums, uint32_t o, const int16_t *x,
                       int16_t *out) {
    uint32_t c;
    for (c = 0; c < GROUP; c++) {
        float gain = ea_number(&conv->mix_gain, o + c), bias = ea_number(&conv->mix_bias, o + c);
        int32_t y = activated(sums[c], gain, bias, conv->out_limit);
        if (conv->is_residual) y += rounded(x[o + c], conv->in_bits - conv->out_bits);
        out[o + c] = (int16_t)(y < 32767 ? y : 32767);
    }
}

#endif

/* filtered [row] -> out [n_out], to which x [n_out] is added where the layer is residual. */
static void mix_band(const ea_conv *conv, const int16_t *filtered, const int16_t *x, int16_t *out) {
    int32_t sums[GROUP];
    uint32_t o = 0;
#if defined(EA_PACKED)
    if (conv->packed) o = ea_mix_packed(conv, filtered, x, out);
#endif
    for (; o < conv->n_out; o += GROUP) {
        ea_dot16(filtered, conv->mix + o * conv->row, conv->row, sums);
        finish_mix(conv, sums, o, x, out);
    }
}

/* Where the inputs of the filters around a band are. */
static EA_APART void find_taps(const ea_conv *conv, const int16_t *const *rows, uint32_t band,
                               const int16_t **tap) {
    uint32_t at = band * conv->n_in, k;
    for (k = 0; k < 3; k++, tap += 3) {
        tap[0] = band > 0 ? rows[k] + at - conv->n_in : zeros;
        tap[1] = rows[k] + at;
        tap[2] = band + 1 < conv->n_bands ? rows[k] + at + conv->n_in : zeros;
    }
}

/* Three rows of bands -> one. filtered: [row], working memory. */
static void convolve(const ea_conv *conv, const int16_t *const *rows, int16_t *out,
                     int16_t *filtered) {
    uint32_t n_bands = conv->n_bands / conv->stride, b, k;
    const int16_t *tap[TAPS];
    for (k = conv->n_filters; k < conv->row; k++) filtered[k] = 0;
    for (b = 0; b < n_bands; b++) {
        find_taps(conv, rows, conv->stride * b, tap);
        if (conv->mix) {
            filter_band(conv, tap, filtered);
            mix_band(conv, filtered, rows[2] + b * conv->n_in, out + b * conv->n_out);
        } else {
            filter_band(conv, tap, out + b * conv->n_out);
        }
    }
}

static void copy_row(int16_t *to, const int16_t *from, uint32_t n) {
#if defined(EA_PACKED) /* on computers, which have a libc */
    __builtin_memcpy(to, from, n * sizeof *to);
#else
    uint32_t i;
    for (i = 0; i + 2 <= n; i += 2) __builtin_memcpy(to + i, from + i, 2 * sizeof *to);
    if (i < n) to[i] = from[i];
#endif
}

/* Takes a row; returns whether it completed one of the output.
 * With stride 1 the rows kept are the last two, the older one in slot `phase`. With stride 2 they
 * are the last one used, in slot 0, and in phase 1 the one that waits, in slot 1. */
static int push_row(const ea_conv *conv, uint8_t *network, const int16_t *row, int16_t *out,
                    int16_t *filtered) {
    uint32_t n = conv->n_bands * conv->n_in;
    uint32_t *phase = (uint32_t *)(void *)(network + conv->state);
    int16_t *slots = (int16_t *)(void *)(phase + 1);
    uint32_t slot = *phase & 1u;
    const int16_t *rows[3];
    rows[2] = row;
    *phase = slot ^ 1u;
    if (conv->stride == 2 && slot == 0) {
        copy_row(slots + n, row, n);
        return 0;
    }
    if (conv->stride == 2) slot = 0;
    rows[0] = slots + slot * n;
    rows[1] = slots + (slot ^ 1u) * n;
    convolve(conv, rows, out, filtered);
    copy_row(slots + slot * n, row, n);
    return 1;
}

/* A frame in units of the first map. */
static void take_frame(const float *frame, uint32_t n, float gain, int16_t *row) {
    uint32_t i = 0;
#if defined(EA_VECTORS)
    ea_float8 least = {0}, most = least + 32767.0f;
    least = least - 32768.0f;
    for (; i + 8 <= n; i += 8) {
        ea_float8 x = ea_load_float8(frame + i) * gain;
        ea_store_short8(row + i, ea_round8(ea_min8(ea_max8(x, least), most)));
    }
#endif
    for (; i < n; i++)
        row[i] = (int16_t)ea_round(ea_min(ea_max(frame[i] * gain, -32768.0f), 32767.0f));
}

int ea_push_frame(const ea_model *model, uint8_t *network, const float *frame, int16_t *scratch,
                  const int16_t **token) {
    int16_t *in = scratch, *out = in + row_elements(model), *filtered = out + row_elements(model);
    uint32_t i;
    take_frame(frame, model->n_mels, ea_power_of_two((int32_t)model->convs[0].in_bits), in);
    for (i = 0; i < model->n_convs; i++) {
        int16_t *next = in;
        if (!push_row(&model->convs[i], network, in, out, filtered)) return 0;
        in = out;
        out = next;
    }
    for (i = model->project.n_in; i < model->project.row; i++) in[i] = 0;
    *token = in;
    return 1;
}
