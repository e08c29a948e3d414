/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads an image, whose layout docs/engine.md gives. It may come from anywhere: no size is
 * believed before it is checked, and no sum that the engine forms from weights can overflow.
 */
#include "engine.h"

#define MAGIC 0x31494145u  /* "EAI1" */
#define MAX_ROW_SUM 65535u /* of |weights|: times 32768 it still fits an int32 */
#define MAX_QUIET_STEPS 1000u

typedef struct {
    const uint8_t *at;
    uint32_t left;
    ea_status status;
} cursor;

EA_COLD static void refuse(cursor *c, ea_status status) {
    if (c->status == EA_OK) c->status = status;
    c->left = 0;
}

EA_COLD static void require(cursor *c, int is_met) {
    if (!is_met) refuse(c, EA_BAD_IMAGE);
}

/* n items of item_bytes each, followed by zeros up to a multiple of 4. Null where it is refused. */
EA_COLD static const void *take(cursor *c, uint32_t n, uint32_t item_bytes) {
    const uint8_t *begin = c->at;
    uint32_t n_bytes;
    if (n > c->left || n * item_bytes > c->left) { /* no overflow: both are below 2^27 */
        refuse(c, EA_BAD_IMAGE);
        return 0;
    }
    n_bytes = ea_round_up(n * item_bytes, 4);
    if (n_bytes > c->left) {
        refuse(c, EA_BAD_IMAGE);
        return 0;
    }
    c->at += n_bytes;
    c->left -= n_bytes;
    return begin;
}

EA_COLD static uint32_t take_word(cursor *c, uint32_t least, uint32_t most) {
    const uint32_t *word = take(c, 1, 4);
    uint32_t value = word ? *word : least;
    require(c, value >= least && value <= most);
    return c->status == EA_OK ? value : least;
}

/* The same, where `most` is not for the format to say but a limit of this build. */
static uint32_t take_limited(cursor *c, uint32_t least, uint32_t most) {
    uint32_t value = take_word(c, least, UINT32_MAX);
    if (c->status == EA_OK && value > most) refuse(c, EA_TOO_LARGE);
    return c->status == EA_OK ? value : least;
}

static int are_finite(const float *numbers, uint32_t n) {
    const uint32_t *bits = (const uint32_t *)(const void *)numbers;
    uint32_t i;
    for (i = 0; i < n; i++)
        if ((bits[i] & 0x7f800000u) == 0x7f800000u) return 0;
    return 1;
}

EA_COLD static const float *take_floats(cursor *c, uint32_t n) {
    const float *numbers = take(c, n, 4);
    if (numbers) require(c, are_finite(numbers, n));
    return numbers;
}

static float take_float(cursor *c) {
    const float *number = take_floats(c, 1);
    return c->status == EA_OK ? *number : 0.0f;
}

EA_COLD static ea_numbers take_numbers(cursor *c, uint32_t n) {
    ea_numbers numbers;
    numbers.unit = take_float(c);
    numbers.values = take(c, n, 2);
    return numbers;
}

static uint32_t magnitude(int32_t x) { return (uint32_t)(x < 0 ? -x : x); }

/* weights [n_rows][n], of 1 or 2 bytes; `step` apart within a row. */
EA_COLD static const void *take_weights(cursor *c, uint32_t n_rows, uint32_t n, uint32_t item_bytes,
                                        uint32_t row_step, uint32_t step) {
    const void *weights = take(c, n_rows * n, item_bytes);
    uint32_t row, i, sum;
    if (!weights) return 0;
    for (row = 0; row < n_rows; row++) {
        for (sum = 0, i = 0; i < n; i++) {
            uint32_t at = row * row_step + i * step;
            sum += magnitude(item_bytes == 1 ? ((const int8_t *)weights)[at]
                                             : ((const int16_t *)weights)[at]);
        }
        require(c, sum <= MAX_ROW_SUM);
    }
    return weights;
}

EA_COLD static void take_linear(cursor *c, ea_linear *linear, uint32_t n_in, uint32_t n_out) {
    linear->n_in = n_in;
    linear->n_out = n_out;
    linear->row = ea_round_up(n_in, 8);
    linear->weight = take_weights(c, n_out, linear->row, 1, linear->row, 1);
    linear->scale = take_numbers(c, n_out);
    linear->bias = take_numbers(c, n_out);
#if defined(EA_PACKED)
    linear->packed = 0;
#endif
}

