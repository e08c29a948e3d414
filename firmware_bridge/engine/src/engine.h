/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the engine share. D is model->channels throughout.
 */
#ifndef EA_ENGINE_H
#define EA_ENGINE_H

#include "edge_audio.h"

/* Frames that are transformed together, each in a lane of a vector. */
#ifndef EA_LANES
#if defined(EA_PLAIN)
#define EA_LANES 1
#elif defined(__AVX2__)
#define EA_LANES 8
#elif defined(__SSE2__) || defined(__wasm_simd128__) || defined(__aarch64__)
#define EA_LANES 4
#else
#define EA_LANES 1
#endif
#endif

#if EA_FOLD
#define EA_N_ANCESTORS(model) ((model)->n_ancestors)
#define EA_DEFAULT_RELATED(model) ((model)->related)
#else
#define EA_N_ANCESTORS(model) 0u
#define EA_DEFAULT_RELATED(model) ((uint8_t)EA_ALL)
#endif

#define EA_TILE 8u /* channels of a state space that are advanced together */

/* What runs once: better small than quick. */
#if defined(__GNUC__)
#define EA_COLD __attribute__((cold))
#else
#define EA_COLD
#endif

static inline float ea_number(const ea_numbers *numbers, uint32_t i) {
    return numbers->unit * (float)numbers->values[i];
}

static inline uint32_t ea_round_up(uint32_t n, uint32_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* linear.c: x [n_in] -> y [n_out]; q [row] is working memory. Or from integers q [row], padded
 * with zeros, that are worth `unit` each. */
void ea_apply_linear(const ea_linear *linear, const float *x, float *y, int16_t *q);
void ea_apply_integers(const ea_linear *linear, const int16_t *q, float unit, float *y);

/* Of x [n], in place. */
void ea_apply_sigmoid(float *x, uint32_t n);

/* stem.c: frame [n_mels] -> 1 and token [project.row] if it is the last of a step, else 0. The
 * token lies in scratch, of ea_stem_scratch_bytes. */
int ea_push_frame(const ea_model *model, uint8_t *network, const float *frame, int16_t *scratch,
                  const int16_t **token);
uint32_t ea_stem_state_bytes(const ea_conv *conv);
uint32_t ea_stem_scratch_bytes(const ea_model *model);

/* mixers.c: u [D] -> y [D], changing the state. */
void ea_apply_mixer(const ea_model *model, const ea_block *block, uint8_t *network, const float *u,
                    float *y, float *scratch);
uint32_t ea_mixer_state_bytes(const ea_model *model, const ea_block *block);
uint32_t ea_mixer_scratch_bytes(const ea_model *model, const ea_block *block);

/* network.c: token -> scores [n_labels], changing the state. */
void ea_apply_network(const ea_model *model, uint8_t *network, const int16_t *token, float *scores,
                      float *scratch);
uint32_t ea_network_scratch_bytes(const ea_model *model);
/* What the head reads, in floats from the begin of that scratch memory. */
uint32_t ea_embedding_offset(const ea_model *model);

/* step.c: frames [batch][n_mels], which lie at the end of the scratch memory. */
float *ea_frames(const ea_model *model, void *scratch);
/* One frame -> 1 and scores if it was the last of a step, else 0. */
int ea_hear_frame(const ea_model *model, void *network, const float *frame, float *scores,
                  void *scratch);
/* Sets network_bytes, scratch_bytes, batch and the offsets of states. */
ea_status ea_lay_out(ea_model *model);

#if EA_FOLD
/* fold.c: n numbers, lists of labels: for each of n_ancestors its own, how many are a kind of it, and
 * those; then pairs of near-synonyms. Whether they are sound. */
int ea_read_related(ea_model *model, const uint16_t *lists, uint32_t n);
#endif

#endif
