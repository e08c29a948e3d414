/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program of this folder needs of the place it runs in: one .c file for each place.
 */
#ifndef EA_PORT_H
#define EA_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Opens the raw recording (16-bit little-endian mono) that port_read reads; 0 if it cannot. */
int port_open(const char *path);

/* At most n of the next samples; fewer only at the end of the recording. */
size_t port_read(int16_t *samples, size_t n);

void port_write(const char *text);

/* A counter that goes up by port_ticks_hz a second, as the difference of two calls shows if they
 * are less than 2^24 ticks apart. Where there is none, 0 and 1. */
uint32_t port_ticks(void);
uint32_t port_ticks_hz(void);

#endif