/* Front end */

static void take_labels(cursor *c, ea_model *model) {
    uint32_t n_bytes = take_word(c, 1, 1u << 22), n_ends = 0, i;
    const char *text = take(c, n_bytes, 1);
    model->labels = text;
    if (!text) return;
    for (i = 0; i < n_bytes; i++) n_ends += text[i] == '\0';
    require(c, n_ends == model->n_labels && text[n_bytes - 1] == '\0');
}

static void take_thresholds(cursor *c, ea_model *model) {
    uint32_t i;
    model->on = take_floats(c, model->n_labels);
    model->off = take_floats(c, model->n_labels);
    for (i = 0; i < model->n_labels && c->status == EA_OK; i++)
        require(c, model->off[i] >= 0.0f && model->off[i] <= model->on[i] && model->on[i] <= 1.0f);
}

EA_COLD static void take_relations(cursor *c, ea_model *model, uint32_t version) {
    uint32_t related = 0, fold_steps = 0, n_ancestors = 0, n = 0;
    const uint16_t *lists;
    if (version > 3) {
        related = take_word(c, EA_ALL, EA_FIRST);
        fold_steps = take_word(c, 0, 254);
        n_ancestors = take_word(c, 0, model->n_labels);
        n = take_limited(c, 0, EA_FOLD ? UINT16_MAX : 0);
    }
    lists = take(c, n, 2);
#if EA_FOLD
    model->related = (uint8_t)related;
    model->fold_steps = (uint8_t)fold_steps;
    model->n_ancestors = (uint16_t)n_ancestors;
    if (c->status == EA_OK) require(c, ea_read_related(model, lists, n));
#else
    require(c, n_ancestors == 0);
    (void)related, (void)fold_steps, (void)lists;
#endif
}

static void take_front_end(cursor *c, ea_model *model) {
    uint32_t n_bins = model->fft_size / 2 + 1, i;
    model->window_half = take_floats(c, model->window / 2 + 1);
    model->sine = take_floats(c, model->fft_size / 4 + 1);
    model->mel_band = take(c, n_bins, 1);
    model->mel_weight = take_numbers(c, n_bins);
    for (i = 0; i < n_bins && c->status == EA_OK; i++)
        require(c, model->mel_band[i] <= model->n_mels);
}

/* Stem */

static void take_conv(cursor *c, ea_conv *conv, uint32_t n_in, uint32_t n_bands, uint32_t bits) {
    conv->n_in = n_in;
    conv->n_bands = n_bands;
    conv->in_bits = bits;
    conv->n_filters = take_limited(c, 4, EA_MAX_MAP_CHANNELS);
    conv->n_out = take_limited(c, 4, EA_MAX_MAP_CHANNELS);
    conv->stride = take_word(c, 1, 2);
    conv->is_residual = take_word(c, 0, 1);
    conv->out_bits = take_word(c, 0, 15);
    conv->row = ea_round_up(conv->n_filters, 8);
    conv->filter_limit = take_float(c);
    conv->out_limit = take_float(c);
    require(c, conv->n_filters % 4 == 0 && conv->n_out % 4 == 0 && n_bands % conv->stride == 0);
    require(c, n_in == 1 ? conv->n_out == conv->n_filters : conv->n_filters == n_in);
    require(c, !conv->is_residual ||
                   (conv->stride == 1 && n_in == conv->n_out && conv->out_bits <= bits));
    require(c, conv->filter_limit >= 0.0f && conv->filter_limit <= 32767.0f);
    require(c, conv->out_limit >= 0.0f && conv->out_limit <= 32767.0f);
}

static void take_conv_weights(cursor *c, ea_conv *conv) {
    uint32_t n = conv->n_filters;
    /* Rows are filters, across the nine taps. */
    conv->kernel = take_weights(c, n, 9, 2, 1, n);
    conv->kernel_gain = take_numbers(c, n);
    conv->kernel_bias = take_numbers(c, n);
    conv->mix = 0;
    if (conv->n_in == 1) return;
    conv->mix = take_weights(c, conv->n_out, conv->row, 2, conv->row, 1);
    conv->mix_gain = take_numbers(c, conv->n_out);
    conv->mix_bias = take_numbers(c, conv->n_out);
}

