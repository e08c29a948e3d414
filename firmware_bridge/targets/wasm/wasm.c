/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine for JavaScript: one model, one stream, no imports, one fixed memory. Compiled by
 *
 *     python -m ziglang cc -target wasm32-freestanding -msimd128 -mbulk-memory -std=c99 -O3
 *         -ffp-contract=off -nostdlib -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=65536
 *         -Iengine/include -Iengine/src -o edge_audio.wasm
 *         targets/wasm/wasm.c and every .c of engine/src
 *
 * With -DEDGE_AUDIO_HAS_IMAGE and edge_audio_image.c the image is inside of the module; otherwise
 * JavaScript writes it to where edge_audio_reserve says. edge_audio.js hides all this.
 */
#include "edge_audio.h"
#include "kernels.h"

#ifdef EDGE_AUDIO_HAS_IMAGE
#include "edge_audio_image.h"
#endif

#define EXPORT(type, name) __attribute__((export_name(#name))) type name

/* For the image, unless it is inside, the state of the stream and its events. */
#ifndef EDGE_AUDIO_ARENA_BYTES
#define EDGE_AUDIO_ARENA_BYTES (2u << 20)
#endif

/* Of a step; models beyond them are EA_TOO_LARGE. */
#define MAX_STEP_SAMPLES 8192u
#define MAX_HEARD_SAMPLES (MAX_STEP_SAMPLES + EA_MAX_SIZE)
#define MAX_FRAME_VALUES 4096u

static uint64_t arena[EDGE_AUDIO_ARENA_BYTES / 8];
static size_t n_used_bytes; /* of the arena, by the image */

static ea_model model;
static ea_stream *stream;
static ea_event *events;
static size_t event_capacity;
static void *scratch;

static int16_t samples[MAX_STEP_SAMPLES];
static float heard[MAX_HEARD_SAMPLES]; /* the latest ones, for edge_audio_log_mel */
static float frames[MAX_FRAME_VALUES];
static uint32_t n_heard; /* of them: window + (frames_per_step - 1) * hop */

static void *take(size_t n_bytes) {
    size_t n_rounded = (n_bytes + 7u) / 8u * 8u;
    void *taken = (uint8_t *)arena + n_used_bytes;
    if (n_rounded < n_bytes || n_rounded > sizeof arena - n_used_bytes) return NULL;
    n_used_bytes += n_rounded;
    return taken;
}

/* Bytes of the image inside of the module, 0 if there is none. */
EXPORT(uint32_t, edge_audio_image_bytes)(void) {
#ifdef EDGE_AUDIO_HAS_IMAGE
    return EA_IMAGE_BYTES;
#else
    return 0;
#endif
}

/* Where to write an image of n_bytes; 0 if the arena is too small for it. */
EXPORT(void *, edge_audio_reserve)(uint32_t n_bytes) {
    stream = NULL;
    n_used_bytes = 0;
    return take(n_bytes);
}

static ea_status start(const void *image, size_t n_bytes) {
    size_t n_state_bytes;
    void *state;
    ea_status status = ea_open(&model, image, n_bytes);
    if (status != EA_OK) return status;
    n_heard = model.window + (model.frames_per_step - 1u) * model.hop;
    if (ea_step_samples(&model) > MAX_STEP_SAMPLES || n_heard > MAX_HEARD_SAMPLES ||
        model.frames_per_step > MAX_FRAME_VALUES / model.n_mels) {
        return EA_TOO_LARGE;
    }
    n_state_bytes = ea_state_size(&model);
    event_capacity = 2u * ea_n_labels(&model); /* what a flush can bring at most */
    state = take(n_state_bytes);
    events = take(event_capacity * sizeof *events);
    scratch = take(ea_scratch_size(&model));
    if (state == NULL || events == NULL || scratch == NULL) return EA_TOO_SMALL;
    return ea_init(&stream, &model, state, n_state_bytes);
}

/* Opens the image, of n_bytes in the arena or, with 0, the one inside, and starts a stream.
 * Returns an ea_status; nothing else may be called before it was EA_OK. */
