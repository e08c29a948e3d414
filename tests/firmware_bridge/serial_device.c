/* SPDX-License-Identifier: Apache-2.0
 *
 * A device for tests: RECORDING SPEED FD, the descriptor of its serial line.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "serial_port.h"
#include "serve.h"

static int line_fd;
static int is_closed;

int serial_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    while (n > 0) {
        ssize_t n_written = write(line_fd, bytes, n);
        if (n_written <= 0) {
            is_closed = 1;
            return 0;
        }
        bytes += n_written;
        n -= (size_t)n_written;
    }
    return 1;
}

static int has_input(int timeout_ms) {
    struct pollfd wanted = {line_fd, POLLIN, 0};
    return poll(&wanted, 1, timeout_ms) > 0;
}

int serial_read(void) {
    uint8_t byte;
    if (!has_input(0)) return -1;
    if (read(line_fd, &byte, 1) == 1) return byte;
    is_closed = 1;
    return -1;
}

int serial_wait(void) {
    if (!is_closed) (void)has_input(5);
    return !is_closed;
}

uint32_t serial_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    line_fd = atoi(argv[3]);
    return serve(argv[1], (uint32_t)atoi(argv[2]));
}
