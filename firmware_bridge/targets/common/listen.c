/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include "edge_audio_image.h"
#include "kernels.h"
#include "port.h"
#include "report.h"

#define BLOCK_SAMPLES 64u /* 4 ms, such as a DMA would deliver; less than a step */

static ea_model the_model;
static uint64_t memory[(EA_STREAM_BYTES + 7u) / 8u];
static int16_t block[BLOCK_SAMPLES];
static ea_event events[EA_LABELS];

ea_status listen_start(ea_model **model, ea_stream **stream) {
    ea_status status = ea_open(&the_model, ea_image, EA_IMAGE_BYTES);
    if (status == EA_OK) status = ea_init(stream, &the_model, memory, sizeof memory);
    if (status != EA_OK) report_error(report_status(status));
    *model = &the_model;
    return status;
}

static void report_events(const ea_model *model, size_t n_events) {
    size_t i;
    for (i = 0; i < n_events; i++) report_event(model, &events[i]);
}

/* Ends the stream. Each label may start and end in it, for which `events` has not room at once. */
static ea_status report_last_events(const ea_model *model, ea_stream *stream) {
    size_t n_events = 0;
    ea_status status;
    do {
        status = ea_flush(stream, events, EA_LABELS, &n_events);
        report_events(model, n_events);
    } while (status == EA_EVENTS_FULL);
    return status;
}

static void report_step(uint64_t step, uint32_t hash) {
    port_write("{\"step\":");
    report_number(step);
    port_write(",\"hash\":\"");
    report_hex(hash);
    port_write("\"}\n");
}

static void report_end(const ea_model *model, const ea_stream *stream, uint32_t hash,
                       uint64_t ticks) {
    port_write("{\"steps\":");
    report_number(ea_n_steps(stream));
    port_write(",\"samples\":");
    report_number(ea_n_samples(stream));
    port_write(",\"hash\":\"");
    report_hex(hash);
    port_write("\",\"image\":\"");
    report_hex(ea_image_crc32(model));
    port_write("\",\"kernels\":\"" EA_KERNELS "\",\"ticks\":");
    report_number(ticks);
    port_write(",\"ticks_hz\":");
    report_number(port_ticks_hz());
    port_write("}\n");
}

int listen_to_end(int with_steps) {
    ea_model *model;
    ea_stream *stream;
    ea_status status = listen_start(&model, &stream);
    uint32_t hash = EA_HASH_START;
    uint64_t n_steps = 0, ticks = 0;
    size_t n, n_events = 0;
    if (status != EA_OK) return 1;
    while ((n = port_read(block, BLOCK_SAMPLES)) > 0) {
        uint32_t start = port_ticks();
        status = ea_push(stream, block, n, events, EA_LABELS, &n_events);
        ticks += (port_ticks() - start) & 0xffffffu;
        if (status != EA_OK && status != EA_EVENTS_FULL) break; /* the next push brings the rest */
        status = EA_OK;
        report_events(model, n_events);
        if (ea_n_steps(stream) != n_steps) {
            n_steps = ea_n_steps(stream);
            hash = report_hash(hash, ea_scores(stream), EA_LABELS);
            if (with_steps) report_step(n_steps, hash);
        }
    }
    if (status == EA_OK) {
        report_end(model, stream, hash, ticks);
        status = report_last_events(model, stream);
    }
    if (status != EA_OK) report_error(report_status(status));
    return status == EA_OK ? 0 : 1;
}
