/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time goes: SysTick interrupts at regular intervals and counts where. To be compiled with
 * -DEA_PROFILE instead of counting ticks. Works on a board as well.
 */
#include "port.h"
#include "report.h"
#include "startup.h"

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_COUNT (*(volatile uint32_t *)0xe000e018u)

#define INTERVAL_TICKS 23u     /* not a multiple of any loop's length */
#define CODE_BYTES (48u << 10) /* from address 0 */

static uint32_t counts[CODE_BYTES / 4u];

void profile_sample(const uint32_t *frame);

/* frame: the registers that the interrupt saved, the program counter seventh. */
void profile_sample(const uint32_t *frame) {
    if (frame[6] < CODE_BYTES) counts[frame[6] / 4u]++;
}

__attribute__((naked)) void systick_handler(void) {
    __asm__ volatile("mov r0, sp\n\tb profile_sample");
}

void profile_start(void) {
    SYSTICK_RELOAD = INTERVAL_TICKS - 1u;
    SYSTICK_COUNT = 0;
    SYSTICK_CONTROL = 7; /* on, with interrupts, from the processor's clock */
}

void profile_report(void) {
    uint32_t i;
    SYSTICK_CONTROL = 0;
    for (i = 0; i < CODE_BYTES / 4u; i++) {
        if (counts[i] == 0) continue;
        port_write("{\"pc\":");
        report_number(4u * i);
        port_write(",\"count\":");
        report_number(counts[i]);
        port_write("}\n");
    }
}
