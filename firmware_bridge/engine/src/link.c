/* SPDX-License-Identifier: Apache-2.0
 *
 * Serial link: messages of a stream to a host, and the host's commands.
 */
#include "link_frame.h"

enum { THRESHOLD_BYTES = 10, LABEL_HEAD_BYTES = 10, SCORES_HEAD_BYTES = 4, PCM_HEAD_BYTES = 8 };
#define NO_COMMAND 0xffffffffu

/* ---- sending ---- */

static uint8_t *body_of(ea_link *link) { return link->tx + EA_FRAME_BODY_AT; }

/* Sends the frame whose body ends at `body_end`. One that is dropped takes its number along, so
 * that the host can count it as lost. */
static void send(ea_link *link, uint32_t type, const uint8_t *body_end) {
    uint32_t n = ea_close_frame(link->tx, type, link->sequence++, body_end);
    if (!link->write(link->context, link->tx, n)) {
        link->errors.tx_drops++;
    }
}

static void send_hello(ea_link *link, uint32_t is_boot) {
    const ea_model *model = link->model;
    uint8_t *at = body_of(link);
    at = ea_put(at, ea_image_crc32(model), 4);
    at = ea_put(at, ea_sample_rate_hz(model), 4);
    at = ea_put(at, ea_n_labels(model), 2);
    at = ea_put(at, ea_step_samples(model), 2);
    at = ea_put(at, model->window - model->hop, 2);
    at = ea_put(at, EA_LINK_MAX_TOP, 1);
    at = ea_put(at, is_boot, 1);
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
    uint32_t n = name_bytes(name, EA_FRAME_MAX_BODY - LABEL_HEAD_BYTES);
    uint8_t *at = ea_put(body_of(link), label, 2);
    at = ea_put_float(at, link->model->on[label]);
    at = ea_put_float(at, link->model->off[label]);
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
    uint8_t *at = ea_put(body_of(link), ea_n_steps(link->stream), SCORES_HEAD_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        at = ea_put(at, best[i], 2);
        at = ea_put(at, (uint32_t)(scores[best[i]] * 65535.0f + 0.5f), 2);
    }
    send(link, EA_LINK_SCORES, at);
}

void ea_link_stats(ea_link *link) {
    const ea_link_errors *errors = &link->errors;
    uint8_t *at = ea_put(body_of(link), ea_n_samples(link->stream), 8);
    at = ea_put(at, ea_n_steps(link->stream), 4);
    at = ea_put(at, link->n_events, 4);
    at = ea_put(at, errors->rx_bad, 4);
    at = ea_put(at, errors->rx_version, 4);
    at = ea_put(at, errors->rx_overruns, 4);
    at = ea_put(at, errors->tx_drops, 4);
    at = ea_put(at, errors->audio_dropped, 4);
    send(link, EA_LINK_STATS, at);
    link->stats_at = ea_n_samples(link->stream);
}

void ea_link_events(ea_link *link, const ea_event *events, size_t n_events) {
    for (size_t i = 0; i < n_events; i++) {
        link->n_events++;
        if (link->flags & EA_LINK_WITH_EVENTS) {
            uint8_t *at = ea_put(body_of(link), events[i].sample, 8);
            at = ea_put(at, events[i].label, 2);
            at = ea_put(at, (uint32_t)events[i].kind, 1);
            at = ea_put_float(at, events[i].score);
            send(link, EA_LINK_EVENT, at);
        }
    }
}

void ea_link_pcm(ea_link *link, const int16_t *samples, size_t n, uint64_t position) {
    while (n > 0 && (link->flags & EA_LINK_WITH_PCM)) {
        uint32_t n_now = n < EA_LINK_PCM_SAMPLES ? (uint32_t)n : EA_LINK_PCM_SAMPLES;
        uint8_t *at = ea_put(body_of(link), position, PCM_HEAD_BYTES);
        for (uint32_t i = 0; i < n_now; i++) {
            at = ea_put(at, (uint16_t)samples[i], 2);
        }
        send(link, EA_LINK_PCM, at);
        samples += n_now;
        position += n_now;
        n -= n_now;
    }
}

