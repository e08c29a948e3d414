/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores to events: smoothing, hysteresis and least durations of each label, and which of what
 * starts and ends is reported.
 */
#include "events.h"
#include "numbers.h"

uint64_t ea_step_end(const ea_stream *stream, uint64_t n_steps) {
    const ea_model *model = stream->model;
    uint64_t end = model->window - model->hop + n_steps * ea_step_samples(model);
    return end < stream->n_samples ? end : stream->n_samples;
}

EA_COLD uint64_t ea_crossing(const ea_stream *stream, const ea_label_state *state) {
    return ea_step_end(stream, stream->n_steps + 1 - state->crossed);
}

static uint32_t wait_steps(const ea_stream *stream, const ea_label_state *state) {
    return state->is_active ? stream->model->min_off_steps : stream->model->min_on_steps;
}

/* Whether the label has been beyond its threshold for long enough. A step that a flush pads only
 * counts for what was heard of it. */
EA_COLD static int is_due(const ea_stream *stream, const ea_label_state *state) {
    uint32_t crossed = state->crossed, wait = wait_steps(stream, state);
    uint64_t heard;
    if (crossed == 0 || crossed > wait + 1) return crossed > 0;
    heard = ea_step_end(stream, stream->n_steps) - ea_crossing(stream, state);
    return heard >= (uint64_t)wait * ea_step_samples(stream->model);
}

EA_COLD void ea_toggle(ea_label_state *state) {
    state->is_active = !state->is_active;
    state->peak = state->smoothed;
    state->crossed = 0;
}

EA_COLD void ea_forget_label(ea_label_state *state) {
    state->smoothed = state->peak = 0.0f;
    state->crossed = 0;
    state->is_active = state->fate = state->starting = 0;
}

EA_COLD int ea_report(ea_list *list, uint32_t label, ea_kind kind, uint64_t sample, float score) {
    ea_event *event = list->events + list->n;
    if (list->n == list->capacity) {
        list->is_full = 1;
        return 0;
    }
    list->n++;
    event->sample = sample;
    event->label = label;
    event->kind = kind;
    event->score = score;
    return 1;
}

/* What is due and found no room stays due, whatever is heard meanwhile. */
int ea_is_beyond(const ea_stream *stream, ea_label_state *state) {
    float limit = state->is_active ? state->off : state->on;
    if ((state->smoothed >= limit) != state->is_active ||
        state->crossed > wait_steps(stream, state))
        return 1;
    state->crossed = 0;
    return 0;
}

/* Smoothing, quicker where scores rise, then hysteresis with least durations; whether the label
 * starts or ends. */
static int detect(ea_stream *stream, uint32_t label) {
    const ea_model *model = stream->model;
    ea_label_state *state = &stream->labels[label];
    float change = stream->scores[label] - state->smoothed;
    state->smoothed += change * (change > 0.0f ? model->attack : model->smoothing);
    state->peak = ea_max(state->peak, state->smoothed);
    if (!ea_is_beyond(stream, state)) return state->starting;
    if (state->crossed < UINT32_MAX) state->crossed++;
    if (!is_due(stream, state)) return state->starting;
    if (state->fate == EA_WAITING) state->starting = EA_STARTS; /* and ends in this step too */
    if (!state->is_active && !state->starting) ea_hold_or_pass(stream, label);
    return 1;
}

#define NEVER UINT64_MAX

/* By which the starts and ends of a step are taken: by time, then those that waited, or in a
 * flush the ends, behind the others; at last by label. */
EA_COLD static uint64_t order_of(const ea_stream *stream, uint32_t label) {
    const ea_label_state *state = &stream->labels[label];
    if (state->fate == EA_WAITING) {
        if (!state->starting) return NEVER;
        return 2 * ea_start_of(stream, label)->sample + (state->starting == EA_STARTS_LATE);
    }
    if (state->is_active & stream->is_ending)
        return 2 * (state->crossed ? ea_crossing(stream, state) : stream->n_samples) + 1;
    return is_due(stream, state) ? 2 * ea_crossing(stream, state) : NEVER;
}

EA_COLD static int take_end(ea_stream *stream, uint32_t label, uint64_t sample, ea_list *list) {
    ea_label_state *state = &stream->labels[label];
    if (state->fate == EA_REPORTED && !ea_report(list, label, EA_END, sample, state->peak))
        return 0;
    state->fate = EA_SILENT;
    ea_toggle(state);
    return 1;
}

EA_COLD static int take_start(ea_stream *stream, uint32_t label, uint64_t sample, ea_list *list) {
    ea_label_state *state = &stream->labels[label];
    ea_start *start = ea_start_of(stream, label);
    float score = state->is_active && start ? start->score : state->smoothed;
    if (ea_is_held_back(stream, label)) {
        state->fate = EA_HELD_BACK;
    } else {
        if (!ea_cut_ancestors(stream, label, sample, list)) return 0;
        if (!ea_report(list, label, EA_START, sample, score)) return 0;
        state->fate = EA_REPORTED;
    }
    if (start) {
        start->sample = sample;
        start->score = score;
    }
    if (!state->is_active) ea_toggle(state);
    return 1;
}

/* What starts and ends, the earliest first, until there is no room. */
EA_COLD static void take_all(ea_stream *stream, ea_list *list) {
    uint32_t n = stream->model->n_labels, label, first;
    uint64_t order, least;
    int is_taken;
    for (;;) {
        for (least = NEVER, first = label = 0; label < n; label++) {
            order = order_of(stream, label);
            if (order >= least) continue;
            least = order;
            first = label;
        }
        if (least == NEVER) break;
        is_taken = stream->labels[first].is_active && stream->labels[first].fate != EA_WAITING
                       ? take_end(stream, first, least / 2, list)
                       : take_start(stream, first, least / 2, list);
        if (!is_taken) return;
    }
    for (label = 0; label < n; label++) stream->labels[label].starting = 0;
}

void ea_detect(ea_stream *stream, ea_list *list) {
    uint32_t label;
    int is_any = 0;
    for (label = 0; label < stream->model->n_labels; label++)
        if (stream->labels[label].on > 0.0f) is_any |= detect(stream, label);
    if (ea_end_waits(stream) | is_any) take_all(stream, list);
}

EA_COLD void ea_end_all(ea_stream *stream, ea_list *list) {
    uint32_t label;
    for (label = 0; label < stream->model->n_labels; label++)
        if (stream->labels[label].fate == EA_WAITING) stream->labels[label].starting = EA_STARTS;
    take_all(stream, list);
}
