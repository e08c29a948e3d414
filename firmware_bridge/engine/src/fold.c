/* SPDX-License-Identifier: Apache-2.0
 *
 * One sound, one event: of labels that may name the same sound, which are reported.
 */
#include "events.h"

#if EA_FOLD

EA_COLD int ea_read_related(ea_model *model, const uint16_t *lists, uint32_t n) {
    uint32_t at = 0, end = 0, i;
    model->ancestors = lists;
    for (i = 0; i < model->n_ancestors; i++) {
        if (n - at < 2 || n - at - 2 < lists[at + 1] || lists[at] >= model->n_labels) return 0;
        end = at + 2 + lists[at + 1];
        for (at += 2; at < end; at++)
            if (lists[at] >= model->n_labels) return 0;
    }
    model->synonyms = lists + at;
    model->n_synonyms = (uint16_t)((n - at) / 2);
    if ((n - at) % 2 != 0) return 0;
    for (; at < n; at++)
        if (lists[at] >= model->n_labels) return 0;
    return 1;
}

/* An entry of model->ancestors: a label, and what is a kind of it. */
static int has_kind(const uint16_t *ancestor, uint32_t label) {
    uint32_t i;
    for (i = 0; i < ancestor[1]; i++)
        if (ancestor[2 + i] == label) return 1;
    return 0;
}

#define EA_FOR_ANCESTORS(model, i, ancestor)                                   \
    for ((i) = 0, (ancestor) = (model)->ancestors; (i) < (model)->n_ancestors; \
         (i)++, (ancestor) += 2 + (ancestor)[1])

EA_COLD ea_start *ea_start_of(const ea_stream *stream, uint32_t label) {
    const uint16_t *ancestor;
    uint32_t i;
    EA_FOR_ANCESTORS(stream->model, i, ancestor)
    if (ancestor[0] == label) return &stream->starts[i];
    return 0;
}

/* Whether another label may follow that says more. */
EA_COLD static int has_to_wait(const ea_stream *stream, uint32_t label) {
    const uint16_t *ancestor;
    uint32_t i, k;
    if (stream->related != EA_MOST_SPECIFIC) return 0;
    EA_FOR_ANCESTORS(stream->model, i, ancestor) {
        for (k = 0; ancestor[0] == label && k < ancestor[1]; k++)
            if (stream->labels[ancestor[2 + k]].on > 0.0f) return 1;
    }
    return 0;
}

EA_COLD void ea_hold_or_pass(ea_stream *stream, uint32_t label) {
    ea_label_state *state = &stream->labels[label];
    uint8_t wait = (uint8_t)(stream->model->fold_steps + 1u);
    int waits = has_to_wait(stream, label);
    const uint16_t *ancestor;
    uint32_t i;
    EA_FOR_ANCESTORS(stream->model, i, ancestor) {
        ea_label_state *other = &stream->labels[ancestor[0]];
        if (ancestor[0] == label && waits) {
            stream->starts[i].sample = ea_crossing(stream, state);
            stream->starts[i].score = state->smoothed;
        } else if (other->fate == EA_WAITING && has_kind(ancestor, label)) {
            if (waits)
                other->wait = wait;
            else
                other->starting = EA_STARTS;
        }
    }
    if (!waits) {
        state->starting = EA_STARTS;
        return;
    }
    state->fate = EA_WAITING;
    state->wait = wait;
    ea_toggle(state);
}

int ea_end_waits(ea_stream *stream) {
    const ea_model *model = stream->model;
    const uint16_t *ancestor;
    uint32_t i;
    int is_any = 0;
    /* The last step, of which a flush padded a part, is none that could be waited for. */
    if (ea_step_end(stream, stream->n_steps) - ea_step_end(stream, stream->n_steps - 1) <
        ea_step_samples(model))
        return 0;
    EA_FOR_ANCESTORS(model, i, ancestor) {
        ea_label_state *state = &stream->labels[ancestor[0]];
        if (state->fate != EA_WAITING || state->starting || --state->wait > 0) continue;
        state->starting = EA_STARTS_LATE;
        is_any = 1;
    }
    return is_any;
}

/* Whether the label says something at present, be it reported still or not. */
static int is_sounding(const ea_stream *stream, uint32_t label) {
    uint8_t fate = stream->labels[label].fate;
    return fate == EA_REPORTED || fate == EA_CUT;
}

EA_COLD static int has_sounding_kind(const ea_stream *stream, const uint16_t *ancestor) {
    uint32_t k;
    for (k = 2; k < 2u + ancestor[1]; k++) {
        if (is_sounding(stream, ancestor[k])) return 1;
        if (stream->related == EA_MOST_SPECIFIC && stream->labels[ancestor[k]].starting) return 1;
    }
    return 0;
}

EA_COLD int ea_is_held_back(const ea_stream *stream, uint32_t label) {
    const ea_model *model = stream->model;
    const uint16_t *ancestor, *pair = model->synonyms;
    uint32_t i;
    if (stream->related == EA_ALL) return 0;
    EA_FOR_ANCESTORS(model, i, ancestor) {
        if (ancestor[0] == label && has_sounding_kind(stream, ancestor)) return 1;
        if (stream->related == EA_FIRST && has_kind(ancestor, label) &&
            is_sounding(stream, ancestor[0]))
            return 1;
    }
    if (stream->related == EA_FIRST) return 0;
    for (i = 0; i < model->n_synonyms; i++, pair += 2) {
        if (pair[0] == label && is_sounding(stream, pair[1])) return 1;
        if (pair[1] == label && is_sounding(stream, pair[0])) return 1;
    }
    return 0;
}

EA_COLD int ea_cut_ancestors(ea_stream *stream, uint32_t label, uint64_t sample, ea_list *list) {
    const uint16_t *ancestor;
    uint32_t i;
    if (stream->related != EA_MOST_SPECIFIC) return 1;
    EA_FOR_ANCESTORS(stream->model, i, ancestor) {
        ea_label_state *state = &stream->labels[ancestor[0]];
        const ea_start *start = &stream->starts[i];
        uint64_t end = sample > start->sample ? sample : start->sample;
        if (state->fate != EA_REPORTED || !has_kind(ancestor, label)) continue;
        if (!ea_report(list, ancestor[0], EA_END, end, start->score)) return 0;
        state->fate = EA_CUT;
    }
    return 1;
}

#endif
