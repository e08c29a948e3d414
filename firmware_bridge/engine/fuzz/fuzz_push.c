/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: the input is a list of calls on one stream of the image in $EA_FUZZ_IMAGE. A second
 * stream hears the same samples, one step at a time and with room for all events: scores and
 * embeddings must be the same bits, and events those that docs/engine.md promises. From this folder:
 *
 *     clang -std=c99 -g -O1 -ffp-contract=off -I../include \
 *         -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         fuzz_push.c $(find ../src -name "*.c") -o fuzz_push
 *     EA_FUZZ_IMAGE=micro.image ./fuzz_push -max_len=64 -max_total_time=300 corpus
 *
 * A call has four bytes: what to do, two of numbers, and how much room there is for events.
 */
#include <stdlib.h>
#include <string.h>

#include "edge_audio.h"
#include "fuzz.h"

#define MAX_LABELS 1024
#define MAX_SAMPLES 4096 /* of one call: three steps */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    ea_stream *stream;
    void *memory;
    int is_active[MAX_LABELS];
    uint64_t changed[MAX_LABELS]; /* when it last did */
} listener;

static ea_model model;
static listener subject, twin;
static uint32_t random_bits;

static void make_listener(listener *l) {
    l->memory = malloc(ea_state_size(&model));
    require(l->memory != NULL, "memory");
    require(ea_init(&l->stream, &model, l->memory, ea_state_size(&model)) == EA_OK, "ea_init");
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static uint64_t image[1 << 18];
    size_t n = read_image(image, sizeof image);
    (void)argc;
    (void)argv;
    require(ea_open(&model, image, n) == EA_OK, "EA_FUZZ_IMAGE is a sound image");
    require(ea_n_labels(&model) <= MAX_LABELS, "there are few labels");
    make_listener(&subject);
    make_listener(&twin);
    return 0;
}

/* Starts and ends of a label alternate, at rising times that have been heard. */
static void check_event(listener *l, const ea_event *event) {
    uint32_t label = event->label;
    require(label < ea_n_labels(&model), "the label exists");
    require((event->kind == EA_END) == l->is_active[label], "starts and ends alternate");
    require(event->sample >= l->changed[label], "times of a label rise");
    require(event->sample <= ea_n_samples(l->stream), "the time has been heard");
    require(event->score > 0.0f && event->score <= 1.0f, "the score is a probability");
    l->is_active[label] = event->kind == EA_START;
    l->changed[label] = event->sample;
}

static void check_call(listener *l, ea_status status, const ea_event *events, size_t n,
                       size_t capacity) {
    size_t i;
    require(status == EA_OK || status == EA_EVENTS_FULL, "the status");
    require(n <= capacity, "events fit");
    require(status == EA_OK || n == capacity, "it is full when it says so");
    for (i = 0; i < n; i++) check_event(l, &events[i]);
}

static ea_status push(listener *l, const int16_t *samples, size_t n, size_t capacity) {
    ea_event *events = malloc(capacity ? capacity * sizeof *events : 1);
    size_t n_events;
    ea_status status = ea_push(l->stream, samples, n, events, capacity, &n_events);
    check_call(l, status, events, n_events, capacity);
    free(events);
    return status;
}

static ea_status flush(listener *l, size_t capacity) {
    ea_event *events = malloc(capacity ? capacity * sizeof *events : 1);
    size_t n_events;
    ea_status status = ea_flush(l->stream, events, capacity, &n_events);
    check_call(l, status, events, n_events, capacity);
    free(events);
    return status;
}

static void forget(listener *l) {
    memset(l->is_active, 0, sizeof l->is_active);
    memset(l->changed, 0, sizeof l->changed);
}

static void restart(listener *l) {
    ea_reset(l->stream);
    forget(l);
}

