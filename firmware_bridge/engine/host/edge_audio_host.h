/* SPDX-License-Identifier: Apache-2.0
 *
 * What programs on a computer call besides edge_audio.h: a whole block of samples at once, and the
 * scores of all its steps. Firmware is built without it.
 */
#ifndef EDGE_AUDIO_HOST_H
#define EDGE_AUDIO_HOST_H

#include "edge_audio.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights again, in the order that this build is quickest with: ea_pack_size bytes, 0 where that of
 * the image is. memory begins at a multiple of 64, and has to stay where it is for as long as the
 * model is used. To be called once, behind ea_open, before there are streams. Scores keep their
 * bits. */
size_t ea_pack_size(const ea_model *model);
void ea_pack(ea_model *model, void *memory);

/* One stream, without events: the network, and those samples that later windows have again. It
 * lies in ea_block_stream_size bytes that begin at a multiple of EA_ALIGNMENT. */
typedef struct ea_block_stream ea_block_stream;

size_t ea_block_stream_size(const ea_model *model);

/* At the start of a stream. quiet: what ea_begin makes of a network. Returns `memory`, or a null pointer where an argument is null. */
ea_block_stream *ea_block_begin(const ea_model *model, const void *quiet, void *memory);

/* Forgets the samples, not the network: as if it had heard none since the start. */
void ea_block_forget(ea_block_stream *stream);

/* n samples within -1 and 1 (what is not counts as the nearer of them, NaN as 0), of which the first
 * window - hop of a stream come before its first step -> the scores [steps][n_labels] of the steps that
 * they complete, and how many these are: at most n / ea_step_samples + 1, for which `capacity` has to
 * have room, or else samples are lost. Those of a step that is not complete wait. Scores are never NaN.
 * embeddings: a null pointer, or room for [capacity][ea_embedding_dim] of them. scratch: of
 * ea_scratch_size bytes, for one call at a time. */
size_t ea_block_push(ea_block_stream *stream, const float *samples, size_t n, float *scores,
                     float *embeddings, size_t capacity, void *scratch);

/* Labels that are watched: smoothed, peak [n] change, of scores[index[i]] each. */
typedef struct {
    size_t n;
    float rise, fall; /* how far a smoothed score moves in one step */
    const uint32_t *index;
    float *smoothed, *peak;
    const float *limit;       /* `off` where active, else `on` */
    const uint8_t *is_active; /* between a start and its end */
} ea_watched;

/* Takes scores [n_steps][n_labels] up to the first step after which any label is beyond its limit, and
 * returns the number of that step; n_steps where there is none. The same operations in the same order
 * as in edge_audio/events/detector.py. */
size_t ea_watch(const ea_watched *labels, const float *scores, size_t n_steps, size_t n_labels);

/* Both for many streams of one model, each of which gets n samples: samples [n_streams][n] -> scores
 * [n_streams][capacity][n_labels], of each stream n_steps of the steps that they complete and n_watched
 * of those that its labels were watched through, the one that crossed not among them. watched: of each
 * stream; for a null pointer nothing is watched. */
void ea_batch_push(ea_block_stream *const *streams, const ea_watched *const *watched,
                   size_t n_streams, const float *samples, size_t n, float *scores, size_t capacity,
                   uint32_t *n_steps, uint32_t *n_watched, void *scratch);

/* 0 for any CPU of the architecture, and more the more vector instructions this one has. */
int ea_cpu_level(void);

/* Of the sources that the library was compiled from, "" where the compiler was not told. */
const char *ea_fingerprint(void);

#ifdef __cplusplus
}
#endif

#endif
