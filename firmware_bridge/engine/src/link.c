/* SPDX-License-Identifier: Apache-2.0
 *
 * Serial link: frames of [version][type][sequence][body][CRC-16], COBS between zeros.
 */
#include "edge_audio_link.h"

enum { HEADER_BYTES = 3, CRC_BYTES = 2, BODY_AT = 2 + HEADER_BYTES };
enum { THRESHOLD_BYTES = 10, LABEL_HEAD_BYTES = 10, SCORES_HEAD_BYTES = 4, PCM_HEAD_BYTES = 8 };
#define MAX_BODY (EA_LINK_MAX_PAYLOAD - HEADER_BYTES - CRC_BYTES)
#define NO_COMMAND 0xffffffffu

typedef union {
    float value;
    uint32_t bits;
} float_bits;

/* ---- numbers, least significant byte first ---- */

static uint8_t *put(uint8_t *at, uint64_t value, uint32_t n_bytes) {
    for (uint32_t i = 0; i < n_bytes; i++) {
        at[i] = (uint8_t)(value >> (8u * i) & 0xffu);
    }
    return at + n_bytes;
}

static uint8_t *put_float(uint8_t *at, float value) {
    float_bits number;
    number.value = value;
    return put(at, number.bits, 4);
}

static uint32_t get(const uint8_t *at, uint32_t n_bytes) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        value |= (uint32_t)at[i] << (8u * i);
    }
    return value;
}

static float get_float(const uint8_t *at) {
    float_bits number;
    number.bits = get(at, 4);
    return number.value;
}

/* CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xffff, bits not reflected. */
static uint32_t crc16(const uint8_t *bytes, uint32_t n) {
    uint32_t crc = 0xffffu;
    for (uint32_t i = 0; i < n; i++) {
        crc ^= (uint32_t)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000u) ? (crc << 1 ^ 0x1021u) & 0xffffu : crc << 1;
        }
    }
    return crc;
}

/* ---- sending ---- */

/* Where the body of the next frame goes: tx is [0][COBS code][payload][0], and at most 254 bytes
 * of payload stay where they are when they are encoded. */
static uint8_t *body_of(ea_link *link) {
    return link->tx + BODY_AT;
}

/* Replaces each zero of tx[2 .. end) by the distance to the next; tx[1] leads to the first. */
static void encode(uint8_t *tx, uint32_t end) {
    uint32_t zero_at = 1;
    for (uint32_t i = 2; i < end; i++) {
        if (tx[i] == 0) {
            tx[zero_at] = (uint8_t)(i - zero_at);
            zero_at = i;
        }
    }
    tx[zero_at] = (uint8_t)(end - zero_at);
}

/* Completes the frame whose body ends at `body_end`, and sends it. A frame that is dropped takes
 * its number along, so that the host can count it as lost. */
static void send(ea_link *link, uint32_t type, const uint8_t *body_end) {
    uint8_t *tx = link->tx;
    uint32_t end = (uint32_t)(body_end - tx);
    tx[0] = 0;
    tx[2] = EA_LINK_VERSION;
    tx[3] = (uint8_t)type;
    tx[4] = link->sequence++;
    put(tx + end, crc16(tx + 2, end - 2u), CRC_BYTES);
    end += CRC_BYTES;
    encode(tx, end);
    tx[end] = 0;
    if (!link->write(link->context, tx, end + 1u)) {
        link->errors.tx_drops++;
    }
}

static void send_hello(ea_link *link, uint32_t is_boot) {
    const ea_model *model = link->model;
    uint8_t *at = body_of(link);
    at = put(at, ea_image_crc32(model), 4);
    at = put(at, ea_sample_rate_hz(model), 4);
    at = put(at, ea_n_labels(model), 2);
    at = put(at, ea_step_samples(model), 2);
    at = put(at, model->window - model->hop, 2);
    at = put(at, EA_LINK_MAX_TOP, 1);
    at = put(at, is_boot, 1);
    send(link, EA_LINK_HELLO, at);
}

/* The number of bytes of a name that fit, whole characters of UTF-8 only. */
static uint32_t name_bytes(const char *name, uint32_t limit) {
    uint32_t n = 0;
    while (n < limit && name[n] != 0) {
        n++;
    }
    if (name[n] != 0) {
        while (n > 0 && ((uint8_t)name[n] & 0xc0u) == 0x80u) {
            n--;
        }
    }
    return n;
}

static void send_label(ea_link *link, uint32_t label) {
    const char *name = ea_label(link->model, label);
    uint32_t n = name_bytes(name, MAX_BODY - LABEL_HEAD_BYTES);
    uint8_t *at = put(body_of(link), label, 2);
    at = put_float(at, link->model->on[label]);
    at = put_float(at, link->model->off[label]);
    for (uint32_t i = 0; i < n; i++) {
        *at++ = (uint8_t)name[i];
    }
    send(link, EA_LINK_LABEL, at);
}

static int is_watched(const ea_link *link, uint32_t label) {
    float on = 0.0f, off = 0.0f;
    return ea_threshold(link->stream, label, &on, &off) == EA_OK && on > 0.0f;
}

