/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream: samples to frames to scores to events.
 */
#include "engine.h"
#include "frontend.h"
#include "numbers.h"

struct ea_stream {
    const ea_model *model;
    uint64_t n_samples, n_steps;
    uint32_t n_waiting, is_ending; /* samples in pcm; whether ea_flush has begun */
    void *network, *scratch;
    int16_t *pcm;                               /* of `batch` windows */
    float *scores, *smoothed, *peak, *on, *off; /* [n_labels] */
    uint32_t *crossed;  /* [n_labels]: steps since the threshold was crossed, plus 1; or 0 */
    uint8_t *is_active; /* [n_labels]: between start and end */
};

typedef struct {
    ea_event *events;
    size_t capacity, n;
    int is_full;
} ea_list;

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
    stream->smoothed = carve(memory, &end, sizeof(float) * n);
    stream->peak = carve(memory, &end, sizeof(float) * n);
    stream->on = carve(memory, &end, sizeof(float) * n);
    stream->off = carve(memory, &end, sizeof(float) * n);
    stream->crossed = carve(memory, &end, sizeof(uint32_t) * n);
    stream->is_active = carve(memory, &end, n);
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
    for (i = 0; i < model->n_labels; i++) {
        begin->on[i] = model->on[i];
        begin->off[i] = model->off[i];
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
        stream->scores[i] = stream->smoothed[i] = stream->peak[i] = 0.0f;
        stream->crossed[i] = 0;
        stream->is_active[i] = 0;
    }
    stream->n_samples = stream->n_steps = 0;
    stream->n_waiting = stream->is_ending = 0;
}

/* Events */

/* End of the last window of step n_steps; never beyond what was heard, though a flush pads. */
static uint64_t step_end(const ea_stream *stream, uint64_t n_steps) {
    const ea_model *model = stream->model;
    uint64_t end = model->window - model->hop + n_steps * ea_step_samples(model);
    return end < stream->n_samples ? end : stream->n_samples;
}

/* Of the step in which the label crossed its threshold. */
static uint64_t crossing(const ea_stream *stream, uint32_t label) {
    return step_end(stream, stream->n_steps + 1 - stream->crossed[label]);
}

static uint32_t wait_steps(const ea_stream *stream, uint32_t label) {
    return stream->is_active[label] ? stream->model->min_off_steps : stream->model->min_on_steps;
}

/* Whether the label has been beyond its threshold for long enough. A step that a flush pads only
 * counts for what was heard of it. */
static int is_due(const ea_stream *stream, uint32_t label) {
    uint32_t crossed = stream->crossed[label], wait = wait_steps(stream, label);
    uint64_t heard;
    if (crossed == 0 || crossed > wait + 1) return crossed > 0;
    heard = step_end(stream, stream->n_steps) - crossing(stream, label);
    return heard >= (uint64_t)wait * ea_step_samples(stream->model);
}

/* Keeps the events from `first` on in the order of their times. */
static void insert(ea_list *list, size_t first, ea_event event) {
    size_t i = list->n++;
    for (; i > first && list->events[i - 1].sample > event.sample; i--)
        list->events[i] = list->events[i - 1];
    list->events[i] = event;
}

/* Starts a label that is inactive, ends one that is active; unless there is no room. */
static void toggle(ea_stream *stream, uint32_t label, uint64_t sample, ea_list *list,
                   size_t first) {
    int was_active = stream->is_active[label];
    ea_event event;
    if (list->n == list->capacity) {
        list->is_full = 1;
        return;
    }
    event.sample = sample;
    event.label = label;
    event.kind = was_active ? EA_END : EA_START;
    event.score = was_active ? stream->peak[label] : stream->smoothed[label];
    insert(list, first, event);
    stream->is_active[label] = (uint8_t)!was_active;
    stream->peak[label] = stream->smoothed[label];
    stream->crossed[label] = 0;
}

/* Smoothing, quicker where scores rise, then hysteresis with least durations. */
static void detect(ea_stream *stream, uint32_t label, ea_list *list, size_t first) {
    const ea_model *model = stream->model;
    int is_active = stream->is_active[label];
    float limit = is_active ? stream->off[label] : stream->on[label];
    float *smoothed = &stream->smoothed[label];
    float change = stream->scores[label] - *smoothed;
    *smoothed += change * (change > 0.0f ? model->attack : model->smoothing);
    stream->peak[label] = ea_max(stream->peak[label], *smoothed);
    /* What is due and found no room stays due, whatever is heard meanwhile. */
    if ((*smoothed >= limit) == is_active && stream->crossed[label] <= wait_steps(stream, label)) {
        stream->crossed[label] = 0;
        return;
    }
    if (stream->crossed[label] < UINT32_MAX) stream->crossed[label]++;
    if (is_due(stream, label)) toggle(stream, label, crossing(stream, label), list, first);
}

static void detect_all(ea_stream *stream, ea_list *list) {
    size_t first = list->n;
    uint32_t label;
    for (label = 0; label < stream->model->n_labels; label++)
        if (stream->on[label] > 0.0f) detect(stream, label, list, first);
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
        detect_all(stream, list);
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
    size_t first;
    uint32_t label;
    if (!stream || !n_events || (capacity > 0 && !events)) return EA_BAD_ARGUMENT;
    if (!stream->is_ending) complete_step(stream, &list);
    stream->is_ending = 1;
    first = list.n;
    for (label = 0; label < stream->model->n_labels; label++) {
        uint64_t end;
        if (is_due(stream, label)) toggle(stream, label, crossing(stream, label), &list, first);
        end = stream->crossed[label] ? crossing(stream, label) : stream->n_samples;
        if (stream->is_active[label]) toggle(stream, label, end, &list, first);
    }
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
    stream->on[label] = on;
    stream->off[label] = off;
    if (is_off) {
        stream->smoothed[label] = stream->peak[label] = 0.0f;
        stream->crossed[label] = 0;
        stream->is_active[label] = 0;
    }
    return EA_OK;
}

EA_COLD ea_status ea_threshold(const ea_stream *stream, uint32_t label, float *on, float *off) {
    if (!stream || !on || !off || label >= stream->model->n_labels) return EA_BAD_ARGUMENT;
    *on = stream->on[label];
    *off = stream->off[label];
    return EA_OK;
}
