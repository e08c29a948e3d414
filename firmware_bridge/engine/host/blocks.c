/* SPDX-License-Identifier: Apache-2.0 */
#include "../src/engine.h"
#include "../src/numbers.h"
#include "edge_audio_host.h"

struct ea_block_stream {
    const ea_model *model;
    uint8_t *network;
    float *samples; /* of one step: those that the last one had as well, then new ones */
    uint32_t n_kept;
};

static uint32_t overlap_samples(const ea_model *model) { return model->window - model->hop; }

static size_t struct_bytes(void) {
    return ea_round_up((uint32_t)sizeof(ea_block_stream), EA_ALIGNMENT);
}

size_t ea_block_stream_size(const ea_model *model) {
    uint32_t n;
    if (!model) return 0;
    n = overlap_samples(model) + ea_step_samples(model);
    return struct_bytes() + model->network_bytes + 4 * (size_t)n;
}

ea_block_stream *ea_block_begin(const ea_model *model, const void *quiet, void *memory) {
    ea_block_stream *stream = memory;
    if (!model || !quiet || !memory) return 0;
    stream->model = model;
    stream->network = (uint8_t *)memory + struct_bytes();
    stream->samples = (float *)(void *)(stream->network + model->network_bytes);
    __builtin_memcpy(stream->network, quiet, model->network_bytes);
    ea_block_forget(stream);
    return stream;
}

void ea_block_forget(ea_block_stream *stream) { stream->n_kept = 0; }

static float within(float sample) {
    sample = sample == sample ? sample : 0.0f; /* NaN differs from itself */
    return ea_clip(sample, 1.0f);
}

/* Takes up to n samples into the step that waits; returns how many. */
static size_t fill(ea_block_stream *stream, const float *samples, size_t n) {
    const ea_model *model = stream->model;
    uint32_t n_step = overlap_samples(model) + ea_step_samples(model);
    uint32_t n_missing = n_step - stream->n_kept, i;
    float *to = stream->samples + stream->n_kept;
    if (n < n_missing) n_missing = (uint32_t)n;
    for (i = 0; i < n_missing; i++) to[i] = within(samples[i]);
    stream->n_kept += n_missing;
    return n_missing;
}

static void take_step(ea_block_stream *stream, float *scores, void *scratch) {
    const ea_model *model = stream->model;
    uint32_t n_overlap = overlap_samples(model), n_batch = model->batch, i, k;
    float *frames = ea_frames(model, scratch);
    for (i = 0; i < model->frames_per_step; i += n_batch) {
        ea_log_mel(model, stream->samples + i * model->hop, n_batch, frames, scratch);
        for (k = 0; k < n_batch; k++)
            (void)ea_hear_frame(model, stream->network, frames + k * model->n_mels, scores,
                                scratch);
    }
    __builtin_memmove(stream->samples, stream->samples + ea_step_samples(model),
                      sizeof(float) * n_overlap);
    stream->n_kept = n_overlap;
}

size_t ea_block_push(ea_block_stream *stream, const float *samples, size_t n, float *scores,
                     float *embeddings, size_t capacity, void *scratch) {
    const ea_model *model = stream->model;
    uint32_t n_step = overlap_samples(model) + ea_step_samples(model);
    size_t n_steps = 0;
    for (;;) {
        size_t n_taken = fill(stream, samples, n);
        samples += n_taken;
        n -= n_taken;
        if (stream->n_kept < n_step || n_steps == capacity) return n_steps;
        take_step(stream, scores + n_steps * model->n_labels, scratch);
        if (embeddings)
            __builtin_memcpy(embeddings + n_steps * model->embedding_dim,
                             ea_step_embedding(model, scratch),
                             sizeof(float) * model->embedding_dim);
        n_steps++;
    }
}

/* Takes the scores of one step; returns whether any label is beyond its limit. */
static int watch(const ea_watched *labels, const float *restrict scores) {
    const uint32_t *restrict index = labels->index;
    const float *restrict limit = labels->limit;
    const uint8_t *restrict is_active = labels->is_active;
    float *restrict smoothed = labels->smoothed, *restrict peak = labels->peak;
    float rise = labels->rise, fall = labels->fall;
    size_t n = labels->n, i;
    unsigned has_crossed = 0;
    for (i = 0; i < n; i++) {
        float score = scores[index[i]], change;
        score = score > 0.0f ? score : 0.0f; /* NaN too */
        score = score < 1.0f ? score : 1.0f;
        change = score - smoothed[i];
        smoothed[i] += change * (change > 0.0f ? rise : fall);
        peak[i] = ea_max(peak[i], smoothed[i]);
    }
    for (i = 0; i < n; i++) has_crossed |= (unsigned)(smoothed[i] >= limit[i]) ^ is_active[i];
    return has_crossed != 0;
}

size_t ea_watch(const ea_watched *labels, const float *scores, size_t n_steps, size_t n_labels) {
    size_t i;
    for (i = 0; i < n_steps; i++, scores += n_labels)
        if (watch(labels, scores)) break;
    return i;
}

void ea_batch_push(ea_block_stream *const *streams, const ea_watched *const *watched,
                   size_t n_streams, const float *samples, size_t n, float *scores, size_t capacity,
                   uint32_t *n_steps, uint32_t *n_watched, void *scratch) {
    size_t i;
    for (i = 0; i < n_streams; i++) {
        size_t n_labels = streams[i]->model->n_labels, n_found;
        n_found = ea_block_push(streams[i], samples, n, scores, 0, capacity, scratch);
        n_steps[i] = (uint32_t)n_found;
        n_watched[i] = watched[i] ? (uint32_t)ea_watch(watched[i], scores, n_found, n_labels) : 0;
        samples += n;
        scores += capacity * n_labels;
    }
}
