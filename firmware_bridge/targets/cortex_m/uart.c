/* SPDX-License-Identifier: Apache-2.0
 *
 * The serial line as the first UART of a CMSDK board: Arm's MPS2, or QEMU's mps2-an386. For
 * another board, put its UART and its clock in here: no other file knows of them.
 */
#include "serial_port.h"

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

void serial_open(void) {
    __asm__ volatile("cpsid i");
    UART_BAUD_DIVIDER = EA_SYSTICK_HZ / BAUD;
    UART_CONTROL = 1u | 2u | 8u; /* send, receive, interrupt when received */
    NVIC_ENABLE = 1u;
    SYSTICK_RELOAD = EA_SYSTICK_HZ / 1000u * TICK_MS - 1u;
    SYSTICK_COUNT = 0;
    SYSTICK_CONTROL = 7;
}

int serial_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    while (n--) {
        while (UART_STATE & 1u) {
        }
        UART_DATA = *bytes++;
    }
    return 1;
}

int serial_read(void) { return UART_STATE & 2u ? (int)(UART_DATA & 0xffu) : -1; }

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
