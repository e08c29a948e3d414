/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: the input is a list of calls on one block stream (host/edge_audio_host.h) of the image
 * in $EA_FUZZ_IMAGE, with packed weights. A second stream, without them, hears the same samples step
 * by step: scores and embeddings must be the same bits, and so must be what is known of labels that are
 * watched. From this folder:
 *
 *     clang -std=c99 -g -O1 -ffp-contract=off -DEA_HOST -march=native -I../include \
 *         -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         fuzz_blocks.c $(find ../src ../host -name "*.c") -o fuzz_blocks
 *     EA_FUZZ_IMAGE=micro.image ./fuzz_blocks -max_len=64 -max_total_time=300 corpus
 *
 * A call has four bytes: what to do, two of a number of samples, and what these are.
 */
#include <stdlib.h>
#include <string.h>

#include "../host/edge_audio_host.h"
#include "fuzz.h"

#define MAX_SAMPLES 8192 /* of one call: six steps */
#define MAX_STEPS 8

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    ea_model model;
    ea_block_stream *stream;
    void *quiet, *memory, *scratch;
    float *smoothed, *peak;
} listener;

static uint64_t image[1 << 18];
static listener subject, twin;
static uint32_t n_labels, random_bits, *labels;
static float *limits;
static uint8_t *is_active;

static void *some(size_t n) {
    void *memory = aligned_alloc(64, n ? (n + 63) / 64 * 64 : 64);
    require(memory != NULL, "memory");
    return memory;
}

static void open_listener(listener *l, size_t n_image_bytes, int is_packed) {
    float *scores;
    require(ea_open(&l->model, image, n_image_bytes) == EA_OK, "EA_FUZZ_IMAGE is a sound image");
    n_labels = ea_n_labels(&l->model);
    if (is_packed && ea_pack_size(&l->model)) ea_pack(&l->model, some(ea_pack_size(&l->model)));
    l->quiet = some(ea_network_size(&l->model));
    l->scratch = some(ea_scratch_size(&l->model));
    l->memory = some(ea_block_stream_size(&l->model));
    l->smoothed = malloc(n_labels * sizeof(float));
    l->peak = malloc(n_labels * sizeof(float));
    scores = malloc(n_labels * sizeof(float));
    require(l->smoothed && l->peak && scores, "memory");
    ea_begin(&l->model, l->quiet, scores, l->scratch);
    free(scores);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    size_t n = read_image(image, sizeof image);
    (void)argc;
    (void)argv;
    open_listener(&subject, n, 1);
    open_listener(&twin, n, 0);
    labels = malloc(n_labels * sizeof *labels);
    limits = malloc(n_labels * sizeof *limits);
    is_active = malloc(n_labels);
    require(labels && limits && is_active, "memory");
    return 0;
}

/* Noise of some level, or any bits: NaN, infinity, numbers that are too small to be normal. */
static void fill(float *samples, size_t n, uint8_t kind) {
    size_t i;
    for (i = 0; i < n; i++) {
        random_bits = random_bits * 1664525u + 1013904223u;
        if (kind % 4 == 0)
            memcpy(samples + i, &random_bits, sizeof *samples);
        else
            samples[i] = (float)(int32_t)random_bits / 2147483648.0f / (float)(1 << kind % 16);
    }
}

static size_t push(listener *l, const float *samples, size_t n, size_t capacity, float *scores,
                   float *embeddings) {
    size_t n_steps = ea_block_push(l->stream, samples, n, scores, embeddings, capacity, l->scratch);
    size_t i;
    require(n_steps <= capacity, "steps fit");
    for (i = 0; i < n_steps * n_labels; i++)
        require(scores[i] >= 0.0f && scores[i] <= 1.0f, "scores are probabilities");
    return n_steps;
}

static ea_watched watched_by(listener *l) {
    ea_watched watched = {0};
    watched.n = n_labels;
    watched.rise = 0.7f;
    watched.fall = 0.3f;
    watched.index = labels;
    watched.smoothed = l->smoothed;
    watched.peak = l->peak;
    watched.limit = limits;
    watched.is_active = is_active;
    return watched;
}

/* The subject is watched by blocks, from one crossing to the next, the twin step by step. */
static void watch_both(const float *scores, size_t n_steps) {
    ea_watched mine = watched_by(&subject), other = watched_by(&twin);
    size_t start = 0, n_quiet, i;
    while (start < n_steps) {
        n_quiet = ea_watch(&mine, scores + start * n_labels, n_steps - start, n_labels);
        require(n_quiet <= n_steps - start, "it ends where the scores do");
        for (i = 0; i < n_quiet; i++)
            require(ea_watch(&other, scores + (start + i) * n_labels, 1, n_labels) == 1,
                    "nothing has crossed before");
        start += n_quiet;
        if (start < n_steps) {
            require(ea_watch(&other, scores + start * n_labels, 1, n_labels) == 0,
                    "it has crossed");
            start++;
        }
    }
    require(!memcmp(subject.smoothed, twin.smoothed, n_labels * sizeof(float)), "smoothed scores");
    require(!memcmp(subject.peak, twin.peak, n_labels * sizeof(float)), "highest scores");
}

