/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream: samples to frames to scores to events.
 */
#include "events.h"
#include "frontend.h"

static uint32_t pcm_samples(const ea_model *model) {
    return model->window + (model->batch - 1) * model->hop;
}

/* Hands out memory, or only counts where `at` is null. */
static void *carve(uint8_t *memory, size_t *at, size_t n_bytes) {
    size_t begin = *at;
    *at += (n_bytes + EA_ALIGNMENT - 1) / EA_ALIGNMENT * EA_ALIGNMENT;
    return memory ? memory + begin : 0;
}

static size_t place(ea_stream *stream, const ea_model *model, uint8_t *memory) {
    size_t end = 0, n = model->n_labels;
    (void)carve(memory, &end, sizeof *stream);
    stream->network = carve(memory, &end, model->network_bytes);
    stream->pcm = carve(memory, &end, sizeof(int16_t) * pcm_samples(model));
    stream->scores = carve(memory, &end, sizeof(float) * n);
    stream->labels = carve(memory, &end, sizeof *stream->labels * n);
    stream->starts = carve(memory, &end, sizeof *stream->starts * EA_N_ANCESTORS(model));
    stream->scratch = carve(memory, &end, model->scratch_bytes);
    return end;
}

size_t ea_state_size(const ea_model *model) {
    ea_stream stream;
    return model ? place(&stream, model, 0) : 0;
}

EA_COLD ea_status ea_init(ea_stream **stream, const ea_model *model, void *memory, size_t n_bytes) {
    ea_stream *begin = memory;
    uint32_t i;
    if (!stream || !model || !memory) return EA_BAD_ARGUMENT;
    if ((uintptr_t)memory % EA_ALIGNMENT) return EA_UNALIGNED;
    if (n_bytes < ea_state_size(model)) return EA_TOO_SMALL;
    begin->model = model;
    (void)place(begin, model, memory);
    begin->related = EA_DEFAULT_RELATED(model);
    for (i = 0; i < model->n_labels; i++) {
        begin->labels[i].on = model->on[i];
        begin->labels[i].off = model->off[i];
    }
    ea_reset(begin);
    *stream = begin;
    return EA_OK;
}

EA_COLD void ea_reset(ea_stream *stream) {
    const ea_model *model = stream->model;
    uint32_t i;
    ea_begin(model, stream->network, stream->scores, stream->scratch);
    for (i = 0; i < model->n_labels; i++) {
        stream->scores[i] = 0.0f;
        ea_forget_label(&stream->labels[i]);
    }
    stream->n_samples = stream->n_steps = 0;
    stream->n_waiting = stream->is_ending = 0;
}

/* Samples */

static void hear_batch(ea_stream *stream, ea_list *list) {
    const ea_model *model = stream->model;
    float *frames = ea_frames(model, stream->scratch);
    uint32_t lane;
    for (lane = 0; lane < EA_LANES; lane++)
        ea_load_pcm(model, stream->pcm + (lane % model->batch) * model->hop, lane, stream->scratch);
    ea_transform(model, stream->scratch, model->batch, frames);
    for (lane = 0; lane < model->batch; lane++) {
        if (!ea_hear_frame(model, stream->network, frames + lane * model->n_mels, stream->scores,
                           stream->scratch))
            continue;
        stream->n_steps++;
        ea_detect(stream, list);
    }
}

/* Forgets the samples that no later window has. */
static void move_on(ea_stream *stream) {
    uint32_t n_used = stream->model->batch * stream->model->hop, i;
    stream->n_waiting -= n_used;
    for (i = 0; i < stream->n_waiting; i++) stream->pcm[i] = stream->pcm[i + n_used];
}

/* How many samples complete the next batch of frames. */
static size_t n_missing(const ea_stream *stream) {
    return pcm_samples(stream->model) - stream->n_waiting;
}

/* n <= n_missing samples. */
static void hear(ea_stream *stream, const int16_t *samples, size_t n, ea_list *list) {
    int16_t *to = stream->pcm + stream->n_waiting;
    size_t i;
    for (i = 0; i < n; i++) to[i] = samples[i];
    stream->n_waiting += (uint32_t)n;
    if (n_missing(stream) > 0) return;
    hear_batch(stream, list);
    move_on(stream);
}

