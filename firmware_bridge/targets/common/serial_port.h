/* SPDX-License-Identifier: Apache-2.0
 *
 * What serve.c needs of a serial line: one .c file for each kind of board, such as uart.c.
 */
#ifndef EA_SERIAL_PORT_H
#define EA_SERIAL_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Starts the line and its clock; to be called once, before all else. */
void serial_open(void);

/* Sends n bytes; an `ea_link_write`. */
int serial_write(void *context, const uint8_t *bytes, size_t n);

/* The next byte received, or -1 if there is none. */
int serial_read(void);

/* Waits for a byte, some milliseconds at most; 0 if the line was closed for good. */
int serial_wait(void);

/* Milliseconds since some time in the past. */
uint32_t serial_clock_ms(void);

#endif
