/* SPDX-License-Identifier: Apache-2.0
 *
 * Hears the raw recording that the command line names for a host on the serial line of
 * serial_port.h: edge-audio listen --source serial:PORT
 */
#include "semihosting.h"
#include "serial_port.h"
#include "serve.h"

/* The words after the program's name: RECORDING [SPEED]. */
int main(void) {
    static char words[512];
    char *path = words, *end;
    uint32_t speed = 0;
    if (!semihosting_command_line(words, sizeof words)) return 2;
    while (*path && *path != ' ') path++;
    while (*path == ' ') path++;
    for (end = path; *end && *end != ' '; end++) {
    }
    if (*end) *end++ = 0;
    while (*end >= '0' && *end <= '9') speed = speed * 10u + (uint32_t)(*end++ - '0');
    serial_open();
    return serve(path, speed);
}
