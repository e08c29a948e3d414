/* SPDX-License-Identifier: Apache-2.0
 *
 * Division of unsigned integers, for which ARMv7 processors need not have an instruction; compilers
 * call these functions of ARM's run-time ABI, and there is no library that has them. */
#if defined(__arm__) && !defined(__ARM_FEATURE_IDIV)
#include <stdint.h>

uint64_t __aeabi_uidivmod(uint32_t numerator, uint32_t denominator);
uint32_t __aeabi_uidiv(uint32_t numerator, uint32_t denominator);

/* Quotient in r0 and remainder in r1: the halves of a 64-bit result. */
uint64_t __aeabi_uidivmod(uint32_t numerator, uint32_t denominator) {
    uint32_t quotient = 0, remainder = 0;
    int bit;
    if (denominator == 0) return (uint64_t)numerator << 32;
    for (bit = 31; bit >= 0; bit--) {
        uint32_t is_carried = remainder >> 31; /* of denominators above 2^31 */
        remainder = (remainder << 1) | ((numerator >> bit) & 1u);
        if (is_carried || remainder >= denominator) {
            remainder -= denominator;
            quotient |= 1u << bit;
        }
    }
    return ((uint64_t)remainder << 32) | quotient;
}

uint32_t __aeabi_uidiv(uint32_t numerator, uint32_t denominator) {
    return (uint32_t)__aeabi_uidivmod(numerator, denominator);
}
#else
typedef int this_processor_divides;
#endif
