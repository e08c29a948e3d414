/* SPDX-License-Identifier: Apache-2.0
 *
 * EA_LANES windows are transformed at once, window l in lane l of vectors: what happens within a
 * lane does not depend on how many there are.
 */
#ifndef EA_FRONTEND_H
#define EA_FRONTEND_H

#include "engine.h"

#if EA_LANES > 1
/* Memory is only aligned for float, hence aligned(4). */
typedef float ea_vector __attribute__((vector_size(4 * EA_LANES), aligned(4), may_alias));
#else
typedef float ea_vector;
#endif

/* In a transform's memory: z [fft_size / 2][real, imaginary], then the powers of bands, with one
 * for what is below them and one for what is above. */
static inline uint32_t ea_transform_vectors(const ea_model *model) {
    return model->fft_size + model->n_mels + 2;
}

/* Windowed samples [window] -> lane `lane` of z. */
void ea_load_samples(const ea_model *model, const float *samples, uint32_t lane, ea_vector *z);
void ea_load_pcm(const ea_model *model, const int16_t *pcm, uint32_t lane, ea_vector *z);

/* z -> frames [n_lanes][n_mels], of the first lanes. */
void ea_transform(const ea_model *model, ea_vector *z, uint32_t n_lanes, float *frames);

#endif