static void take_stem(cursor *c, ea_model *model) {
    uint32_t n_channels = 1, n_bands = model->n_mels, n_times = model->frames_per_step, i;
    uint32_t bits = take_word(c, 0, 15);
    for (i = 0; i < model->n_convs && c->status == EA_OK; i++) {
        ea_conv *conv = &model->convs[i];
#if defined(EA_PACKED)
        conv->packed = 0;
#endif
        take_conv(c, conv, n_channels, n_bands, bits);
        take_conv_weights(c, conv);
        require(c, n_times % conv->stride == 0);
        n_channels = conv->n_out;
        n_bands /= conv->stride;
        n_times /= conv->stride;
        bits = conv->out_bits;
    }
    require(c, n_times == 1);
    if (n_channels * n_bands > EA_MAX_SIZE) refuse(c, EA_TOO_LARGE);
    take_linear(c, &model->project, n_channels * n_bands, model->channels);
}

/* Blocks */

#if EA_HAS(EA_LTI)
static void take_lti(cursor *c, ea_lti *m, uint32_t channels) {
    m->n_modes = take_limited(c, 1, EA_MAX_MODES);
    m->cos = take(c, m->n_modes * channels, 2);
    m->sin = take(c, m->n_modes * channels, 2);
    m->real = take(c, m->n_modes * channels, 2);
    m->imag = take(c, m->n_modes * channels, 2);
    m->readout_scale = take_float(c);
    m->skip = take_numbers(c, channels);
#if defined(EA_PACKED)
    m->packed = 0;
#endif
}
#endif

#if EA_HAS_ATTENTION
static void take_attention(cursor *c, ea_attention *m, uint32_t kind, uint32_t channels) {
    uint32_t n_rates = kind == EA_SELECTIVE ? 1 : 2;
    m->n_heads = take_limited(c, 1, EA_MAX_HEADS);
    m->n_keys = take_word(c, 1, 256);
    m->max_decay = take_float(c);
    m->key_scale = take_float(c);
    m->max_logit = take_float(c);
    require(c, channels % m->n_heads == 0);
    take_linear(c, &m->project, channels, 2 * m->n_keys + n_rates * m->n_heads);
    m->decay_bias = take_floats(c, m->n_heads);
    m->skip = take_numbers(c, channels);
}
#endif

#if EA_HAS(EA_SLSTM)
static void take_slstm(cursor *c, ea_slstm *m, uint32_t channels) {
    m->n_heads = take_word(c, 1, channels);
    m->max_decay = take_float(c);
    m->max_logit = take_float(c);
    m->output_scale = take_float(c);
    require(c, channels % m->n_heads == 0);
    m->weight = take_floats(c, channels / m->n_heads * channels * 8);
    m->forget_bias = take_floats(c, channels);
    m->skip = take_numbers(c, channels);
}
#endif

#if EA_HAS(EA_TCN)
static void take_tcn(cursor *c, ea_tcn *m, uint32_t channels) {
    uint32_t i;
    m->n_layers = take_limited(c, 1, EA_MAX_TCN_LAYERS);
    for (i = 0; i < m->n_layers; i++) {
        m->n_taps[i] = take_word(c, 1, 64);
        m->dilation[i] = take_word(c, 1, 64);
        m->weight[i] = take_floats(c, m->n_taps[i] * channels);
        m->bias[i] = take_floats(c, channels);
    }
    m->skip = take_numbers(c, channels);
}
#endif

static void take_block(cursor *c, ea_block *block, uint32_t channels) {
    block->kind = take_word(c, 0, EA_TCN);
    if (c->status == EA_OK && !EA_HAS(block->kind)) refuse(c, EA_TOO_LARGE);
    block->norm_scale = take_numbers(c, channels);
    block->norm_shift = take_numbers(c, channels);
    switch (block->kind) {
#if EA_HAS(EA_LTI)
        case EA_LTI: take_lti(c, &block->mixer.lti, channels); break;
#endif
#if EA_HAS(EA_SLSTM)
        case EA_SLSTM: take_slstm(c, &block->mixer.slstm, channels); break;
#endif
#if EA_HAS(EA_TCN)
        case EA_TCN: take_tcn(c, &block->mixer.tcn, channels); break;
#endif
#if EA_HAS_ATTENTION
        case EA_SELECTIVE:
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL:
            take_attention(c, &block->mixer.attention, block->kind, channels);
            break;
#endif
        default: break;
    }
    take_linear(c, &block->mix, channels, 2 * channels);
}

