/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-channel energy normalisation: what the stem hears in the place of the log-mel, with models
 * that have it.
 */
#include "engine.h"
#include "numbers.h"

#if EA_PCEN

uint32_t ea_pcen_state_bytes(const ea_model *model) {
    return model->pcen.alpha ? 4 * model->n_mels : 0;
}

void ea_normalise_energies(const ea_model *model, uint8_t *network, const float *frame, float gain,
                           int16_t *heard) {
    const ea_pcen *pcen = &model->pcen;
    float *smooth = (float *)(void *)(network + pcen->state);
    uint32_t i;
    for (i = 0; i < model->n_mels; i++) {
        float energy = ea_max(ea_exp(frame[i] * pcen->log_scale + pcen->log_offset), 1.0f);
        float before = ea_max(smooth[i], 1.0f); /* 0 as a stream begins */
        float after = before + pcen->smoothing * (energy - before);
        float ratio = (energy - 1.0f) * ea_exp(-pcen->alpha[i] * ea_log(after));
        float y = ea_exp(pcen->root[i] * ea_log(ratio + pcen->delta[i])) - pcen->shift[i];
        smooth[i] = after;
        y = ea_min(ea_clip(y, model->bound) * gain, 32767.0f);
        heard[i] = (int16_t)ea_round(ea_max(y, 0.0f));
    }
}

#endif
