/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EA_SEMIHOSTING_H
#define EA_SEMIHOSTING_H

#include <stdint.h>

/* The words that the program was started with, its name first; 0 if there are none. */
int semihosting_command_line(char *line, uint32_t capacity);

#endif
