/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of the serial link, [version][type][sequence][body][CRC-16], as they lie in a buffer, and
 * the numbers in them, least significant byte first.
 */
#ifndef EA_LINK_FRAME_H
#define EA_LINK_FRAME_H

#include "edge_audio_link.h"

enum { EA_FRAME_HEADER_BYTES = 3, EA_FRAME_CRC_BYTES = 2 };

/* The longest body, and where it begins: a frame to be sent is [0][COBS code][payload][0], and at
 * most 254 bytes of payload stay where they are when they are encoded. */
#define EA_FRAME_MAX_BODY (EA_LINK_MAX_PAYLOAD - EA_FRAME_HEADER_BYTES - EA_FRAME_CRC_BYTES)
#define EA_FRAME_BODY_AT (2 + EA_FRAME_HEADER_BYTES)

/* Write n_bytes of a number, and return what is behind them. */
uint8_t *ea_put(uint8_t *at, uint64_t value, uint32_t n_bytes);
uint8_t *ea_put_float(uint8_t *at, float value);

uint32_t ea_get(const uint8_t *at, uint32_t n_bytes);
float ea_get_float(const uint8_t *at);

/* Completes the frame in tx [EA_LINK_MAX_FRAME] whose body ends at `body_end`; its bytes. */
uint32_t ea_close_frame(uint8_t *tx, uint32_t type, uint8_t sequence, const uint8_t *body_end);

/* rx [n], received between two zeros -> rx[1 ..] is the payload, header and body; its bytes, 0 if
 * COBS or CRC are wrong or it is too short. */
uint32_t ea_open_frame(uint8_t *rx, uint32_t n);

#endif
