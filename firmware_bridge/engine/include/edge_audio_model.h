/* SPDX-License-Identifier: Apache-2.0
 *
 * What ea_open makes of an image: sizes, and pointers to the arrays in it. Callers need only know
 * how big it is. Arrays are row-major, shapes stand in comments; docs/engine.md has the formulas.
 */
#ifndef EDGE_AUDIO_MODEL_H
#define EDGE_AUDIO_MODEL_H

#include <stdint.h>

#define EA_ALIGNMENT 8u

/* Limits, to be lowered in a build for one model: an image beyond them is EA_TOO_LARGE. */
#ifndef EA_MAX_CONVS
#define EA_MAX_CONVS 8
#endif
#ifndef EA_MAX_BLOCKS
#define EA_MAX_BLOCKS 12
#endif
#ifndef EA_MAX_MAP_CHANNELS
#define EA_MAX_MAP_CHANNELS 256 /* of a convolution */
#endif
#ifndef EA_MAX_MODES
#define EA_MAX_MODES 16 /* of a state space */
#endif
#define EA_MAX_HEADS 16
#define EA_MAX_TCN_LAYERS 4
#define EA_MAX_SIZE 8192 /* of a matrix's sides, a window, a transform, a number of labels */

/* Kinds of mixers, of which a build may leave out those that its model has not. */
#define EA_LTI 0u
#define EA_SELECTIVE 1u
#define EA_MLSTM_SIGMOID 2u
#define EA_MLSTM_EXPONENTIAL 3u
#define EA_SLSTM 4u
#define EA_TCN 5u
#ifndef EA_MIXERS
#define EA_MIXERS 0x3fu /* bit k: with kind k */
#endif

#define EA_HAS(kind) (((EA_MIXERS) >> (kind)) & 1u)
#define EA_HAS_ATTENTION \
    (EA_HAS(EA_SELECTIVE) || EA_HAS(EA_MLSTM_SIGMOID) || EA_HAS(EA_MLSTM_EXPONENTIAL))
#ifndef EA_STATES
#define EA_STATES 3u /* bit 0: with float state, bit 1: with int16 state */
#endif

/* Programs on computers have the weights again, packed for their vectors: host/packed.h. */
#if defined(EA_HOST) && defined(__AVX2__) && !defined(EA_PLAIN)
#define EA_PACKED 1
struct ea_packed_conv;
struct ea_packed_linear;
#endif

#ifndef EA_FOLD
#define EA_FOLD 1 /* 0: without related labels, for a model that has none */
#endif

/* Numbers as integers: number i is unit * values[i]. */
typedef struct {
    const int16_t *values;
    float unit;
} ea_numbers;

/* y[o] = bias[o] + scale[o] * sum_i weight[o][i] * x[i]. Rows are padded with zeros. */
typedef struct {
    uint32_t n_in, n_out, row; /* row: n_in, up to a multiple of 8 */
    const int8_t *weight;      /* [n_out][row] */
    ea_numbers scale, bias;    /* [n_out] */
#if defined(EA_PACKED)
    const struct ea_packed_linear *packed; /* null until ea_pack */
#endif
} ea_linear;

/* 3x3 depthwise, then 1x1 unless n_in is 1. Maps are int16, channels last: input and output with
 * in_bits and out_bits after the binary point, the one between them in a unit that is part of
 * kernel_gain and mix_gain. */
typedef struct {
    uint32_t n_in, n_filters, n_out, row; /* row: n_filters, up to a multiple of 8 */
    uint32_t stride, n_bands, is_residual, in_bits, out_bits;
    const int16_t *kernel;               /* [3 times][3 bands][n_filters] */
    ea_numbers kernel_gain, kernel_bias; /* [n_filters] */
    const int16_t *mix;                  /* [n_out][row]; null without 1x1 */
    ea_numbers mix_gain, mix_bias;       /* [n_out] */
    float filter_limit, out_limit;       /* 6 in the units of their maps */
    uint32_t state;                      /* offset in bytes, of uint32 and 2 rows */
#if defined(EA_PACKED)
    const struct ea_packed_conv *packed; /* null until ea_pack */
#endif
} ea_conv;

typedef struct {
    uint32_t n_modes;
    const int16_t *cos, *sin, *real, *imag; /* [n_modes][D]; cos, sin in units of 2^-15 */
    float readout_scale;
    ea_numbers skip; /* [D] */
#if defined(EA_PACKED)
    const float *packed; /* null until ea_pack */
#endif
} ea_lti;

/* Selective state space, and mLSTM of both kinds. */
typedef struct {
    uint32_t n_heads, n_keys;
    float max_decay, key_scale, max_logit;
    ea_linear project;
    const float *decay_bias; /* [n_heads] */
    ea_numbers skip;         /* [D] */
} ea_attention;

typedef struct {
    uint32_t n_heads;
    float max_decay, max_logit, output_scale;
    const float *weight;      /* [n_heads][2 P][4 P], P = D / n_heads */
    const float *forget_bias; /* [D] */
    ea_numbers skip;          /* [D] */
} ea_slstm;

typedef struct {
    uint32_t n_layers;
    uint32_t n_taps[EA_MAX_TCN_LAYERS], dilation[EA_MAX_TCN_LAYERS];
    const float *weight[EA_MAX_TCN_LAYERS], *bias[EA_MAX_TCN_LAYERS]; /* [n_taps][D], [D] */
    ea_numbers skip;                                                  /* [D] */
} ea_tcn;

typedef struct {
    uint32_t kind, state;              /* state: offset in bytes */
    ea_numbers norm_scale, norm_shift; /* [D] */
    union {
#if EA_HAS(EA_LTI)
        ea_lti lti;
#endif
#if EA_HAS_ATTENTION
        ea_attention attention;
#endif
#if EA_HAS(EA_SLSTM)
        ea_slstm slstm;
#endif
#if EA_HAS(EA_TCN)
        ea_tcn tcn;
#endif
    } mixer;
    ea_linear mix;
} ea_block;

typedef struct {
    uint32_t crc32;
    uint32_t sample_rate_hz, window, hop, fft_size, n_mels, frames_per_step;
    uint32_t n_labels, channels, n_convs, n_blocks, embedding_dim, has_int16_state;
    uint32_t min_on_steps, min_off_steps;
    uint32_t quiet_steps; /* of silence, which a stream begins behind */
    float smoothing, bound, log_floor, log_mean, log_gain;
    float attack;          /* the smoothing of scores that rise */
    const char *labels;    /* n_labels strings in a row */
    const float *on, *off; /* [n_labels] */
#if EA_FOLD
    uint16_t n_ancestors, n_synonyms;
    uint8_t related, fold_steps; /* an ea_related; how long an ancestor waits */
    const uint16_t *ancestors;   /* of each its label, how many are a kind of it, and these */
    const uint16_t *synonyms;    /* [n_synonyms][2] */
#endif
    const float *window_half, *sine; /* [window / 2 + 1], [fft_size / 4 + 1] */
    const uint8_t *mel_band;         /* [fft_size / 2 + 1] */
    ea_numbers mel_weight;           /* [fft_size / 2 + 1] */
    ea_conv convs[EA_MAX_CONVS];
    ea_linear project, embed, head;
    ea_block blocks[EA_MAX_BLOCKS];
    ea_numbers norm_scale, norm_shift;            /* [D] */
    uint32_t network_bytes, scratch_bytes, batch; /* batch: frames transformed together */
} ea_model;

#endif
