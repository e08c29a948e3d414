/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of the libraries of a wheel this CPU runs: they stand in edge_audio/engine/variants.py.
 */
#include "edge_audio_host.h"

#if defined(__x86_64__)

#include <cpuid.h>

enum { XMM_YMM = 0x6, XMM_YMM_ZMM = 0xe6 }; /* registers that the system saves */

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has(unsigned word, int bit) { return (int)(word >> bit & 1u); }

int ea_cpu_level(void) {
    unsigned a, b, c, d, features, saved;
    int has_avx512;
    if (!__get_cpuid(1, &a, &b, &features, &d)) return 0;
    if (!has(features, 19) || !has(features, 9)) return 0;  /* SSE4.1, SSSE3 */
    if (!has(features, 27) || !has(features, 28)) return 1; /* XSAVE by the system, AVX */
    saved = saved_registers();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    if ((saved & XMM_YMM) != XMM_YMM || !has(b, 5)) return 1;          /* AVX2 */
    has_avx512 = has(b, 16) && has(b, 30) && has(b, 31) && has(c, 11); /* F, BW, VL, VNNI */
    return (saved & XMM_YMM_ZMM) == XMM_YMM_ZMM && has_avx512 ? 3 : 2;
}

#elif defined(__arm__) && defined(__linux__)

#include <sys/auxv.h>

int ea_cpu_level(void) { return (int)(getauxval(AT_HWCAP) >> 12 & 1u); /* NEON */ }

#else

int ea_cpu_level(void) { return 0; }

#endif

#ifndef EA_FINGERPRINT
#define EA_FINGERPRINT ""
#endif

const char *ea_fingerprint(void) { return EA_FINGERPRINT; }
