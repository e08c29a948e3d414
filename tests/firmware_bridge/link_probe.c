/* SPDX-License-Identifier: Apache-2.0
 *
 * The link with its stream, for tests: as a library, or as a program that hears bytes from stdin
 * as if they came from a host: IMAGE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge_audio_link.h"

#define MAX_LABELS 1024
#define STEP_SAMPLES 1280

static ea_model model;
static ea_stream *stream;
static ea_link line;
static ea_event events[MAX_LABELS];
static uint8_t sent[1 << 16];
static size_t n_sent;
static int has_room = 1;

static int keep(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    if (!has_room || n > sizeof sent - n_sent) return 0;
    memcpy(sent + n_sent, bytes, n);
    n_sent += n;
    return 1;
}

/* The status of the first engine call that fails. The image has to stay where it is. */
int probe_open(const void *image, size_t n_bytes) {
    static void *memory;
    ea_status status = ea_open(&model, image, n_bytes);
    if (status != EA_OK) return status;
    free(memory);
    memory = calloc(1, ea_state_size(&model));
    status = ea_init(&stream, &model, memory, ea_state_size(&model));
    n_sent = 0;
    has_room = 1;
    if (status == EA_OK) ea_link_init(&line, &model, stream, keep, NULL);
    return status;
}

void probe_set_room(int room) { has_room = room; }

int probe_receive(const uint8_t *bytes, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) ea_link_receive(&line, bytes[i]);
    return ea_link_handle(&line);
}

/* Receives without handling. */
void probe_flood(const uint8_t *bytes, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) ea_link_receive(&line, bytes[i]);
}

/* What was sent since the last call, at most 65536 bytes. */
size_t probe_take(uint8_t *bytes) {
    size_t n = n_sent;
    memcpy(bytes, sent, n);
    n_sent = 0;
    return n;
}

void probe_push(const int16_t *samples, size_t n) {
    while (n > 0) {
        size_t n_events = 0, n_now = n < STEP_SAMPLES ? n : STEP_SAMPLES;
        ea_link_pcm(&line, samples, n_now, ea_n_samples(stream));
        (void)ea_push(stream, samples, n_now, events, MAX_LABELS, &n_events);
        ea_link_events(&line, events, n_events);
        ea_link_report(&line);
        samples += n_now;
        n -= n_now;
    }
}

void probe_flush(void) {
    size_t n_events = 0;
    (void)ea_flush(stream, events, MAX_LABELS, &n_events);
    ea_link_events(&line, events, n_events);
}

void probe_scores(float *scores) {
    memcpy(scores, ea_scores(stream), sizeof(float) * ea_n_labels(&model));
}

void probe_threshold(uint32_t label, float *on_off) {
    (void)ea_threshold(stream, label, on_off, on_off + 1);
}

int main(int argc, char **argv) {
    static uint64_t image[1 << 18];
    static const int16_t silence[2 * STEP_SAMPLES];
    uint8_t bytes[300];
    size_t n;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || probe_open(image, fread(image, 1, sizeof image, file)) != EA_OK) return 2;
    while ((n = fread(bytes, 1, sizeof bytes, stdin)) > 0) {
        (void)probe_receive(bytes, n);
        probe_push(silence, n % sizeof silence / 2);
        n_sent = 0;
    }
    printf("%u bad, %u of another version, %u overruns\n", line.errors.rx_bad,
           line.errors.rx_version, line.errors.rx_overruns);
    return 0;
}