/* Indices of the highest scores into best[n_top], equal ones in their order; their number. */
static uint32_t rank(const ea_link *link, const float *scores, uint16_t *best) {
    uint32_t n = 0;
    for (uint32_t label = 0; label < ea_n_labels(link->model); label++) {
        if ((link->flags & EA_LINK_TOP_OF_WATCHED) && !is_watched(link, label)) {
            continue;
        }
        uint32_t place = n;
        while (place > 0 && scores[label] > scores[best[place - 1u]]) {
            place--;
        }
        if (place == link->n_top) {
            continue;
        }
        n += n < link->n_top;
        for (uint32_t i = n - 1u; i > place; i--) {
            best[i] = best[i - 1u];
        }
        best[place] = (uint16_t)label;
    }
    return n;
}

static void send_scores(ea_link *link) {
    uint16_t best[EA_LINK_MAX_TOP];
    const float *scores = ea_scores(link->stream);
    uint32_t n = rank(link, scores, best);
    uint8_t *at = put(body_of(link), ea_n_steps(link->stream), SCORES_HEAD_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        at = put(at, best[i], 2);
        at = put(at, (uint32_t)(scores[best[i]] * 65535.0f + 0.5f), 2);
    }
    send(link, EA_LINK_SCORES, at);
}

void ea_link_stats(ea_link *link) {
    const ea_link_errors *errors = &link->errors;
    uint8_t *at = put(body_of(link), ea_n_samples(link->stream), 8);
    at = put(at, ea_n_steps(link->stream), 4);
    at = put(at, link->n_events, 4);
    at = put(at, errors->rx_bad, 4);
    at = put(at, errors->rx_version, 4);
    at = put(at, errors->rx_overruns, 4);
    at = put(at, errors->tx_drops, 4);
    at = put(at, errors->audio_dropped, 4);
    send(link, EA_LINK_STATS, at);
    link->stats_at = ea_n_samples(link->stream);
}

void ea_link_events(ea_link *link, const ea_event *events, size_t n_events) {
    for (size_t i = 0; i < n_events; i++) {
        link->n_events++;
        if (link->flags & EA_LINK_WITH_EVENTS) {
            uint8_t *at = put(body_of(link), events[i].sample, 8);
            at = put(at, events[i].label, 2);
            at = put(at, (uint32_t)events[i].kind, 1);
            at = put_float(at, events[i].score);
            send(link, EA_LINK_EVENT, at);
        }
    }
}

void ea_link_pcm(ea_link *link, const int16_t *samples, size_t n, uint64_t position) {
    while (n > 0 && (link->flags & EA_LINK_WITH_PCM)) {
        uint32_t n_now = n < EA_LINK_PCM_SAMPLES ? (uint32_t)n : EA_LINK_PCM_SAMPLES;
        uint8_t *at = put(body_of(link), position, PCM_HEAD_BYTES);
        for (uint32_t i = 0; i < n_now; i++) {
            at = put(at, (uint16_t)samples[i], 2);
        }
        send(link, EA_LINK_PCM, at);
        samples += n_now;
        position += n_now;
        n -= n_now;
    }
}

void ea_link_end(ea_link *link, uint64_t n_samples) {
    send(link, EA_LINK_END, put(body_of(link), n_samples, 8));
}

/* The counters of a stream that starts anew. */
static void restart(ea_link *link) {
    link->stats_at = 0;
    link->scores_at = 0;
    link->n_events = 0;
}

void ea_link_report(ea_link *link) {
    uint32_t n_steps = (uint32_t)ea_n_steps(link->stream);
    if (ea_n_samples(link->stream) < link->stats_at || n_steps < link->scores_at) {
        restart(link); /* the program called ea_reset or ea_flush */
    }
    if (link->scores_every && n_steps - link->scores_at >= link->scores_every) {
        link->scores_at = n_steps;
        send_scores(link);
    }
    if (ea_n_samples(link->stream) - link->stats_at >= ea_sample_rate_hz(link->model)) {
        ea_link_stats(link);
    }
}

void ea_link_init(ea_link *link, const ea_model *model, ea_stream *stream, ea_link_write write,
                  void *context) {
    static const ea_link_errors none;
    link->model = model;
    link->stream = stream;
    link->write = write;
    link->context = context;
    link->errors = none;
    link->flags = EA_LINK_WITH_EVENTS;
    link->scores_every = link->n_top = 0;
    link->latest_command = NO_COMMAND;
    link->n_received = link->n_taken = link->n_rx = 0;
    link->sequence = 0;
    restart(link);
    send_hello(link, 1);
}

/* ---- commands ---- */

