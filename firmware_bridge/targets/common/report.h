/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes JSON lines through port_write without printf, so that each CPU writes the same bytes.
 */
#ifndef EA_REPORT_H
#define EA_REPORT_H

#include "edge_audio.h"

#define EA_HASH_START 2166136261u

/* FNV-1a over the bits of the scores. */
uint32_t report_hash(uint32_t hash, const float *scores, uint32_t n_scores);

void report_number(uint64_t number);
void report_hex(uint32_t number);

/* number >= 0 with six decimals, rounded. */
void report_decimal(float number);

/* In quotation marks. */
void report_text(const char *text);

/* {"kind":"start","label":"Dog","sample":20720,"time_s":1.295000,"score":0.712346} */
void report_event(const ea_model *model, const ea_event *event);

/* {"error":"..."} */
void report_error(const char *text);
const char *report_status(ea_status status);

#endif
