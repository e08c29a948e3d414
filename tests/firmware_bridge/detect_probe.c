/* SPDX-License-Identifier: Apache-2.0
 *
 * The events of given scores, for tests: what ea_push does behind the network.
 */
#include "events.h"

ea_status probe_step(ea_stream *stream, const float *scores, uint32_t n_samples, ea_event *events,
                     size_t capacity, size_t *n_events);

/* A step with these scores, of which n_samples were heard, fewer than a step only of the last. */
ea_status probe_step(ea_stream *stream, const float *scores, uint32_t n_samples, ea_event *events,
                     size_t capacity, size_t *n_events) {
    ea_list list = {events, capacity, 0, 0};
    uint32_t label;
    for (label = 0; label < stream->model->n_labels; label++) stream->scores[label] = scores[label];
    if (stream->n_steps == 0) stream->n_samples = stream->model->window - stream->model->hop;
    stream->n_samples += n_samples;
    stream->n_steps++;
    ea_detect(stream, &list);
    *n_events = list.n;
    return list.is_full ? EA_EVENTS_FULL : EA_OK;
}