void ea_link_end(ea_link *link, uint64_t n_samples) {
    send(link, EA_LINK_END, ea_put(body_of(link), n_samples, 8));
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
    uint32_t first = ea_get(body + 1, 2), end = first + ea_get(body + 3, 2);
    switch (body[0]) {
        case EA_LINK_QUERY_HELLO: send_hello(link, 0); return EA_LINK_DONE;
        case EA_LINK_QUERY_LABELS:
            for (; first < end && first < ea_n_labels(link->model); first++) {
                send_label(link, first);
            }
            return EA_LINK_DONE;
        case EA_LINK_QUERY_STATS: ea_link_stats(link); return EA_LINK_DONE;
        default: return EA_LINK_BAD_ARGUMENT;
    }
}

/* body: [n][label u16, on f32, off f32] */
static uint32_t set_thresholds(ea_link *link, const uint8_t *body, uint32_t n) {
    if (n % THRESHOLD_BYTES != 0) {
        return EA_LINK_BAD_LENGTH;
    }
    for (; n > 0; n -= THRESHOLD_BYTES, body += THRESHOLD_BYTES) {
        uint32_t label = ea_get(body, 2), end = label + 1u;
        if (label == EA_LINK_ALL) {
            label = 0;
            end = ea_n_labels(link->model);
        }
        for (; label < end; label++) {
            if (ea_set_threshold(link->stream, label, ea_get_float(body + 2),
                                 ea_get_float(body + 6))) {
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
    link->scores_every = ea_get(body + 1, 2);
    link->n_top = body[3];
    link->scores_at = (uint32_t)ea_n_steps(link->stream);
    return EA_LINK_DONE;
}

static uint32_t set_related(ea_link *link, const uint8_t *body, uint32_t n) {
    if (n != 1) {
        return EA_LINK_BAD_LENGTH;
    }
    return ea_set_related(link->stream, (ea_related)body[0]) ? EA_LINK_BAD_ARGUMENT : EA_LINK_DONE;
}

static int reset(ea_link *link) {
    ea_reset(link->stream);
    restart(link);
    return 1;
}

/* A host that missed an ACK sends the same command once more; only RESET must not happen twice. */
static int obey(ea_link *link, const uint8_t *payload, uint32_t n_body) {
    const uint8_t *body = payload + EA_FRAME_HEADER_BYTES;
    uint32_t type = payload[1], sequence = payload[2];
    uint32_t command = type << 8 | sequence, status = EA_LINK_DONE;
    int is_reset = 0;
    switch (type) {
        case EA_LINK_QUERY: status = query(link, body, n_body); break;
        case EA_LINK_SET_THRESHOLD: status = set_thresholds(link, body, n_body); break;
        case EA_LINK_SET_STREAM: status = set_stream(link, body, n_body); break;
        case EA_LINK_SET_RELATED: status = set_related(link, body, n_body); break;
        case EA_LINK_RESET: is_reset = command != link->latest_command && reset(link); break;
        default: status = EA_LINK_UNKNOWN; break;
    }
    link->latest_command = command;
    uint8_t *at = ea_put(body_of(link), sequence, 1);
    at = ea_put(at, type, 1);
    send(link, EA_LINK_ACK, ea_put(at, status, 1));
    return is_reset;
}

/* ---- receiving ---- */

static int take_frame(ea_link *link, uint32_t n) {
    const uint8_t *payload = link->rx + 1;
    uint32_t n_payload = n > sizeof link->rx ? 0 : ea_open_frame(link->rx, n);
    if (n_payload == 0) {
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
    return obey(link, payload, n_payload - EA_FRAME_HEADER_BYTES);
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
