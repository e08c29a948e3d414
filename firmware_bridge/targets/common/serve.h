/* SPDX-License-Identifier: Apache-2.0
 *
 * Hears a recording for a host on a serial line.
 */
#ifndef EA_SERVE_H
#define EA_SERVE_H

#include <stdint.h>

/* Hears the recording, and again from its beginning whenever the host resets the stream: `speed`
 * times as fast as it was recorded or, at 0, as fast as it can. Ends when the line was closed for
 * good. Returns an exit code. */
int serve(const char *path, uint32_t speed);

#endif
