/* SPDX-License-Identifier: Apache-2.0
 *
 * edge-audio link: events, scores and settings of a stream over a serial line, for `edge-audio
 * listen --source serial:PORT`. docs/serial-protocol.md describes every byte.
 *
 *     static ea_link link;
 *     ea_link_init(&link, &model, stream, write_uart, NULL);     // says hello
 *     ea_link_receive(&link, byte);                              // for every byte, as it comes
 *     ...
 *     if (ea_link_handle(&link)) { the host started anew: drop audio that still waits }
 *     ea_push(stream, samples, n, events, capacity, &n_events);  // at most one step at a time
 *     ea_link_events(&link, events, n_events);                   // the same after each ea_flush
 *     ea_link_report(&link);                                     // scores and counters, when due
 *
 * ea_link_receive may be called from one interrupt; all else belongs to the thread that pushes.
 */
#ifndef EDGE_AUDIO_LINK_H
#define EDGE_AUDIO_LINK_H

#include "edge_audio.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EA_LINK_VERSION 1u
#define EA_LINK_MAX_PAYLOAD 254u /* bytes, header and CRC included: one group of COBS */
#define EA_LINK_MAX_FRAME (EA_LINK_MAX_PAYLOAD + 3u)
#define EA_LINK_MAX_TOP 48u      /* scores in one frame */
#define EA_LINK_PCM_SAMPLES 120u /* samples in one frame */
#define EA_LINK_ALL 0xffffu      /* in SET_THRESHOLD: every label */
#define EA_LINK_RING 512u        /* received bytes that may wait; a power of two */

/* Types of frames; those of commands have the highest bit. */
enum {
    EA_LINK_HELLO = 0x01,
    EA_LINK_LABEL = 0x02,
    EA_LINK_EVENT = 0x03,
    EA_LINK_SCORES = 0x04,
    EA_LINK_STATS = 0x05,
    EA_LINK_PCM = 0x06,
    EA_LINK_ACK = 0x07,
    EA_LINK_END = 0x08,
    EA_LINK_QUERY = 0x81,
    EA_LINK_SET_THRESHOLD = 0x82,
    EA_LINK_RESET = 0x83,
    EA_LINK_SET_STREAM = 0x84,
    EA_LINK_SET_RELATED = 0x85
};

enum { EA_LINK_QUERY_HELLO = 0, EA_LINK_QUERY_LABELS = 1, EA_LINK_QUERY_STATS = 2 };

/* Flags of SET_STREAM. */
enum {
    EA_LINK_WITH_EVENTS = 1,
    EA_LINK_WITH_PCM = 2,
    EA_LINK_TOP_OF_WATCHED = 4 /* rank only labels that have a threshold */
};

/* Status in an ACK. */
enum { EA_LINK_DONE = 0, EA_LINK_BAD_ARGUMENT = 1, EA_LINK_UNKNOWN = 2, EA_LINK_BAD_LENGTH = 3 };

/* Takes one frame whole and returns nonzero, or, where it has no room, drops it whole and returns
 * 0. It should not wait: audio does not. */
typedef int (*ea_link_write)(void *context, const uint8_t *bytes, size_t n);

/* What went wrong since ea_link_init. */
typedef struct {
    uint32_t rx_bad;        /* frames with a wrong CRC, wrong COBS, or too short or long */
    uint32_t rx_version;    /* frames of another version */
    uint32_t rx_overruns;   /* bytes received while the ring was full */
    uint32_t tx_drops;      /* frames that `write` had no room for */
    uint32_t audio_dropped; /* samples that the program lost before ea_push: for it to count */
} ea_link_errors;

typedef struct {
    const ea_model *model;
    ea_stream *stream;
    ea_link_write write;
    void *context;
    ea_link_errors errors;
    uint64_t stats_at;                /* ea_n_samples at the latest STATS */
    uint32_t scores_at, scores_every; /* ea_n_steps at the latest SCORES; 0 = never */
    uint32_t n_top, flags, n_events;  /* n_events: since the start of the stream */
    uint32_t latest_command;          /* type and sequence */
    volatile uint32_t n_received;     /* bytes put into the ring */
    volatile uint32_t n_taken;        /* ... and taken out */
    uint32_t n_rx;                    /* bytes of the frame that is being received */
    uint8_t sequence;
    volatile uint8_t ring[EA_LINK_RING];
    uint8_t rx[EA_LINK_MAX_PAYLOAD + 1u];
    uint8_t tx[EA_LINK_MAX_FRAME];
} ea_link;

/* Starts the link of a stream and sends HELLO, with which a host notices a reboot. Events are
 * sent from then on; scores and PCM when a host asks for them. */
void ea_link_init(ea_link *link, const ea_model *model, ea_stream *stream, ea_link_write write,
                  void *context);

/* Keeps a received byte for ea_link_handle. */
void ea_link_receive(ea_link *link, uint8_t byte);

/* Obeys the commands received so far. Returns nonzero if the stream was reset by one of them. */
int ea_link_handle(ea_link *link);

/* Sends events as ea_push or ea_flush gave them. */
void ea_link_events(ea_link *link, const ea_event *events, size_t n_events);

/* After every ea_push: sends SCORES if they are due, and STATS once in a second of audio, which
 * tells a host that the device still listens. */
void ea_link_report(ea_link *link);

/* Sends samples if a host asked for them, the first of which has this position in the stream. */
void ea_link_pcm(ea_link *link, const int16_t *samples, size_t n, uint64_t position);

/* The audio has ended after that many samples, and ea_flush was called. To be sent again about
 * every second, for a host that missed it. A microphone never ends. */
void ea_link_end(ea_link *link, uint64_t n_samples);

/* Sends STATS now: for a program that waits for its audio to begin. */
void ea_link_stats(ea_link *link);

#ifdef __cplusplus
}
#endif

#endif
