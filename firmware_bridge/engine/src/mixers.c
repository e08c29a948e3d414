/* SPDX-License-Identifier: Apache-2.0
 *
 * Which mixer a block has.
 */
#include "mixers.h"

uint32_t ea_mixer_state_bytes(const ea_model *model, const ea_block *block) {
    switch (block->kind) {
#if EA_HAS(EA_LTI)
        case EA_LTI: return ea_lti_state_bytes(model, &block->mixer.lti);
#endif
#if EA_HAS_ATTENTION
        case EA_SELECTIVE:
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL: return ea_attention_state_bytes(model, block);
#endif
#if EA_HAS(EA_SLSTM)
        case EA_SLSTM: return ea_slstm_state_bytes(model);
#endif
#if EA_HAS(EA_TCN)
        case EA_TCN: return ea_tcn_state_bytes(model, &block->mixer.tcn);
#endif
        default: return 0;
    }
}

uint32_t ea_mixer_scratch_bytes(const ea_model *model, const ea_block *block) {
    switch (block->kind) {
#if EA_HAS_ATTENTION
        case EA_SELECTIVE:
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL:
            return 4 * (block->mixer.attention.project.n_out + model->channels);
#endif
        case EA_SLSTM: return 4 * 4 * model->channels;
        case EA_TCN: return 4 * model->channels;
        default: return 0;
    }
}

void ea_apply_mixer(const ea_model *model, const ea_block *block, uint8_t *network, const float *u,
                    float *y, float *scratch) {
    uint8_t *state = network + block->state;
    (void)scratch; /* which a state space does not need */
    switch (block->kind) {
#if EA_HAS(EA_LTI)
        case EA_LTI: ea_apply_lti(model, &block->mixer.lti, state, u, y); break;
#endif
#if EA_HAS(EA_SELECTIVE)
        case EA_SELECTIVE:
            ea_apply_selective(model, &block->mixer.attention, state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_MLSTM_SIGMOID) || EA_HAS(EA_MLSTM_EXPONENTIAL)
        case EA_MLSTM_SIGMOID:
        case EA_MLSTM_EXPONENTIAL: ea_apply_mlstm(model, block, state, u, y, scratch); break;
#endif
#if EA_HAS(EA_SLSTM)
        case EA_SLSTM:
            ea_apply_slstm(model, &block->mixer.slstm, (float *)(void *)state, u, y, scratch);
            break;
#endif
#if EA_HAS(EA_TCN)
        case EA_TCN:
            ea_apply_tcn(model, &block->mixer.tcn, (float *)(void *)state, u, y, scratch);
            break;
#endif
        default: break;
    }
}
