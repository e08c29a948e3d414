/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream, and how its scores become events: detect.c has thresholds and durations of each label,
 * fold.c one sound, one event.
 */
#ifndef EA_EVENTS_H
#define EA_EVENTS_H

#include "engine.h"

/* What became of a sound of a label. */
enum {
    EA_SILENT,   /* there is none, or its start has not been taken */
    EA_WAITING,  /* for what is a kind of it: it may start a moment later */
    EA_REPORTED, /* its start was reported */
    EA_CUT,      /* and its end too, since a kind of it started */
    EA_HELD_BACK /* another label says what it would */
};

/* Whether a label starts in this step, and whether it waited before. */
enum { EA_STARTS = 1, EA_STARTS_LATE = 2 };

typedef struct {
    float smoothed, peak, on, off;
    uint32_t crossed;  /* steps since the threshold was crossed, plus 1; or 0 */
    uint8_t is_active; /* between start and end, as detected */
    uint8_t fate, starting;
    uint8_t wait; /* steps that it still waits, this one included */
} ea_label_state;

/* The start of a label that others are a kind of. */
typedef struct {
    uint64_t sample;
    float score;
} ea_start;

struct ea_stream {
    const ea_model *model;
    uint64_t n_samples, n_steps;
    uint32_t n_waiting;         /* samples in pcm */
    uint8_t is_ending, related; /* whether ea_flush has begun; an ea_related */
    void *network, *scratch;
    int16_t *pcm;           /* of `batch` windows */
    float *scores;          /* [n_labels] */
    ea_label_state *labels; /* [n_labels] */
    ea_start *starts;       /* of the ancestors, in the order of the image */
};

typedef struct {
    ea_event *events;
    size_t capacity, n;
    int is_full;
} ea_list;

/* detect.c */

/* Takes the scores of a step that has been made. */
void ea_detect(ea_stream *stream, ea_list *list);
/* Ends all that sounds, as far as there is room. */
void ea_end_all(ea_stream *stream, ea_list *list);
/* As if it had not been heard. */
void ea_forget_label(ea_label_state *state);

/* Whether it is beyond its threshold; where it is not, when it crossed that is forgotten. */
int ea_is_beyond(const ea_stream *stream, ea_label_state *state);
/* End of the last window of step n_steps; never beyond what was heard, though a flush pads. */
uint64_t ea_step_end(const ea_stream *stream, uint64_t n_steps);
/* Of the step in which the label crossed its threshold. */
uint64_t ea_crossing(const ea_stream *stream, const ea_label_state *state);
/* Between start and end from now on, or no longer. */
void ea_toggle(ea_label_state *state);
/* 0 where there is no room. */
int ea_report(ea_list *list, uint32_t label, ea_kind kind, uint64_t sample, float score);

/* fold.c: related labels, of which an image has those among its own. The same rules as
 * edge_audio/events/policy.py has. */

#if EA_FOLD
/* A label that is about to start: it waits, or starts in this step. */
void ea_hold_or_pass(ea_stream *stream, uint32_t label);
/* After the labels of a step: whether one has waited for long enough. */
int ea_end_waits(ea_stream *stream);
/* Of its latest sound; null where no label is a kind of it. */
ea_start *ea_start_of(const ea_stream *stream, uint32_t label);
/* Whether another label says what this one would. */
int ea_is_held_back(const ea_stream *stream, uint32_t label);
/* Ends what this label is a kind of; 0 where there is no room for that. */
int ea_cut_ancestors(ea_stream *stream, uint32_t label, uint64_t sample, ea_list *list);
#else
static inline void ea_hold_or_pass(ea_stream *stream, uint32_t label) {
    stream->labels[label].starting = EA_STARTS;
}
#define ea_end_waits(stream) ((void)(stream), 0)
#define ea_start_of(stream, label) ((void)(stream), (void)(label), (ea_start *)0)
#define ea_is_held_back(stream, label) ((void)(stream), (void)(label), 0)
#define ea_cut_ancestors(stream, label, sample, list) ((void)(sample), 1)
#endif

#endif