static ea_status finish(const ea_list *list, size_t *n_events) {
    *n_events = list->n;
    return list->is_full ? EA_EVENTS_FULL : EA_OK;
}

ea_status ea_push(ea_stream *stream, const int16_t *samples, size_t n, ea_event *events,
                  size_t capacity, size_t *n_events) {
    ea_list list = {events, capacity, 0, 0};
    if (!stream || !n_events || (n > 0 && !samples) || (capacity > 0 && !events))
        return EA_BAD_ARGUMENT;
    *n_events = 0;
    if (stream->is_ending) ea_reset(stream);
    while (n > 0) {
        size_t n_heard = n < n_missing(stream) ? n : n_missing(stream);
        stream->n_samples += n_heard; /* before their events, whose times it bounds */
        hear(stream, samples, n_heard, &list);
        samples += n_heard;
        n -= n_heard;
    }
    return finish(&list, n_events);
}

/* Completes the step that has begun, if any, with zeros. */
static void complete_step(ea_stream *stream, ea_list *list) {
    static const int16_t silence = 0;
    const ea_model *model = stream->model;
    uint64_t n_steps = stream->n_steps;
    uint64_t end = n_steps ? model->window - model->hop + n_steps * ea_step_samples(model) : 0;
    if (stream->n_samples <= end) return;
    while (stream->n_steps == n_steps) hear(stream, &silence, 1, list);
}

EA_COLD ea_status ea_flush(ea_stream *stream, ea_event *events, size_t capacity, size_t *n_events) {
    ea_list list = {events, capacity, 0, 0};
    if (!stream || !n_events || (capacity > 0 && !events)) return EA_BAD_ARGUMENT;
    if (!stream->is_ending) complete_step(stream, &list);
    stream->is_ending = 1;
    ea_end_all(stream, &list);
    return finish(&list, n_events);
}

const float *ea_scores(const ea_stream *stream) { return stream->scores; }
const float *ea_embedding(const ea_stream *stream) {
    const ea_model *model = stream->model;
    uint64_t n_steps = stream->n_steps;
    uint64_t n_heard = stream->n_samples - stream->n_waiting; /* whose frames are all made */
    if (n_steps == 0) return 0;
    if (!stream->is_ending && n_heard > n_steps * ea_step_samples(model)) return 0;
    return ea_step_embedding(model, stream->scratch);
}

uint64_t ea_n_steps(const ea_stream *stream) { return stream->n_steps; }
uint64_t ea_n_samples(const ea_stream *stream) { return stream->n_samples; }

EA_COLD ea_status ea_set_threshold(ea_stream *stream, uint32_t label, float on, float off) {
    int is_off = on <= 0.0f && on >= 0.0f && off <= 0.0f && off >= 0.0f;
    if (!stream || label >= stream->model->n_labels) return EA_BAD_ARGUMENT;
    if (!is_off && !(off > 0.0f && off <= on && on <= 1.0f)) return EA_BAD_ARGUMENT;
    stream->labels[label].on = on;
    stream->labels[label].off = off;
    if (is_off)
        ea_forget_label(&stream->labels[label]);
    else
        (void)ea_is_beyond(stream, &stream->labels[label]);
    return EA_OK;
}

EA_COLD ea_status ea_threshold(const ea_stream *stream, uint32_t label, float *on, float *off) {
    if (!stream || !on || !off || label >= stream->model->n_labels) return EA_BAD_ARGUMENT;
    *on = stream->labels[label].on;
    *off = stream->labels[label].off;
    return EA_OK;
}

EA_COLD ea_status ea_set_related(ea_stream *stream, ea_related related) {
    if (!stream || (uint32_t)related > EA_FIRST) return EA_BAD_ARGUMENT;
    if (related != EA_ALL && EA_DEFAULT_RELATED(stream->model) == EA_ALL) return EA_BAD_ARGUMENT;
    stream->related = (uint8_t)related;
    return EA_OK;
}
