/* SPDX-License-Identifier: Apache-2.0
 *
 * Hears the raw recording that the command line names for a host on the first UART of a CMSDK
 * board (Arm's MPS2, or QEMU's mps2-an386): edge-audio listen --source serial:PORT
 */
#include "edge_audio_image.h"
#include "semihosting.h"
#include "serve.h"
#include "startup.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u) /* 1: nothing more can be sent; 2: something came */
#define UART_CONTROL REGISTER(0x40004008u)
#define UART_INTERRUPT REGISTER(0x4000400cu)
#define UART_BAUD_DIVIDER REGISTER(0x40004010u)
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_COUNT REGISTER(0xe000e018u)
#define NVIC_ENABLE REGISTER(0xe000e100u)
#define NVIC_CLEAR_PENDING REGISTER(0xe000e280u)
#define INTERRUPT_CONTROL REGISTER(0xe000ed04u)
#define SYSTICK_IS_PENDING (1u << 26)
#define CLEAR_SYSTICK (1u << 25)

#define BAUD 115200u
#define TICK_MS 5u

static uint32_t clock_ms;

int serial_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    while (n--) {
        while (UART_STATE & 1u) {
        }
        UART_DATA = *bytes++;
    }
    return 1;
}

int serial_read(void) {
    return UART_STATE & 2u ? (int)(UART_DATA & 0xffu) : -1;
}

uint32_t serial_clock_ms(void) {
    if (INTERRUPT_CONTROL & SYSTICK_IS_PENDING) {
        INTERRUPT_CONTROL = CLEAR_SYSTICK;
        clock_ms += TICK_MS;
    }
    return clock_ms;
}

/* Interrupts stay masked: one that is pending ends the sleep all the same. */
int serial_wait(void) {
    if (!(UART_STATE & 2u)) __asm__ volatile("wfi");
    UART_INTERRUPT = 2u;
    NVIC_CLEAR_PENDING = 1u;
    return 1;
}

static void start_hardware(void) {
    __asm__ volatile("cpsid i");
    UART_BAUD_DIVIDER = EA_SYSTICK_HZ / BAUD;
    UART_CONTROL = 1u | 2u | 8u; /* send, receive, interrupt when received */
    NVIC_ENABLE = 1u;
    SYSTICK_RELOAD = EA_SYSTICK_HZ / 1000u * TICK_MS - 1u;
    SYSTICK_COUNT = 0;
    SYSTICK_CONTROL = 7;
}

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
    start_hardware();
    return serve(path, speed);
}