/* Image */

static void take_sizes(cursor *c, ea_model *model, uint32_t version) {
    model->sample_rate_hz = take_word(c, 1, 1000000);
    model->window = take_limited(c, 1, EA_MAX_SIZE);
    model->hop = take_word(c, 1, model->window);
    model->fft_size = take_limited(c, 8, EA_MAX_SIZE);
    model->n_mels = take_word(c, 1, 255);
    model->frames_per_step = take_word(c, 1, 64);
    model->n_labels = take_limited(c, 1, EA_MAX_SIZE);
    model->channels = take_word(c, EA_TILE, 1024);
    model->n_convs = take_limited(c, 1, EA_MAX_CONVS);
    model->n_blocks = take_limited(c, 0, EA_MAX_BLOCKS);
    model->embedding_dim = take_limited(c, 1, EA_MAX_SIZE);
    model->has_int16_state = take_word(c, 0, 1);
    model->min_on_steps = take_word(c, 0, 1u << 30);
    model->min_off_steps = take_word(c, 0, 1u << 30);
    model->quiet_steps = version > 1 ? take_word(c, 0, MAX_QUIET_STEPS) : 0;
    if (!((EA_STATES) >> model->has_int16_state & 1u)) refuse(c, EA_TOO_LARGE);
    require(c, (model->fft_size & (model->fft_size - 1)) == 0 && model->window <= model->fft_size);
    require(c, model->channels % EA_TILE == 0);
}

static void take_settings(cursor *c, ea_model *model, uint32_t version) {
    model->smoothing = take_float(c);
    model->bound = take_float(c);
    model->log_floor = take_float(c);
    model->log_mean = take_float(c);
    model->log_gain = take_float(c);
    model->attack = version > 2 ? take_float(c) : model->smoothing;
    require(c, model->log_floor >= 1e-30f && model->smoothing > 0.0f && model->smoothing <= 1.0f);
    require(c, model->attack > 0.0f && model->attack <= 1.0f);
}

static ea_status read_image(cursor *c, ea_model *model, uint32_t version) {
    uint32_t i;
    take_sizes(c, model, version);
    take_settings(c, model, version);
    if (c->status != EA_OK) return c->status;
    take_labels(c, model);
    take_thresholds(c, model);
    take_relations(c, model, version);
    take_front_end(c, model);
    take_stem(c, model);
    for (i = 0; i < model->n_blocks && c->status == EA_OK; i++)
        take_block(c, &model->blocks[i], model->channels);
    model->norm_scale = take_numbers(c, model->channels);
    model->norm_shift = take_numbers(c, model->channels);
    take_linear(c, &model->embed, model->channels, model->embedding_dim);
    take_linear(c, &model->head, model->embedding_dim, model->n_labels);
    require(c, c->left == 0);
    return c->status == EA_OK ? ea_lay_out(model) : c->status;
}

/* The usual CRC-32 (that of zip and Ethernet), four bits at a time. */
static uint32_t crc32(const uint8_t *bytes, uint32_t n) {
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu,
                                       0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
                                       0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t crc = 0xffffffffu, i;
    for (i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

enum { HEADER_BYTES = 16 }; /* magic, version, n_bytes, CRC-32 of what follows */

EA_COLD ea_status ea_open(ea_model *model, const void *image, size_t n_bytes) {
    const uint32_t *header = image;
    cursor c;
    if (!model || !image) return EA_BAD_ARGUMENT;
    if ((uintptr_t)image % EA_ALIGNMENT) return EA_UNALIGNED;
    if (n_bytes < HEADER_BYTES || n_bytes >= 1u << 27 || header[0] != MAGIC) return EA_BAD_IMAGE;
    if (header[1] < 1 || header[1] > EA_IMAGE_VERSION) return EA_BAD_VERSION;
    if (header[2] != n_bytes) return EA_BAD_IMAGE;
    c.at = (const uint8_t *)image + HEADER_BYTES;
    c.left = (uint32_t)n_bytes - HEADER_BYTES;
    c.status = EA_OK;
#ifndef EA_FUZZING /* so that a fuzzer gets beyond it */
    if (crc32(c.at, c.left) != header[3]) return EA_BAD_HASH;
#else
    (void)crc32;
#endif
    model->crc32 = header[3];
    return read_image(&c, model, header[1]);
}
