/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: any bytes as an image. What ea_open accepts has to run, whatever its numbers are.
 * From this folder, with a corpus of real images (`edge_audio.engine.image.build_image`):
 *
 *     clang -std=c99 -g -O1 -ffp-contract=off -DEA_FUZZING -I../include \
 *         -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         fuzz_open.c $(find ../src -name "*.c") -o fuzz_open
 *     ./fuzz_open -max_len=65536 -max_total_time=300 corpus
 *
 * -DEA_FUZZING lets images with a wrong CRC-32 in. -DEA_PLAIN fuzzes the plain kernels.
 */
#include <stdlib.h>
#include <string.h>

#include "edge_audio.h"

#define MAX_STREAM_BYTES (1u << 26) /* a model may ask for more, but only slows the search */
#define MAX_QUIET_STEPS 4u          /* likewise */
#define MAX_PUSH_COST 4000000u      /* frames times points of their transforms */
#define CAPACITY 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_word(uint8_t *image, size_t at, uint32_t value) {
    memcpy(image + at, &value, sizeof value);
}

static void push(ea_stream *stream, const int16_t *samples, size_t n) {
    ea_event events[CAPACITY];
    size_t n_events;
    ea_status status = ea_push(stream, samples, n, events, CAPACITY, &n_events);
    if ((status != EA_OK && status != EA_EVENTS_FULL) || n_events > CAPACITY) abort();
}

/* Noise, silence, and the largest numbers there are. */
static void push_steps(const ea_model *model, ea_stream *stream) {
    size_t n = model->window + 2 * (size_t)ea_step_samples(model), i;
    int16_t *samples = malloc(n * sizeof *samples);
    uint32_t random = 1;
    if (!samples) abort();
    for (i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        samples[i] = i < n / 2 ? (int16_t)(random >> 16) : i < 3 * n / 4 ? 0 : -32768;
    }
    push(stream, samples, n / 3);
    push(stream, samples + n / 3, n - n / 3);
    free(samples);
}

static void run(const ea_model *model, size_t n_image_bytes) {
    size_t n_bytes = ea_state_size(model), n_events, i;
    ea_event events[CAPACITY];
    ea_stream *stream;
    float on, off;
    void *memory;
    uint64_t n_frames = model->window / model->hop + 2 * (uint64_t)model->frames_per_step;
    if (model->quiet_steps > MAX_QUIET_STEPS) return;
    if (n_bytes > MAX_STREAM_BYTES || n_frames * model->fft_size > MAX_PUSH_COST) return;
    memory = malloc(n_bytes);
    if (!memory) abort();
    if (ea_init(&stream, model, memory, n_bytes) != EA_OK) abort();
    for (i = 0; i < ea_n_labels(model); i++) {
        if (strlen(ea_label(model, (uint32_t)i)) > n_image_bytes) abort();
        if (ea_threshold(stream, (uint32_t)i, &on, &off) != EA_OK) abort();
    }
    push_steps(model, stream);
    for (i = 0; i <= 2 * (size_t)ea_n_labels(model) / CAPACITY; i++)
        (void)ea_flush(stream, events, CAPACITY, &n_events);
    if (ea_flush(stream, events, CAPACITY, &n_events) != EA_OK || n_events > 0) abort();
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *image = malloc(size ? size : 1); /* of that very size, to find what reads beyond */
    ea_model model;
    if (!image) abort();
    if (size) memcpy(image, data, size);
    if (size >= 16) set_word(image, 8, (uint32_t)size); /* or no change of length gets further */
    memset(&model, 0xa5, sizeof model);
    if (ea_open(&model, image, size) == EA_OK) run(&model, size);
    free(image);
    return 0;
}
