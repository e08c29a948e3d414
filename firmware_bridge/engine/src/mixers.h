/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent parts, one file for each kind: u [D] -> y [D], changing a state.
 *
 * What the formulas add up over channels stays in one lane of a channel, in a fixed order, so that
 * loops over channels can be vectorised without changing a bit.
 *
 * An int16 state is kept in groups that share a power of two: the exponent of each, one byte, then
 * the integers. A group is what a channel remembers (state space), or a head under a key
 * (attention).
 */
#ifndef EA_MIXERS_H
#define EA_MIXERS_H

#include "engine.h"
#include "numbers.h"

/* The exponent of the unit in which values up to `largest` are kept: largest / unit < 32767. */
static inline uint8_t ea_exponent_of(float largest) {
    uint32_t exponent = ea_to_bits(largest * 1.0001f) >> 23;
    uint32_t least = 64; /* 2^-63: what is smaller is kept as 0 */
    return (uint8_t)((exponent > least ? exponent : least) - 14);
}

static inline float ea_unit_of(uint8_t exponent) { return ea_from_bits((uint32_t)exponent << 23); }
static inline float ea_inverse_unit_of(uint8_t exponent) {
    return ea_unit_of((uint8_t)(254 - exponent));
}

static inline int16_t ea_kept(float value, float inverse_unit) {
    return (int16_t)ea_round(value * inverse_unit);
}

/* mixer_lti.c */
void ea_apply_lti(const ea_model *model, const ea_lti *m, uint8_t *state, const float *u, float *y);
uint32_t ea_lti_state_bytes(const ea_model *model, const ea_lti *m);

/* mixer_attention.c: selective state space, and mLSTM of both kinds; scratch: of
 * ea_mixer_scratch_bytes. */
void ea_apply_selective(const ea_model *model, const ea_attention *m, uint8_t *state,
                        const float *u, float *y, float *scratch);
void ea_apply_mlstm(const ea_model *model, const ea_block *block, uint8_t *state, const float *u,
                    float *y, float *scratch);
uint32_t ea_attention_state_bytes(const ea_model *model, const ea_block *block);

/* mixer_slstm.c: logits [4 D / n_heads] is working memory. */
void ea_apply_slstm(const ea_model *model, const ea_slstm *m, float *state, const float *u,
                    float *y, float *logits);
uint32_t ea_slstm_state_bytes(const ea_model *model);

/* mixer_tcn.c: input [D] is working memory. */
void ea_apply_tcn(const ea_model *model, const ea_tcn *m, float *context, const float *u, float *y,
                  float *input);
uint32_t ea_tcn_state_bytes(const ea_model *model, const ea_tcn *m);

#endif
