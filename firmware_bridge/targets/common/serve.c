/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "edge_audio_image.h"
#include "edge_audio_link.h"
#include "listen.h"
#include "port.h"
#include "serial_port.h"

#define BLOCK_SAMPLES 320u
#define SIGN_OF_LIFE_MS 1000u

static ea_model *model;
static ea_stream *stream;
static ea_link line;
static ea_event events[EA_LABELS];
static int16_t block[BLOCK_SAMPLES];

static struct {
    uint32_t speed, began_ms, said_ms; /* said_ms: when the host last heard of the recording */
    uint64_t n_samples;                /* heard so far */
    int has_ended;
} replay;

static int begin(const char *path) {
    replay.n_samples = 0;
    replay.has_ended = 0;
    replay.began_ms = serial_clock_ms();
    return port_open(path);
}

/* Whether the next block would be recorded by now; without a speed it always is. */
static int is_block_due(void) {
    uint32_t heard_ms = (uint32_t)(replay.n_samples * 1000u / ea_sample_rate_hz(model));
    if (replay.speed == 0) return 1;
    return serial_clock_ms() - replay.began_ms >= heard_ms / replay.speed;
}

static void hear(size_t n) {
    size_t n_events = 0;
    ea_link_pcm(&line, block, n, replay.n_samples);
    (void)ea_push(stream, block, n, events, EA_LABELS, &n_events);
    ea_link_events(&line, events, n_events);
    ea_link_report(&line);
    replay.n_samples += n;
}

/* Each label may start and end in a flush, for which `events` has not room at once. */
static void end(void) {
    size_t n_events = 0;
    ea_status status;
    do {
        status = ea_flush(stream, events, EA_LABELS, &n_events);
        ea_link_events(&line, events, n_events);
    } while (status == EA_EVENTS_FULL);
    ea_link_end(&line, replay.n_samples);
    replay.has_ended = 1;
}

/* Hears the next block, or says once more that there is none; returns 0 where neither is due. */
static int advance(void) {
    if (!replay.has_ended) {
        size_t n;
        if (!is_block_due()) return 0;
        n = port_read(block, BLOCK_SAMPLES);
        if (n > 0)
            hear(n);
        else
            end();
    } else {
        if (serial_clock_ms() - replay.said_ms < SIGN_OF_LIFE_MS) return 0;
        ea_link_end(&line, replay.n_samples);
    }
    replay.said_ms = serial_clock_ms();
    return 1;
}

int serve(const char *path, uint32_t speed) {
    if (listen_start(&model, &stream) != EA_OK) return 1;
    replay.speed = speed;
    if (!begin(path)) return 1;
    ea_link_init(&line, model, stream, serial_write, 0);
    for (;;) {
        int byte;
        while ((byte = serial_read()) >= 0) ea_link_receive(&line, (uint8_t)byte);
        if (ea_link_handle(&line)) {
            if (!begin(path)) return 1;
        } else if (!advance() && !serial_wait()) {
            return 0;
        }
    }
}
