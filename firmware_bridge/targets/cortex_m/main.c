/* SPDX-License-Identifier: Apache-2.0
 *
 * Hears the raw recording that the command line names and writes what it hears, one JSON object on
 * a line; at last {"stack_bytes":..}, the most that was ever in use.
 */
#include "listen.h"
#include "port.h"
#include "report.h"
#include "semihosting.h"
#include "startup.h"

int main(void) {
    static char line[256];
    char *path = line;
    int exit_code, with_steps = 0;
    if (!semihosting_command_line(line, sizeof line)) return 2;
    while (*path && *path != ' ') path++;
    while (*path == ' ') path++;
    if (path[0] == '-' && path[1] == 's' && path[2] == ' ') {
        with_steps = 1;
        path += 3;
    }
    if (!port_open(path)) {
        report_error("cannot open the recording that the command line names");
        return 1;
    }
#ifdef EA_PROFILE
    profile_start();
#endif
    exit_code = listen_to_end(with_steps);
#ifdef EA_PROFILE
    profile_report();
#endif
    port_write("{\"stack_bytes\":");
    report_number(stack_bytes_used());
    port_write("}\n");
    return exit_code;
}
