/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EA_STARTUP_H
#define EA_STARTUP_H

#include <stdint.h>

/* Most bytes of stack that were ever in use. */
uint32_t stack_bytes_used(void);

/* Ends the program: each port has one. */
__attribute__((noreturn)) void stop(int exit_code);

void systick_handler(void);

#ifdef EA_PROFILE /* profile.c */
void profile_start(void);
void profile_report(void);
#endif

#endif
