/* SPDX-License-Identifier: Apache-2.0
 *
 * Dilated causal convolutions, one after the other (distill/students/conv_mixer.py).
 */
#include "mixers.h"

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

void ea_apply_tcn(const ea_model *model, const ea_tcn *m, float *context, const float *u, float *y,
                  float *input) {
    uint32_t layer, d;
    for (d = 0; d < model->channels; d++) input[d] = u[d];
    for (layer = 0; layer < m->n_layers; layer++) {
        apply_dilated(m, layer, model->channels, context, input, y);
        for (d = 0; d < model->channels; d++) input[d] = ea_hardswish(y[d]);
        context += context_rows(m, layer) * model->channels;
    }
    for (d = 0; d < model->channels; d++) y[d] += ea_number(&m->skip, d) * u[d];
}

uint32_t ea_tcn_state_bytes(const ea_model *model, const ea_tcn *m) {
    uint32_t n = 0, layer;
    for (layer = 0; layer < m->n_layers; layer++) n += context_rows(m, layer);
    return 4 * n * model->channels;
}

#endif
