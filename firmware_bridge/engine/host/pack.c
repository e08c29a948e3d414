/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_audio_host.h"

#if defined(EA_PACKED)

#include "packed.h"

/* Hands out memory from `at` on, or only counts where `memory` is null. */
typedef struct {
    uint8_t *memory;
    size_t at;
} arena;

static void *take(arena *a, size_t n_bytes) {
    size_t begin = a->at;
    a->at += (n_bytes + 63) / 64 * 64;
    return a->memory ? a->memory + begin : 0;
}

/* The filter in lane `lane` of the low (0) or high (1) half of sixteen that were unpacked. */
static uint32_t filter_of(uint32_t half, uint32_t lane) {
    return lane / 4 * 8 + half * 4 + lane % 4;
}

static void pack_filters(const ea_conv *conv, uint32_t first, uint32_t n, ea_packed_filters *to) {
    uint32_t half, lane, k;
    for (half = 0; half < 2; half++)
        for (lane = 0; lane < 8; lane++) {
            uint32_t f = first + filter_of(half, lane), is_there = filter_of(half, lane) < n;
            for (k = 0; k < 2 * EA_PAIRS; k++)
                to->kernel[k / 2][half][2 * lane + k % 2] =
                    is_there && k < 9 ? conv->kernel[k * conv->n_filters + f] : (int16_t)0;
            to->gain[half][lane] = is_there ? ea_number(&conv->kernel_gain, f) : 0.0f;
            to->bias[half][lane] = is_there ? ea_number(&conv->kernel_bias, f) : 0.0f;
        }
}

static const ea_packed_filters *pack_all_filters(arena *a, const ea_conv *conv) {
    uint32_t n = conv->n_filters, n_groups = n / 16 + n % 16 / 8, g;
    ea_packed_filters *to = take(a, n_groups * sizeof *to);
    for (g = 0; to && g < n_groups; g++)
        pack_filters(conv, g * 16, n - g * 16 >= 16 ? 16 : 8, to + g);
    return to;
}

static void pack_mix(arena *a, const ea_conv *conv, ea_packed_mix *packed) {
    uint32_t n_groups = conv->n_out / EA_OUTS, n = n_groups * EA_OUTS, o, i;
    int16_t *weight = take(a, sizeof(int16_t) * n * conv->row);
    float *gain = take(a, sizeof(float) * n), *bias = take(a, sizeof(float) * n);
    if (!packed) return;
    for (o = 0; o < n; o++) {
        for (i = 0; i < conv->row; i++)
            weight[(i / 2 * n + o) * 2 + i % 2] = conv->mix[o * conv->row + i];
        gain[o] = ea_number(&conv->mix_gain, o);
        bias[o] = ea_number(&conv->mix_bias, o);
    }
    packed->n_groups = n_groups;
    packed->weight = weight;
    packed->gain = gain;
    packed->bias = bias;
}

static void pack_conv(arena *a, ea_conv *conv) {
    struct ea_packed_conv *packed = take(a, sizeof *packed);
    const ea_packed_filters *filters = pack_all_filters(a, conv);
    if (packed) packed->filters = filters;
    if (conv->mix) pack_mix(a, conv, packed ? &packed->mix : 0);
    if (packed) conv->packed = packed;
}

static void pack_linear(arena *a, ea_linear *linear) {
    uint32_t n = ea_round_up(linear->n_out, EA_LINEAR_OUTS), o, i;
    struct ea_packed_linear *packed = take(a, sizeof *packed);
    int8_t *weight = take(a, (size_t)n * linear->row);
    int32_t *sum = take(a, sizeof(int32_t) * n);
    float *scale = take(a, sizeof(float) * n), *bias = take(a, sizeof(float) * n);
    if (!packed || linear->row % EA_LINEAR_INS) return;
    for (o = 0; o < n; o++) {
        int32_t all = 0, is_there = o < linear->n_out;
        for (i = 0; i < linear->row; i++) {
            int8_t w = is_there ? linear->weight[o * linear->row + i] : (int8_t)0;
            weight[(i / EA_LINEAR_INS * n + o) * EA_LINEAR_INS + i % EA_LINEAR_INS] = w;
            all += w;
        }
        sum[o] = (int32_t)((uint32_t)all << 15);
        scale[o] = is_there ? ea_number(&linear->scale, o) : 0.0f;
        bias[o] = is_there ? ea_number(&linear->bias, o) : 0.0f;
    }
    packed->n_groups = n / EA_LINEAR_OUTS;
    packed->weight = weight;
    packed->sum = sum;
    packed->scale = scale;
    packed->bias = bias;
    linear->packed = packed;
}

static void pack_lti(arena *a, ea_lti *lti, uint32_t channels) {
    float *packed = take(a, sizeof(float) * 4 * lti->n_modes * channels), *to = packed;
    uint32_t d, k, c;
    if (!packed) return;
    for (d = 0; d < channels; d += EA_TILE)
        for (k = 0; k < lti->n_modes; k++, to += 4 * EA_TILE)
            for (c = 0; c < EA_TILE; c++) {
                uint32_t from = k * channels + d + c;
                to[c] = (float)lti->cos[from] * (1.0f / 32768.0f);
                to[EA_TILE + c] = (float)lti->sin[from] * (1.0f / 32768.0f);
                to[2 * EA_TILE + c] = (float)lti->real[from];
                to[3 * EA_TILE + c] = (float)lti->imag[from];
            }
    lti->packed = packed;
}

static size_t pack(ea_model *model, uint8_t *memory) {
    arena a = {memory, 0};
    uint32_t i;
    for (i = 0; i < model->n_convs; i++) pack_conv(&a, &model->convs[i]);
    for (i = 0; i < model->n_blocks; i++) {
        ea_block *block = &model->blocks[i];
        if (block->kind == EA_LTI) pack_lti(&a, &block->mixer.lti, model->channels);
        if (block->kind >= EA_SELECTIVE && block->kind <= EA_MLSTM_EXPONENTIAL)
            pack_linear(&a, &block->mixer.attention.project);
        pack_linear(&a, &block->mix);
    }
    pack_linear(&a, &model->project);
    pack_linear(&a, &model->embed);
    pack_linear(&a, &model->head);
    return a.at;
}

size_t ea_pack_size(const ea_model *model) {
    ea_model copy = *model;
    return pack(&copy, 0);
}

void ea_pack(ea_model *model, void *memory) { (void)pack(model, memory); }

#else

size_t ea_pack_size(const ea_model *model) {
    (void)model;
    return 0;
}

void ea_pack(ea_model *model, void *memory) {
    (void)model;
    (void)memory;
}

#endif
