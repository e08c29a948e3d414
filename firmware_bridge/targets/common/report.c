/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include "port.h"

uint32_t report_hash(uint32_t hash, const float *scores, uint32_t n_scores) {
    uint32_t i, shift, bits;
    for (i = 0; i < n_scores; i++) {
        __builtin_memcpy(&bits, scores + i, sizeof bits);
        for (shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ ((bits >> shift) & 0xffu)) * 16777619u;
        }
    }
    return hash;
}

/* number / divisor, and what is left over. Bit by bit: a compiler's 64-bit division would take
 * more flash than all the rest of this file. */
static uint64_t divide(uint64_t number, uint32_t divisor, uint32_t *rest) {
    uint64_t quotient = 0, left = 0;
    uint32_t i;
    for (i = 0; i < 64; i++) {
        left = left << 1 | number >> 63;
        number <<= 1;
        quotient <<= 1;
        if (left >= divisor) {
            left -= divisor;
            quotient |= 1u;
        }
    }
    *rest = (uint32_t)left;
    return quotient;
}

void report_number(uint64_t number) {
    char digits[21];
    uint32_t i = sizeof digits - 1, digit;
    digits[i] = 0;
    do {
        number = divide(number, 10, &digit);
        digits[--i] = (char)('0' + digit);
    } while (number);
    port_write(digits + i);
}

void report_hex(uint32_t number) {
    char digits[9];
    uint32_t i;
    for (i = 0; i < 8; i++) {
        digits[i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15u];
    }
    digits[8] = 0;
    port_write(digits);
}

/* A whole number and millionths. */
static void report_millionths(uint64_t whole, uint32_t millionths) {
    char digits[8];
    uint32_t i;
    for (i = 6; i > 0; i--) {
        digits[i] = (char)('0' + millionths % 10);
        millionths /= 10;
    }
    digits[0] = '.';
    digits[7] = 0;
    report_number(whole);
    port_write(digits);
}

void report_decimal(float number) {
    uint32_t whole = (uint32_t)number;
    uint32_t millionths = (uint32_t)((number - (float)whole) * 1e6f + 0.5f);
    report_millionths(whole + millionths / 1000000u, millionths % 1000000u);
}

void report_text(const char *text) {
    char character[3] = {0, 0, 0};
    port_write("\"");
    for (; *text; text++) {
        int is_special = *text == '"' || *text == '\\';
        character[0] = is_special ? '\\' : *text;
        character[1] = is_special ? *text : 0;
        port_write(character);
    }
    port_write("\"");
}

void report_event(const ea_model *model, const ea_event *event) {
    uint32_t rate_hz = ea_sample_rate_hz(model);
    uint32_t rest;
    uint64_t whole_s = divide(event->sample, rate_hz, &rest);
    uint64_t part = divide((uint64_t)rest * 1000000u + rate_hz / 2, rate_hz, &rest);
    port_write("{\"kind\":\"");
    port_write(event->kind == EA_START ? "start" : "end");
    port_write("\",\"label\":");
    report_text(ea_label(model, event->label));
    port_write(",\"sample\":");
    report_number(event->sample);
    port_write(",\"time_s\":");
    report_millionths(whole_s, (uint32_t)part);
    port_write(",\"score\":");
    report_decimal(event->score);
    port_write("}\n");
}

void report_error(const char *text) {
    port_write("{\"error\":");
    report_text(text);
    port_write("}\n");
}

const char *report_status(ea_status status) {
    switch (status) {
        case EA_OK: return "ok";
        case EA_BAD_ARGUMENT: return "bad argument";
        case EA_BAD_IMAGE: return "not a model image, or a damaged one";
        case EA_BAD_VERSION: return "image of another version of the engine";
        case EA_BAD_HASH: return "image was altered: its CRC-32 differs";
        case EA_UNALIGNED: return "image or memory is not aligned";
        case EA_TOO_SMALL: return "too little memory for the stream";
        case EA_TOO_LARGE: return "model exceeds a limit of this build";
        case EA_EVENTS_FULL: return "too little room for events";
    }
    return "unknown error";
}
