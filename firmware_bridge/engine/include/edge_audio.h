/* SPDX-License-Identifier: Apache-2.0
 *
 * edge-audio engine: PCM in, sound events out, in C99 without malloc, libm, double or libc.
 *
 *     static ea_model model;
 *     ea_stream *stream;
 *     ea_open(&model, image, image_bytes);                   // once; models are only read
 *     ea_init(&stream, &model, memory, sizeof memory);       // once for each stream
 *     ea_push(stream, samples, n, events, capacity, &count); // as long as there are samples
 *     while (ea_flush(stream, events, capacity, &count) == EA_EVENTS_FULL) ... // at their end
 *
 * Every function returns at once with a status; nothing is kept outside of `model` and `memory`,
 * so that any number of streams can share a model, each from a thread of its own.
 *
 * The same samples give the same bits of scores on every CPU, as long as it is compiled without
 * contraction of floating-point operations (-ffp-contract=off) and without -ffast-math.
 */
#ifndef EDGE_AUDIO_H
#define EDGE_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "edge_audio_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Images of versions 1 to 3 are read too: streams of the first begin with zeros, the first two
 * smooth rising scores as falling ones, and none knows which of its labels are related. */
#define EA_IMAGE_VERSION 4u

typedef enum {
    EA_OK = 0,
    EA_BAD_ARGUMENT = 1, /* a null pointer, or a label or threshold out of range */
    EA_BAD_IMAGE = 2,    /* not an image, truncated, or with sizes that contradict each other */
    EA_BAD_VERSION = 3,  /* an image of another version of the engine */
    EA_BAD_HASH = 4,     /* the image was altered: its CRC-32 differs */
    EA_UNALIGNED = 5,    /* image or memory does not begin at a multiple of EA_ALIGNMENT */
    EA_TOO_SMALL = 6,    /* memory has less than ea_state_size bytes */
    EA_TOO_LARGE = 7,    /* the model exceeds a limit of edge_audio_model.h, or a part left out */
    EA_EVENTS_FULL = 8   /* all samples were heard, but more events were due than fit: those
                            left are reported by the next push, with their true times */
} ea_status;

typedef enum { EA_START = 0, EA_END = 1 } ea_kind;

/* A sound began or ended.
 * sample: position in the stream, since ea_init or ea_reset. A start has the end of the step in
 *     which the smoothed score first reached its threshold; an end has that in which it first
 *     fell below its lower one.
 * score: of a start the smoothed score when it was reported, of an end the highest since. */
typedef struct {
    uint64_t sample;
    uint32_t label;
    ea_kind kind;
    float score;
} ea_event;

/* What is reported of labels that may name one sound, such as Bark, Dog and Animal. */
typedef enum {
    EA_ALL = 0,           /* every label */
    EA_MOST_SPECIFIC = 1, /* Bark: it ends Dog, which waits for it a moment */
    EA_FIRST = 2          /* which starts first */
} ea_related;

typedef struct ea_stream ea_stream;

/* Checks the whole image, which has to stay where it is for as long as the model is used: begins
 * at a multiple of EA_ALIGNMENT, n_bytes long. EA_BAD_ARGUMENT, EA_BAD_IMAGE, EA_BAD_VERSION,
 * EA_BAD_HASH, EA_UNALIGNED, EA_TOO_LARGE. */
ea_status ea_open(ea_model *model, const void *image, size_t n_bytes);

/* Bytes of memory that one stream needs, working memory included; 0 for a null pointer. */
size_t ea_state_size(const ea_model *model);

/* Starts a stream in `memory`, which begins at a multiple of EA_ALIGNMENT and has n_bytes.
 * EA_BAD_ARGUMENT, EA_UNALIGNED, EA_TOO_SMALL. */
ea_status ea_init(ea_stream **stream, const ea_model *model, void *memory, size_t n_bytes);