static uint32_t query(ea_link *link, const uint8_t *body, uint32_t n) {
    if (n != 5) {
        return EA_LINK_BAD_LENGTH;
    }
    uint32_t first = get(body + 1, 2), end = first + get(body + 3, 2);
    switch (body[0]) {
    case EA_LINK_QUERY_HELLO:
        send_hello(link, 0);
        return EA_LINK_DONE;
    case EA_LINK_QUERY_LABELS:
        for (; first < end && first < ea_n_labels(link->model); first++) {
            send_label(link, first);
        }
        return EA_LINK_DONE;
    case EA_LINK_QUERY_STATS:
        ea_link_stats(link);
        return EA_LINK_DONE;
    default:
        return EA_LINK_BAD_ARGUMENT;
    }
}

/* body: [n][label u16, on f32, off f32] */
static uint32_t set_thresholds(ea_link *link, const uint8_t *body, uint32_t n) {
    if (n % THRESHOLD_BYTES != 0) {
        return EA_LINK_BAD_LENGTH;
    }
    for (; n > 0; n -= THRESHOLD_BYTES, body += THRESHOLD_BYTES) {
        uint32_t label = get(body, 2), end = label + 1u;
        if (label == EA_LINK_ALL) {
            label = 0;
            end = ea_n_labels(link->model);
        }
        for (; label < end; label++) {
            if (ea_set_threshold(link->stream, label, get_float(body + 2), get_float(body + 6))) {
                return EA_LINK_BAD_ARGUMENT;
            }
        }
    }
    return EA_LINK_DONE;
}

static uint32_t set_stream(ea_link *link, const uint8_t *body, uint32_t n) {
    if (n != 4) {
        return EA_LINK_BAD_LENGTH;
    }
    if (body[3] > EA_LINK_MAX_TOP) {
        return EA_LINK_BAD_ARGUMENT;
    }
    link->flags = body[0];
    link->scores_every = get(body + 1, 2);
    link->n_top = body[3];
    link->scores_at = (uint32_t)ea_n_steps(link->stream);
    return EA_LINK_DONE;
}

static int reset(ea_link *link) {
    ea_reset(link->stream);
    restart(link);
    return 1;
}

/* A host that missed an ACK sends the same command once more; only RESET must not happen twice. */
static int obey(ea_link *link, const uint8_t *payload, uint32_t n_body) {
    const uint8_t *body = payload + HEADER_BYTES;
    uint32_t type = payload[1], sequence = payload[2];
    uint32_t command = type << 8 | sequence, status = EA_LINK_DONE;
    int is_reset = 0;
    switch (type) {
    case EA_LINK_QUERY:
        status = query(link, body, n_body);
        break;
    case EA_LINK_SET_THRESHOLD:
        status = set_thresholds(link, body, n_body);
        break;
    case EA_LINK_SET_STREAM:
        status = set_stream(link, body, n_body);
        break;
    case EA_LINK_RESET:
        is_reset = command != link->latest_command && reset(link);
        break;
    default:
        status = EA_LINK_UNKNOWN;
        break;
    }
    link->latest_command = command;
    uint8_t *at = put(body_of(link), sequence, 1);
    at = put(at, type, 1);
    send(link, EA_LINK_ACK, put(at, status, 1));
    return is_reset;
}

/* ---- receiving ---- */

/* rx[1 .. n) becomes the payload; whether the codes lead from zero to zero just to its end. */
static int decode(uint8_t *rx, uint32_t n) {
    uint32_t zero_at = rx[0];
    while (zero_at < n) {
        uint32_t code = rx[zero_at];
        rx[zero_at] = 0;
        zero_at += code;
    }
    return zero_at == n;
}

static int take_frame(ea_link *link, uint32_t n) {
    uint8_t *payload = link->rx + 1;
    uint32_t n_payload = n - 1u;
    if (n > sizeof link->rx || !decode(link->rx, n) || n_payload < HEADER_BYTES + CRC_BYTES ||
        crc16(payload, n_payload - CRC_BYTES) != get(payload + n_payload - CRC_BYTES, CRC_BYTES)) {
        link->errors.rx_bad++;
        return 0;
    }
    if (payload[0] != EA_LINK_VERSION) {
        link->errors.rx_version++;
        return 0;
    }
    if (payload[1] < 0x80u) {
        return 0; /* a line that sends back what we say */
    }
    return obey(link, payload, n_payload - HEADER_BYTES - CRC_BYTES);
}

void ea_link_receive(ea_link *link, uint8_t byte) {
    uint32_t n_received = link->n_received;
    if (n_received - link->n_taken >= EA_LINK_RING) {
        link->errors.rx_overruns++;
        return;
    }
    link->ring[n_received % EA_LINK_RING] = byte;
    link->n_received = n_received + 1u;
}

int ea_link_handle(ea_link *link) {
    int is_reset = 0;
    while (link->n_taken != link->n_received) {
        uint8_t byte = link->ring[link->n_taken % EA_LINK_RING];
        link->n_taken++;
        if (byte != 0) {
            if (link->n_rx < sizeof link->rx) {
                link->rx[link->n_rx] = byte;
            }
            link->n_rx += link->n_rx <= sizeof link->rx; /* one more says: too long */
        } else if (link->n_rx > 0) {
            uint32_t n = link->n_rx;
            link->n_rx = 0;
            is_reset |= take_frame(link, n);
        }
    }
    return is_reset;
}
