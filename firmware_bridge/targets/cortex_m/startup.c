/* SPDX-License-Identifier: Apache-2.0
 *
 * From reset to main: vector table, floating point, memory. No libc.
 */
#include <stddef.h>
#include <stdint.h>

#include "startup.h"

#define CPACR (*(volatile uint32_t *)0xe000ed88u)
#define PAINT 0xa5a5a5a5u

extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

int main(void);
void reset_handler(void);

/* What GCC calls by itself for copies and zeros of structs. */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *
memcpy(void *to, const void *from, size_t n) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0) {
        for (; n >= 4; n -= 4, target += 4, source += 4) {
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
        }
    }
    while (n--) *target++ = *source++;
    return to;
}

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *
memmove(void *to, const void *from, size_t n) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if (target <= source || target >= source + n) return memcpy(to, from, n);
    while (n--) target[n] = source[n];
    return to;
}

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memset(void *to, int value,
                                                                           size_t n) {
    uint8_t *target = to;
    uint32_t word = (uint8_t)value * 0x01010101u;
    if (((uintptr_t)to & 3u) == 0) {
        for (; n >= 4; n -= 4, target += 4) *(uint32_t *)(void *)target = word;
    }
    while (n--) *target++ = (uint8_t)value;
    return to;
}

uint32_t stack_bytes_used(void) {
    const volatile uint32_t *word = bss_end;
    while (word < stack_top && *word == PAINT) word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

/* Below its own frame and up to the end of variables. */
static void paint_stack(void) {
    volatile uint32_t *word = bss_end;
    uint32_t *frame = __builtin_frame_address(0);
    while (word < frame - 16) *word++ = PAINT;
}

__attribute__((noinline, noreturn)) static void start(void) {
    memcpy(data_start, data_load, (size_t)((uintptr_t)data_end - (uintptr_t)data_start));
    memset(bss_start, 0, (size_t)((uintptr_t)bss_end - (uintptr_t)bss_start));
    paint_stack();
    stop(main());
}

/* Apart from `start`, which may use floating-point registers from its first instruction on. */
void reset_handler(void) {
    CPACR |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    start();
}

static void fault_handler(void) { stop(99); }

__attribute__((weak)) void systick_handler(void) { fault_handler(); }

__attribute__((section(".vectors"), used)) static const struct {
    void *stack;
    void (*handlers[15])(void);
} vectors = {
    stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, 0, 0,
     0, 0, fault_handler, fault_handler, 0, fault_handler, systick_handler},
};
