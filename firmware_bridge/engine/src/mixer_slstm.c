/* SPDX-License-Identifier: Apache-2.0
 *
 * sLSTM (distill/students/slstm.py): gates of a head depend on what it gave last.
 */
#include "mixers.h"

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
void ea_apply_slstm(const ea_model *model, const ea_slstm *m, float *state, const float *u,
                    float *y, float *logits) {
    float *c = state, *n = c + model->channels, *hidden = n + model->channels;
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

uint32_t ea_slstm_state_bytes(const ea_model *model) { return 3 * 4 * model->channels; }

#endif
