/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that hears a recording for a host on a serial line, and what it needs of the place it
 * runs in besides port.h.
 */
#ifndef EA_SERVE_H
#define EA_SERVE_H

#include <stddef.h>
#include <stdint.h>

/* Hears the recording, and again from its beginning whenever the host resets the stream: `speed`
 * times as fast as it was recorded or, at 0, as fast as it can. Ends when serial_wait does.
 * Returns an exit code. */
int serve(const char *path, uint32_t speed);

/* Sends n bytes; an `ea_link_write`. */
int serial_write(void *context, const uint8_t *bytes, size_t n);

/* The next byte received, or -1 if there is none. */
int serial_read(void);

/* Waits for a byte, some milliseconds at most; 0 if the line was closed for good. */
int serial_wait(void);

/* Since some time in the past. */
uint32_t serial_clock_ms(void);

#endif
