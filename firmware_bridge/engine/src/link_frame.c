/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of the serial link: numbers, CRC-16, and COBS between zeros.
 */
#include "link_frame.h"

typedef union {
    float value;
    uint32_t bits;
} float_bits;

uint8_t *ea_put(uint8_t *at, uint64_t value, uint32_t n_bytes) {
    for (uint32_t i = 0; i < n_bytes; i++) {
        at[i] = (uint8_t)(value >> (8u * i) & 0xffu);
    }
    return at + n_bytes;
}

uint8_t *ea_put_float(uint8_t *at, float value) {
    float_bits number;
    number.value = value;
    return ea_put(at, number.bits, 4);
}

uint32_t ea_get(const uint8_t *at, uint32_t n_bytes) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        value |= (uint32_t)at[i] << (8u * i);
    }
    return value;
}

float ea_get_float(const uint8_t *at) {
    float_bits number;
    number.bits = ea_get(at, 4);
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

uint32_t ea_close_frame(uint8_t *tx, uint32_t type, uint8_t sequence, const uint8_t *body_end) {
    uint32_t end = (uint32_t)(body_end - tx);
    tx[0] = 0;
    tx[2] = EA_LINK_VERSION;
    tx[3] = (uint8_t)type;
    tx[4] = sequence;
    ea_put(tx + end, crc16(tx + 2, end - 2u), EA_FRAME_CRC_BYTES);
    end += EA_FRAME_CRC_BYTES;
    encode(tx, end);
    tx[end] = 0;
    return end + 1u;
}

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

uint32_t ea_open_frame(uint8_t *rx, uint32_t n) {
    const uint8_t *payload = rx + 1;
    uint32_t n_payload = n - 1u - EA_FRAME_CRC_BYTES;
    if (n < 1u + EA_FRAME_HEADER_BYTES + EA_FRAME_CRC_BYTES || !decode(rx, n)) return 0;
    if (crc16(payload, n_payload) != ea_get(payload + n_payload, EA_FRAME_CRC_BYTES)) return 0;
    return n_payload;
}
