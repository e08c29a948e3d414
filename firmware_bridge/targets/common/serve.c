/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "edge_audio_image.h"
#include "edge_audio_link.h"
#include "listen.h"
#include "port.h"

#define BLOCK_SAMPLES 320u
#define SIGN_OF_LIFE_MS 1000u

static ea_link line;
static ea_event events[EA_LABELS];
static int16_t block[BLOCK_SAMPLES];

/* Hears the next block; at the end of the recording, ends the stream and returns 0. */
static int hear(ea_stream *stream, uint64_t *n_samples) {
    size_t n_events = 0, n = port_read(block, BLOCK_SAMPLES);
    if (n > 0) {
        ea_link_pcm(&line, block, n, *n_samples);
        (void)ea_push(stream, block, n, events, EA_LABELS, &n_events);
        ea_link_events(&line, events, n_events);
        ea_link_report(&line);
        *n_samples += n;
        return 1;
    }
    (void)ea_flush(stream, events, EA_LABELS, &n_events);
    ea_link_events(&line, events, n_events);
    ea_link_end(&line, *n_samples);
    return 0;
}

int serve(const char *path, uint32_t speed) {
    ea_model *model;
    ea_stream *stream;
    uint64_t n_samples = 0;
    uint32_t began_ms, said_ms = 0;
    int has_ended = 0;
    if (listen_start(&model, &stream) != EA_OK || !port_open(path)) return 1;
    ea_link_init(&line, model, stream, serial_write, 0);
    began_ms = serial_clock_ms();
    for (;;) {
        uint32_t heard_ms = (uint32_t)(n_samples * 1000u / ea_sample_rate_hz(model));
        uint32_t due_ms = speed ? heard_ms / speed : 0;
        int byte;
        while ((byte = serial_read()) >= 0) ea_link_receive(&line, (uint8_t)byte);
        if (ea_link_handle(&line)) {
            n_samples = 0;
            began_ms = serial_clock_ms();
            if (!port_open(path)) return 1;
            has_ended = 0;
        } else if (!has_ended && serial_clock_ms() - began_ms >= due_ms) {
            has_ended = !hear(stream, &n_samples);
            said_ms = serial_clock_ms();
        } else if (has_ended && serial_clock_ms() - said_ms >= SIGN_OF_LIFE_MS) {
            said_ms = serial_clock_ms();
            ea_link_end(&line, n_samples);
        } else if (!serial_wait()) {
            return 0;
        }
    }
}