static void push_both(size_t n, uint8_t kind) {
    size_t dim = ea_embedding_dim(&subject.model),
           capacity = n / ea_step_samples(&subject.model) + 1;
    size_t n_steps, n_found = 0, n_piece, i;
    float *samples = malloc((n ? n : 1) * sizeof(float)), *scores, *embeddings, *ones, *others;
    scores = malloc(capacity * n_labels * sizeof(float));
    embeddings = malloc(capacity * dim * sizeof(float));
    ones = malloc(n_labels * sizeof(float));
    others = malloc(dim * sizeof(float));
    require(samples && scores && embeddings && ones && others && capacity <= MAX_STEPS, "memory");
    fill(samples, n, kind);
    n_steps = push(&subject, samples, n, capacity, scores, embeddings);
    for (i = 0; i < n; i += n_piece) {
        n_piece = n - i < 97 ? n - i : 97; /* never two steps */
        if (push(&twin, samples + i, n_piece, 1, ones, others)) {
            require(n_found < n_steps, "as many steps");
            require(!memcmp(scores + n_found * n_labels, ones, n_labels * sizeof(float)), "scores");
            require(!memcmp(embeddings + n_found * dim, others, dim * sizeof(float)), "embeddings");
            n_found++;
        }
    }
    require(n_found == n_steps, "as many steps");
    watch_both(scores, n_steps);
    free(samples);
    free(scores);
    free(embeddings);
    free(ones);
    free(others);
}

/* Both hear the same samples as a batch, the subject watched beside; the twin is watched behind. */
static void push_batch(size_t n, uint8_t kind) {
    size_t capacity = n / ea_step_samples(&subject.model) + 1, n_quiet;
    float *samples = malloc((2 * n + 1) * sizeof(float));
    float *scores = malloc(2 * capacity * n_labels * sizeof(float)), *others;
    ea_block_stream *streams[2] = {subject.stream, twin.stream};
    ea_watched mine = watched_by(&subject), other = watched_by(&twin);
    const ea_watched *watched[2] = {&mine, NULL};
    uint32_t n_steps[2], n_watched[2];
    require(samples && scores, "memory");
    fill(samples, n, kind);
    memcpy(samples + n, samples, n * sizeof(float));
    ea_batch_push(streams, watched, 2, samples, n, scores, capacity, n_steps, n_watched,
                  subject.scratch);
    others = scores + capacity * n_labels;
    require(n_steps[0] == n_steps[1] && n_steps[0] <= capacity, "as many steps");
    require(!memcmp(scores, others, n_steps[0] * n_labels * sizeof(float)), "scores");
    n_quiet = ea_watch(&other, others, n_steps[1], n_labels);
    require(n_watched[0] == n_quiet && n_watched[1] == 0, "as many are watched");
    require(!memcmp(subject.smoothed, twin.smoothed, n_labels * sizeof(float)), "smoothed scores");
    require(!memcmp(subject.peak, twin.peak, n_labels * sizeof(float)), "highest scores");
    free(samples);
    free(scores);
}

static void restart(listener *l) {
    l->stream = ea_block_begin(&l->model, l->quiet, l->memory);
    require(l->stream != NULL, "a stream");
}

static void choose_limits(uint8_t seed) {
    uint32_t i;
    for (i = 0; i < n_labels; i++) {
        labels[i] = (i + seed) % n_labels;
        is_active[i] = (uint8_t)((i ^ seed) % 3 == 0);
        limits[i] = (float)((i * 7 + seed) % 11) / 10.0f;
    }
}

static void call(const uint8_t *bytes) {
    size_t number = (size_t)bytes[1] << 8 | bytes[2];
    switch (bytes[0] % 8) {
        case 0:
            restart(&subject);
            restart(&twin);
            break;
        case 1:
            ea_block_forget(subject.stream);
            ea_block_forget(twin.stream);
            break;
        case 2: choose_limits(bytes[3]); break;
        case 3: push_batch(number % (MAX_SAMPLES + 1), bytes[3]); break;
        default: push_both(number % (MAX_SAMPLES + 1), bytes[3]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t i;
    random_bits = 1;
    for (i = 0; i < n_labels; i++)
        subject.smoothed[i] = subject.peak[i] = twin.smoothed[i] = twin.peak[i] = 0.0f;
    choose_limits(0);
    restart(&subject);
    restart(&twin);
    for (i = 0; i + 4 <= size; i += 4) call(data + i);
    return 0;
}
