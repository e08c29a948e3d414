/* SPDX-License-Identifier: Apache-2.0
 *
 * Does this machine compute what the model's maker computed? Hears a short recording and compares
 * the scores with those that came with the model. Exit code 0 if they agree.
 */
#include "edge_audio_golden.h"
#include "edge_audio_image.h"
#include "listen.h"
#include "port.h"
#include "report.h"

#define BLOCK_SAMPLES 160u

static ea_event events[EA_LABELS];

static float difference(const float *a, const float *b, uint32_t n) {
    float largest = 0.0f;
    uint32_t i;
    for (i = 0; i < n; i++) {
        float error = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        if (!(error <= largest)) largest = error; /* NaN counts as well */
    }
    return largest;
}

int main(void) {
    ea_model *model;
    ea_stream *stream;
    float largest = 0.0f, error;
    uint32_t i, n_steps = 0;
    size_t n_events;
    int is_right;
    if (listen_start(&model, &stream) != EA_OK) return 1;
    for (i = 0; i < EA_GOLDEN_SAMPLES; i += BLOCK_SAMPLES) {
        uint32_t n = EA_GOLDEN_SAMPLES - i < BLOCK_SAMPLES ? EA_GOLDEN_SAMPLES - i : BLOCK_SAMPLES;
        ea_status status = ea_push(stream, ea_golden_samples + i, n, events, EA_LABELS, &n_events);
        if (status != EA_OK) {
            report_error(report_status(status));
            return 1;
        }
        if (ea_n_steps(stream) == n_steps) continue;
        error = difference(ea_scores(stream), ea_golden_scores + n_steps * EA_LABELS, EA_LABELS);
        if (!(error <= largest)) largest = error;
        n_steps++;
    }
    is_right = n_steps == EA_GOLDEN_STEPS && largest <= EA_GOLDEN_TOLERANCE;
    port_write("{\"steps\":");
    report_number(n_steps);
    port_write(",\"scores_off_by\":");
    report_decimal(largest == largest ? largest : 9.0f);
    port_write(",\"allowed\":");
    report_decimal(EA_GOLDEN_TOLERANCE);
    port_write(is_right ? ",\"result\":\"ok\"}\n" : ",\"result\":\"failed\"}\n");
    return is_right ? 0 : 1;
}
