/* SPDX-License-Identifier: Apache-2.0
 *
 * The port to a debugger or emulator, which lends its files and its terminal. On a board without
 * one, put your own functions of port.h and startup.h in its place.
 */
#include "semihosting.h"

#include "port.h"
#include "startup.h"

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_COUNT (*(volatile uint32_t *)0xe000e018u)

enum {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20
};
enum { MODE_RB = 1 };

static int32_t handle = -1;

static int32_t call(int32_t operation, const void *parameters) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameters;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t length(const char *text) {
    uint32_t n = 0;
    while (text[n]) n++;
    return n;
}

int semihosting_command_line(char *line, uint32_t capacity) {
    uint32_t parameters[2];
    parameters[0] = (uint32_t)(uintptr_t)line;
    parameters[1] = capacity;
    return call(SYS_GET_CMDLINE, parameters) == 0;
}

int port_open(const char *path) {
    uint32_t parameters[3];
    parameters[0] = (uint32_t)(uintptr_t)path;
    parameters[1] = MODE_RB;
    parameters[2] = length(path);
    handle = call(SYS_OPEN, parameters);
    return handle >= 0;
}

size_t port_read(int16_t *samples, size_t n) {
    uint32_t parameters[3];
    parameters[0] = (uint32_t)handle;
    parameters[1] = (uint32_t)(uintptr_t)samples;
    parameters[2] = (uint32_t)(2 * n);
    return n - (size_t)(call(SYS_READ, parameters) + 1) / 2; /* it tells what is missing */
}

void port_write(const char *text) { call(SYS_WRITE0, text); }

/* SysTick at its full range, which wraps after 2^24 ticks. */
uint32_t port_ticks(void) {
#ifdef EA_PROFILE
    return 0; /* profile.c has it */
#endif
    if ((SYSTICK_CONTROL & 1u) == 0) {
        SYSTICK_RELOAD = 0xffffffu;
        SYSTICK_COUNT = 0;
        SYSTICK_CONTROL = 5; /* on, from the processor's clock, without interrupts */
    }
    return 0xffffffu - SYSTICK_COUNT;
}

uint32_t port_ticks_hz(void) { return EA_SYSTICK_HZ; }

void stop(int exit_code) {
    uint32_t parameters[2];
    parameters[0] = 0x20026u; /* ADP_Stopped_ApplicationExit */
    parameters[1] = (uint32_t)exit_code;
    call(SYS_EXIT_EXTENDED, parameters);
    for (;;) {
    }
}
