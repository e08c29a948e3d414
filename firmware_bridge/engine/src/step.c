/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the network, and one step of it.
 */
#include "engine.h"
#include "frontend.h"

#define MAX_STATE_BYTES (1u << 26) /* of a layer: keeps all sums of sizes within 32 bits */

static uint32_t stem_scratch(const ea_model *model) {
    return ea_round_up(ea_stem_scratch_bytes(model), EA_ALIGNMENT);
}

/* Transform and network never need their memory at the same time. */
static uint32_t working_bytes(const ea_model *model) {
    uint32_t transform = ea_transform_vectors(model) * (uint32_t)sizeof(ea_vector);
    uint32_t network = stem_scratch(model) + ea_network_scratch_bytes(model);
    return ea_round_up(transform > network ? transform : network, EA_ALIGNMENT);
}

ea_status ea_lay_out(ea_model *model) {
    uint32_t end = 0, n, i;
    for (i = 0; i < model->n_convs; i++) {
        model->convs[i].state = end;
        n = ea_stem_state_bytes(&model->convs[i]);
        if (n > MAX_STATE_BYTES) return EA_TOO_LARGE;
        end += n;
    }
    for (i = 0; i < model->n_blocks; i++) {
        model->blocks[i].state = end;
        n = ea_mixer_state_bytes(model, &model->blocks[i]);
        if (n > MAX_STATE_BYTES) return EA_TOO_LARGE;
        end += n;
    }
    model->network_bytes = ea_round_up(end, EA_ALIGNMENT);
    model->batch = model->frames_per_step % EA_LANES == 0 ? EA_LANES : 1;
    n = ea_round_up(4 * model->batch * model->n_mels, EA_ALIGNMENT);
    model->scratch_bytes = working_bytes(model) + n;
    return EA_OK;
}

float *ea_frames(const ea_model *model, void *scratch) {
    return (float *)(void *)((uint8_t *)scratch + working_bytes(model));
}

int ea_hear_frame(const ea_model *model, void *network, const float *frame, float *scores,
                  void *scratch) {
    const int16_t *token;
    if (!ea_push_frame(model, network, frame, scratch, &token)) return 0;
    ea_apply_network(model, network, token, scores,
                     (float *)(void *)((uint8_t *)scratch + stem_scratch(model)));
    return 1;
}

EA_COLD static void clear(uint8_t *bytes, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; i++) bytes[i] = 0;
}

EA_COLD void ea_begin(const ea_model *model, void *network, float *scores, void *scratch) {
    float *frame = ea_frames(model, scratch);
    uint32_t i;
    clear(network, model->network_bytes);
    clear(scratch, model->fft_size * (uint32_t)sizeof(ea_vector));
    ea_transform(model, scratch, 1, frame); /* of no sound */
    for (i = 0; i < model->quiet_steps * model->frames_per_step; i++)
        (void)ea_hear_frame(model, network, frame, scores, scratch);
}

void ea_step(const ea_model *model, void *network, const float *frames, float *scores,
             void *scratch) {
    uint32_t i;
    for (i = 0; i < model->frames_per_step; i++)
        (void)ea_hear_frame(model, network, frames + i * model->n_mels, scores, scratch);
}

const float *ea_step_embedding(const ea_model *model, const void *scratch) {
    const uint8_t *network = (const uint8_t *)scratch + stem_scratch(model);
    return (const float *)(const void *)network + ea_embedding_offset(model);
}

size_t ea_network_size(const ea_model *model) { return model ? model->network_bytes : 0; }
size_t ea_scratch_size(const ea_model *model) { return model ? model->scratch_bytes : 0; }
size_t ea_model_size(void) { return sizeof(ea_model); }

uint32_t ea_n_labels(const ea_model *model) { return model->n_labels; }
uint32_t ea_embedding_dim(const ea_model *model) { return model->embedding_dim; }
uint32_t ea_sample_rate_hz(const ea_model *model) { return model->sample_rate_hz; }
uint32_t ea_step_samples(const ea_model *model) { return model->frames_per_step * model->hop; }
uint32_t ea_image_crc32(const ea_model *model) { return model->crc32; }

const char *ea_label(const ea_model *model, uint32_t label) {
    const char *text = model->labels;
    if (label >= model->n_labels) return 0;
    while (label > 0) label -= *text++ == '\0';
    return text;
}