EXPORT(int32_t, edge_audio_start)(uint32_t n_bytes) {
    stream = NULL;
    if (n_bytes > 0) {
        n_used_bytes = 0;
        if (take(n_bytes) == NULL) return EA_TOO_SMALL;
        return start(arena, n_bytes);
    }
#ifdef EDGE_AUDIO_HAS_IMAGE
    n_used_bytes = 0;
    return start(ea_image, EA_IMAGE_BYTES);
#else
    return EA_BAD_IMAGE;
#endif
}

static void remember(uint32_t n) {
    uint32_t i, n_kept = n < n_heard ? n_heard - n : 0;
    for (i = 0; i < n_kept; i++) heard[i] = heard[i + n_heard - n_kept];
    for (i = n_kept; i < n_heard; i++) {
        heard[i] = (float)samples[n - n_heard + i] * (1.0f / 32768.0f);
    }
}

/* Hears the first n of edge_audio_samples, a step at most. Returns how many events are at
 * edge_audio_events, or -ea_status. */
EXPORT(int32_t, edge_audio_push)(uint32_t n) {
    size_t n_events = 0;
    ea_status status;
    if (stream == NULL || n > ea_step_samples(&model)) return -(int32_t)EA_BAD_ARGUMENT;
    remember(n);
    status = ea_push(stream, samples, n, events, event_capacity, &n_events);
    return status == EA_OK ? (int32_t)n_events : -(int32_t)status;
}

/* Ends the stream; returns as edge_audio_push. */
EXPORT(int32_t, edge_audio_flush)(void) {
    size_t n_events = 0;
    ea_status status;
    if (stream == NULL) return -(int32_t)EA_BAD_ARGUMENT;
    status = ea_flush(stream, events, event_capacity, &n_events);
    return status == EA_OK ? (int32_t)n_events : -(int32_t)status;
}

EXPORT(void, edge_audio_reset)(void) {
    uint32_t i;
    for (i = 0; i < n_heard; i++) heard[i] = 0.0f;
    if (stream != NULL) ea_reset(stream);
}

/* Log-mel frames [edge_audio_n_frames][edge_audio_n_mels], as the network takes them, of the
 * samples heard last. */
EXPORT(const float *, edge_audio_log_mel)(void) {
    ea_log_mel(&model, heard, model.frames_per_step, frames, scratch);
    return frames;
}

/* An event of `label` starts at `on` and ends below `off`; returns an ea_status. */
EXPORT(int32_t, edge_audio_set_threshold)(uint32_t label, float on, float off) {
    return ea_set_threshold(stream, label, on, off);
}

/* What is reported of related labels, an ea_related; returns an ea_status. */
EXPORT(int32_t, edge_audio_set_related)(uint32_t related) {
    return ea_set_related(stream, (ea_related)related);
}

/* The threshold at which an event of `label` starts; 0 if it is switched off. */
EXPORT(float, edge_audio_threshold)(uint32_t label) {
    float on = 0.0f, off = 0.0f;
    return ea_threshold(stream, label, &on, &off) == EA_OK ? on : 0.0f;
}

EXPORT(int16_t *, edge_audio_samples)(void) { return samples; }
EXPORT(const ea_event *, edge_audio_events)(void) { return events; } /* 24 bytes each */
EXPORT(const float *, edge_audio_scores)(void) { return ea_scores(stream); }
EXPORT(uint64_t, edge_audio_n_steps)(void) { return ea_n_steps(stream); }
EXPORT(uint64_t, edge_audio_n_samples)(void) { return ea_n_samples(stream); }
EXPORT(uint32_t, edge_audio_n_labels)(void) { return ea_n_labels(&model); }
EXPORT(const char *, edge_audio_label)(uint32_t label) { return ea_label(&model, label); }
EXPORT(uint32_t, edge_audio_sample_rate_hz)(void) { return ea_sample_rate_hz(&model); }
EXPORT(uint32_t, edge_audio_step_samples)(void) { return ea_step_samples(&model); }
EXPORT(uint32_t, edge_audio_image_crc32)(void) { return ea_image_crc32(&model); }
EXPORT(const char *, edge_audio_kernels)(void) { return EA_KERNELS; }
EXPORT(uint32_t, edge_audio_n_frames)(void) { return model.frames_per_step; }
EXPORT(uint32_t, edge_audio_n_mels)(void) { return model.n_mels; }