/* Hears n >= 0 samples (16-bit mono at ea_sample_rate_hz) and writes the events they complete,
 * in the order of their times and at most `capacity`; *n_events is how many. Samples of one step
 * seldom have more than there are labels, and never more than twice as many: what finds no room
 * comes with the next push. EA_BAD_ARGUMENT, EA_EVENTS_FULL. */
ea_status ea_push(ea_stream *stream, const int16_t *samples, size_t n, ea_event *events,
                  size_t capacity, size_t *n_events);

/* Ends the stream: hears its last incomplete step, padded with zeros, and ends all open events;
 * the next push starts anew. That may be twice as many events as there are labels: after
 * EA_EVENTS_FULL call it again for the rest. */
ea_status ea_flush(ea_stream *stream, ea_event *events, size_t capacity, size_t *n_events);

/* Starts anew, with the thresholds as they are: with the state that some seconds of silence leave,
 * for which the network takes as many steps as the image says. So does ea_init, and the first
 * ea_push after ea_flush. */
void ea_reset(ea_stream *stream);

/* [ea_n_labels] probabilities after the latest step; zeros before the first. */
const float *ea_scores(const ea_stream *stream);

/* [ea_embedding_dim] The last hidden layer, of which the head made the scores of the latest step.
 * It lies in working memory: a null pointer before the first step, and once the next one was begun.
 * To have that of every step, push up to the end of each: ea_step_samples at a time, behind the
 * window - hop samples that the first one needs more, which are 240 in the shipped models. */
const float *ea_embedding(const ea_stream *stream);

/* Steps taken and samples heard since the start of the stream. */
uint64_t ea_n_steps(const ea_stream *stream);
uint64_t ea_n_samples(const ea_stream *stream);

/* An event of `label` starts at `on` and ends below `off`, 0 < off <= on <= 1; on = off = 0
 * switches the label off, and drops its open event. EA_BAD_ARGUMENT. */
ea_status ea_set_threshold(ea_stream *stream, uint32_t label, float on, float off);
ea_status ea_threshold(const ea_stream *stream, uint32_t label, float *on, float *off);

/* What is reported of related labels from now on, for as long as the stream is used; at first what
 * the image says. What was held back stays so until its end. EA_BAD_ARGUMENT where the image knows
 * of none: because it was built for EA_ALL, or has none. */
ea_status ea_set_related(ea_stream *stream, ea_related related);

/* Facts of a model. ea_label: UTF-8; a null pointer beyond the last one. */
uint32_t ea_n_labels(const ea_model *model);
uint32_t ea_embedding_dim(const ea_model *model);
const char *ea_label(const ea_model *model, uint32_t label);
uint32_t ea_sample_rate_hz(const ea_model *model);
uint32_t ea_step_samples(const ea_model *model);
uint32_t ea_image_crc32(const ea_model *model); /* names the weights, labels and thresholds */

/* Parts of ea_push, for hosts that keep streams in their own way. */

/* samples [window + (n_frames - 1) * hop] within -1 and 1 -> frames [n_frames][n_mels].
 * scratch: ea_scratch_size bytes. */
void ea_log_mel(const ea_model *model, const float *samples, size_t n_frames, float *frames,
                void *scratch);

/* Makes `network`, of ea_network_size bytes, what it is at the start of a stream. scores [n_labels]
 * and scratch are working memory. */
void ea_begin(const ea_model *model, void *network, float *scores, void *scratch);

/* frames [frames_per_step][n_mels] -> scores [n_labels]; `network` is changed. */
void ea_step(const ea_model *model, void *network, const float *frames, float *scores,
             void *scratch);

/* [ea_embedding_dim] where ea_step leaves the embedding: within `scratch`, until that is used for
 * something else. */
const float *ea_step_embedding(const ea_model *model, const void *scratch);

size_t ea_network_size(const ea_model *model);
size_t ea_scratch_size(const ea_model *model);

/* sizeof(ea_model), for callers in other languages. */
size_t ea_model_size(void);

#ifdef __cplusplus
}
#endif

#endif
