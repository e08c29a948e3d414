/* SPDX-License-Identifier: Apache-2.0
 *
 * Hears raw audio from a file or stdin and writes what it hears, one JSON object on a line:
 *
 *     arecord -q -t raw -f S16_LE -r 16000 -c 1 | ./edge_audio
 */
#include <string.h>

#include "listen.h"
#include "port.h"
#include "report.h"

int main(int argc, char **argv) {
    const char *path = NULL;
    int i, with_steps = 0;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--steps") == 0) {
            with_steps = 1;
        } else if (path == NULL && (argv[i][0] != '-' || argv[i][1] == 0)) {
            path = argv[i];
        } else {
            report_error("usage: edge_audio [--steps] [FILE], raw 16-bit mono; FILE - is stdin");
            return 2;
        }
    }
    if (!port_open(path && strcmp(path, "-") != 0 ? path : NULL)) {
        report_error("cannot open the recording");
        return 1;
    }
    return listen_to_end(with_steps);
}
