/* SPDX-License-Identifier: Apache-2.0
 *
 * The model of edge_audio_image.h and one stream, in memory that is set aside at build time.
 */
#ifndef EA_LISTEN_H
#define EA_LISTEN_H

#include "edge_audio.h"

/* Opens the model and starts the stream; what went wrong is written and returned. */
ea_status listen_start(ea_model **model, ea_stream **stream);

/* Hears the recording of port_read to its end and writes its events and
 * {"steps":..,"samples":..,"hash":"..","image":"..","kernels":"..","ticks":..,"ticks_hz":..}
 * hash: of the scores of all complete steps. ticks: spent in ea_push.
 * with_steps: a line for each step as well. Returns an exit code. */
int listen_to_end(int with_steps);

#endif