static int16_t sample_of(uint32_t kind, size_t i) {
    random_bits = random_bits * 1664525u + 1013904223u;
    switch (kind % 4) {
        case 0: return 0;
        case 1: return (int16_t)(random_bits >> 16);
        case 2: return (int16_t)((int32_t)(random_bits >> 24) - 128);
        default: return i / 16 % 2 ? 32767 : -32768;
    }
}

static void push_both(uint32_t kind, size_t n, size_t capacity) {
    size_t capacity_of_all = 2 * (size_t)ea_n_labels(&model);
    int16_t *samples = malloc(n ? n * sizeof *samples : 1); /* to find what reads beyond */
    size_t i;
    for (i = 0; i < n; i++) samples[i] = sample_of(kind, i);
    (void)push(&subject, samples, n, capacity);
    i = 0;
    do {
        size_t left = n - i, step = ea_step_samples(&model);
        require(push(&twin, samples + i, left < step ? left : step, capacity_of_all) == EA_OK,
                "a step has no more than two events of each label");
        i += step;
    } while (i < n);
    free(samples);
}

/* Of both, to the end; then they start anew. */
static void flush_both(size_t capacity) {
    uint32_t label;
    if (!capacity) {
        (void)flush(&subject, 0);
        capacity = 1;
    }
    while (flush(&subject, capacity) == EA_EVENTS_FULL) continue;
    (void)flush(&twin, 2 * (size_t)ea_n_labels(&model));
    for (label = 0; label < ea_n_labels(&model); label++)
        require(!subject.is_active[label] && !twin.is_active[label], "a flush ends all events");
}

static void set_threshold(uint32_t label, uint32_t number) {
    float on = (float)(number % 16) / 15.0f, off = (float)(number / 16) / 15.0f * on;
    ea_status status = ea_set_threshold(subject.stream, label, on, off);
    require(status == ea_set_threshold(twin.stream, label, on, off), "statuses are equal");
    require(status == EA_OK || label >= ea_n_labels(&model) || off <= 0.0f, "it is accepted");
    if (status == EA_OK && on <= 0.0f) subject.is_active[label] = twin.is_active[label] = 0;
}

static void require_equal_outputs(void) {
    const float *one = ea_embedding(subject.stream), *other = ea_embedding(twin.stream);
    require(!memcmp(ea_scores(subject.stream), ea_scores(twin.stream),
                    ea_n_labels(&model) * sizeof(float)),
            "scores are the same bits");
    require(!one == !other, "both have an embedding, or none");
    require(!one || !memcmp(one, other, ea_embedding_dim(&model) * sizeof(float)),
            "embeddings are the same bits");
}

static void call(const uint8_t *bytes) {
    uint32_t number = (uint32_t)bytes[1] << 8 | bytes[2];
    size_t capacity = bytes[3] < 32 ? bytes[3] : 2 * (size_t)ea_n_labels(&model);
    switch (bytes[0] % 16) {
        case 0:
            restart(&subject);
            restart(&twin);
            break;
        case 1:
            flush_both(capacity);
            push_both(0, 0, 0); /* which starts both anew */
            forget(&subject);
            forget(&twin);
            break;
        case 2:
        case 3: set_threshold(bytes[1], bytes[2]); break;
        default: push_both(bytes[0] / 16, number % (MAX_SAMPLES + 1), capacity);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t label;
    float on, off;
    size_t i;
    random_bits = 1;
    for (label = 0; label < ea_n_labels(&model); label++) { /* those that inputs before left */
        on = 0.1f + 0.8f * (float)label / (float)ea_n_labels(&model);
        off = 0.9f * on;
        require(ea_set_threshold(subject.stream, label, on, off) == EA_OK, "a threshold");
        require(ea_set_threshold(twin.stream, label, on, off) == EA_OK, "a threshold");
    }
    restart(&subject);
    restart(&twin);
    for (i = 0; i + 4 <= size; i += 4) {
        call(data + i);
        require(ea_n_steps(subject.stream) == ea_n_steps(twin.stream), "steps are equal");
        require_equal_outputs();
    }
    return 0;
}
