/* SPDX-License-Identifier: Apache-2.0
 *
 * The port to anything with stdio.
 */
#include "port.h"

#include <stdio.h>

static FILE *input;

int port_open(const char *path) {
    input = path ? fopen(path, "rb") : stdin;
    return input != NULL;
}

size_t port_read(int16_t *samples, size_t n) {
    uint8_t *bytes = (uint8_t *)samples;
    size_t i, n_read = fread(bytes, 2, n, input);
    for (i = 0; i < n_read; i++) {
        samples[i] = (int16_t)(uint16_t)(bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8);
    }
    return n_read;
}

/* At the end of a line at once, so that who reads a pipe need not wait. */
void port_write(const char *text) {
    size_t i = 0;
    fputs(text, stdout);
    while (text[i]) i++;
    if (i && text[i - 1] == '\n') fflush(stdout);
}

uint32_t port_ticks(void) { return 0; }
uint32_t port_ticks_hz(void) { return 1; }
