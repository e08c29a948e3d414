/* SPDX-License-Identifier: Apache-2.0
 *
 * One frame of log-mel on a Cortex-M4F in the arithmetic that EA_ARITHMETIC names, for
 * fixed_point_frontend.py, which writes tables.h and compares the results:
 *
 * ENGINE  the engine's own front end, in float
 * FLOAT   float, laid out like the fixed-point ones: tables instead of a quarter of a sine wave,
 *         bit reversal by RBIT, sums of bands in registers
 * Q31     int32; each stage of the transform divides by 4, as its twiddles are in units of 2^-30
 *         and products keep their upper words
 * Q15     a complex number in a word, two at a time by the DSP instructions; block floating point:
 *         each stage divides by 2, 4 or 8, by how much room the one before left
 *
 * The four stand in one file so that they can be read side by side.
 *
 * Reads the raw recording that the command line names, writes a line of results per frame.
 */
#include <string.h>

#include "port.h"
#include "report.h"
#include "semihosting.h"
#include "startup.h"

#define ENGINE 0
#define FLOAT 1
#define Q31 2
#define Q15 3

enum { WINDOW = 400, HOP = 160, N_POINTS = 256, N_MELS = 64, LOG_TABLE = 64 };

#if EA_ARITHMETIC == ENGINE

#include "edge_audio_image.h"
#include "frontend.h"

typedef float output;
#define WORKING_BYTES (4u * (2u * N_POINTS + N_MELS + 2u))
static ea_vector memory[2 * N_POINTS + N_MELS + 2];
static ea_model model;

static int prepare(void) { return ea_open(&model, ea_image, EA_IMAGE_BYTES) == EA_OK; }

__attribute__((noinline)) void transform(const int16_t *pcm, output *frame) {
    ea_load_pcm(&model, pcm, 0, memory);
    ea_transform(&model, memory, 1, frame);
}

#else

#include <arm_acle.h>

#include "tables.h"

static int prepare(void) { return 1; }

/* Where the transform leaves a bin: at its number with the order of bits reversed. */
static inline uint32_t slot_of(uint32_t bin) {
    uint32_t reversed;
    __asm__("rbit %0, %1" : "=r"(reversed) : "r"(bin));
    return reversed >> 24;
}

/* Fixed point has log 2 of P as an integer table and a straight line between its entries. */
#if EA_ARITHMETIC != FLOAT

typedef int32_t output; /* units of 2^-23 */

static inline int32_t times_high(int32_t a, int32_t b) {
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

static inline uint32_t zeros_above(uint32_t x) { return (uint32_t)__builtin_clz(x); }

/* The upper 32 of the 48 bits of a product. */
static inline int32_t times_short(int32_t a, int32_t b) {
    int32_t high;
    __asm__("smulwb %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

/* In units of 2^-24. */
static inline int32_t log2_of(uint64_t x) {
    uint32_t high = (uint32_t)(x >> 32), zeros, m, rise;
    const int32_t *entry;
    zeros = high ? zeros_above(high) : 32u + zeros_above((uint32_t)x);
    m = (uint32_t)(x << zeros >> 32);
    entry = log2_table + (m >> 25 & (LOG_TABLE - 1u));
    rise = (uint32_t)(entry[1] - entry[0]);
    return (int32_t)((63u - zeros) << 24) + entry[0] + (int32_t)((uint64_t)rise * (m << 7) >> 32);
}

/* log2_units: log 2 of the power that 1 stands for, negative. */
static inline output normalised(uint64_t power, int32_t log2_units) {
    return times_high(log2_of(power) + log2_units, LOG_GAIN_Q31) + LOG_OFFSET_Q23;
}

#endif

#if EA_ARITHMETIC == FLOAT || EA_ARITHMETIC == Q31

#if EA_ARITHMETIC == FLOAT

#include "numbers.h"

typedef float number;
typedef float sum;
typedef float output;
#define QUARTER(x) (x)
#define WINDOWED(x, w) ((float)(x) * (w))
#define TURNED_RE(re, im, c, s) ((re) * (c) + (im) * (s))
#define TURNED_IM(re, im, c, s) ((im) * (c) - (re) * (s))
#define SPLIT_EVEN(x) (x)
#define BAND(below, total, upper) ((below) + ((total) - (upper)))
#define NORMALISED(power) ((ea_log((power) * 0.25f + LOG_FLOOR) - LOG_MEAN) * LOG_GAIN)

static inline void add_bin(number re, number im, number weight, sum *total, sum *upper) {
    float power = re * re + im * im;
    *total += power;
    *upper += power * weight;
}

#else

typedef int32_t number;
typedef int64_t sum;
#define QUARTER(x) (((x) + 2) >> 2)
#define WINDOWED(x, w) times_short(w, x) /* full scale is 2^28 */
#define TURNED_RE(re, im, c, s) plus_high(times_high(re, c), im, s)
#define TURNED_IM(re, im, c, s) minus_high(times_high(im, c), re, s)
#define SPLIT_EVEN(x) ((x) >> 1)
#define BAND(below, total, upper) ((total) + 2 * ((below) - (upper)))
#define NORMALISED(power) normalised((uint64_t)((power) + FLOOR_Q40), -(40 << 24))

static inline int32_t plus_high(int32_t sum, int32_t a, int32_t b) {
    int32_t high;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(a), "r"(b), "r"(sum));
    return high;
}

static inline int32_t minus_high(int32_t sum, int32_t a, int32_t b) {
    int32_t high;
    __asm__("smmlsr %0, %1, %2, %3" : "=r"(high) : "r"(a), "r"(b), "r"(sum));
    return high;
}

/* upper: in half the units of total, as a product of 32 and 16 bits loses 16. */
static inline void add_bin(number re, number im, int16_t weight, sum *total, sum *upper) {
    *total += (int64_t)re * re;
    *total += (int64_t)im * im;
    *upper += (int64_t)times_short(re, weight) * re;
    *upper += (int64_t)times_short(im, weight) * im;
}

#endif

#define WORKING_BYTES (sizeof z)
static number z[2 * N_POINTS];

/* Even samples as real, odd ones as imaginary parts. */
static void load(const int16_t *pcm) {
    uint32_t i;
    for (i = 0; i < WINDOW; i++) z[i] = WINDOWED(pcm[i], window[i]);
    for (; i < 2 * N_POINTS; i++) z[i] = 0;
}

static inline void store_turned(number *to, number re, number im, const number *turn) {
    number c = turn[0], s = turn[1];
    to[0] = TURNED_RE(re, im, c, s);
    to[1] = TURNED_IM(re, im, c, s);
}

static inline void store_quarters(number *to, number re, number im) {
    to[0] = QUARTER(re);
    to[1] = QUARTER(im);
}

/* n points each, whose quarters are `quarter` numbers apart. */
static inline __attribute__((always_inline)) void butterfly(number *a, uint32_t quarter,
                                                            const number *turn, uint32_t step) {
    number *b = a + quarter, *c = b + quarter, *d = c + quarter;
    number sum_ac = a[0] + c[0], less_ac = a[0] - c[0];
    number sum_bd = b[0] + d[0], less_bd = b[0] - d[0];
    number sum_ac_i = a[1] + c[1], less_ac_i = a[1] - c[1];
    number sum_bd_i = b[1] + d[1], less_bd_i = b[1] - d[1];
    store_quarters(a, sum_ac + sum_bd, sum_ac_i + sum_bd_i);
    if (step == 0) {
        store_quarters(b, sum_ac - sum_bd, sum_ac_i - sum_bd_i);
        store_quarters(c, less_ac + less_bd_i, less_ac_i - less_bd);
        store_quarters(d, less_ac - less_bd_i, less_ac_i + less_bd);
        return;
    }
    store_turned(b, sum_ac - sum_bd, sum_ac_i - sum_bd_i, turn + 2 * step);
    store_turned(c, less_ac + less_bd_i, less_ac_i - less_bd, turn + step);
    store_turned(d, less_ac - less_bd_i, less_ac_i + less_bd, turn + 3 * step);
}

/* The angle stays the same in the inner loop, as in the engine. With n known to the compiler, all
 * four parts are at fixed distances from one pointer. */
static inline __attribute__((always_inline)) void stage(uint32_t n) {
    uint32_t j, k;
    for (k = 0; k < N_POINTS; k += n) butterfly(z + 2 * k, n / 2, turns, 0);
    for (j = 1; j < n / 4; j++)
        for (k = j; k < N_POINTS; k += n)
            butterfly(z + 2 * k, n / 2, turns, 2 * j * (N_POINTS / n));
}

static void fourier(void) {
    stage(256);
    stage(64);
    stage(16);
    stage(4);
}

/* From the transform of even samples + j odd samples to that of all: bin k in the place of bin k,
 * bin 512 - k in that of bin 256 - k. Bins 0 and 256 are in no band. */
static void split(void) {
    uint32_t k;
    for (k = 1; k <= N_POINTS / 2; k++) {
        number *a = z + 2 * slot_of(k), *b = z + 2 * slot_of(N_POINTS - k);
        number c = split_turns[2 * k], s = split_turns[2 * k + 1];
        number even = SPLIT_EVEN(a[0] + b[0]), even_i = SPLIT_EVEN(a[1] - b[1]);
        number odd = a[1] + b[1], odd_i = b[0] - a[0];
        number re = TURNED_RE(odd, odd_i, c, s), im = TURNED_IM(odd, odd_i, c, s);
        b[0] = even - re;
        b[1] = even_i - im;
        a[0] = even + re;
        a[1] = even_i + im;
    }
}

static void sum_bands(output *frame) {
    uint32_t k = first_bin[0], band;
    sum below = 0;
    for (band = 0; band <= N_MELS; band++) {
        sum total = 0, upper = 0;
        for (; k < first_bin[band + 1]; k++) {
            const number *x = z + 2 * slot_of(k);
            add_bin(x[0], x[1], mel_weight[k], &total, &upper);
        }
        if (band > 0) frame[band - 1] = NORMALISED(BAND(below, total, upper));
        below = upper;
    }
}

__attribute__((noinline)) void transform(const int16_t *pcm, output *frame) {
    load(pcm);
    fourier();
    split();
    sum_bands(frame);
}

#else /* Q15 */

#define WORKING_BYTES (sizeof z)
static uint32_t z[N_POINTS]; /* real in the lower half, imaginary in the upper */

static inline uint32_t word_at(const int16_t *pair) {
    uint32_t word;
    __builtin_memcpy(&word, pair, sizeof word); /* memcpy would be a call: no libc is known */
    return word;
}

static inline uint32_t packed(int32_t low, int32_t high) {
    return (uint32_t)(uint16_t)low | (uint32_t)high << 16;
}

/* Bits that differ from their upper neighbour: the highest tells how large the numbers are. */
static inline uint32_t changes(uint32_t word) { return word ^ word << 1; }

/* By how many bits both halves could be shifted left, at most 15. */
static uint32_t room_of(uint32_t changed) {
    changed = (changed | changed << 16) & 0xfffe0000u;
    return changed ? zeros_above(changed) : 15u;
}

/* Returns by how much z is shifted left. */
static uint32_t load(const int16_t *pcm) {
    uint32_t changed = 0, room, shift, i;
    for (i = 0; i < WINDOW; i += 2) changed |= changes(word_at(pcm + i));
    room = room_of(changed);
    shift = 15u - room;
    for (i = 0; i < WINDOW / 2; i++) {
        uint32_t x = word_at(pcm + 2 * i), w = word_at(window + 2 * i);
        int32_t low = (int32_t)(int16_t)x * (int16_t)w;
        int32_t high = ((int32_t)x >> 16) * ((int32_t)w >> 16);
        z[i] = packed(low >> shift, high >> shift);
    }
    for (; i < N_POINTS; i++) z[i] = 0;
    return room;
}

/* In assembly, as the compiler's intrinsics also have to account for the saturation flag. */
static inline int32_t sum_of_products(uint32_t x, uint32_t y) {
    int32_t sum;
    __asm__("smuad %0, %1, %2" : "=r"(sum) : "r"(x), "r"(y));
    return sum;
}

static inline int32_t crossed_difference(uint32_t x, uint32_t y) {
    int32_t difference;
    __asm__("smusdx %0, %1, %2" : "=r"(difference) : "r"(x), "r"(y));
    return difference;
}

/* Of units of 2^-30, in units of 2^-15. */
static inline int32_t saturated(int32_t x) {
    int32_t y;
    __asm__("ssat %0, #16, %1, asr #15" : "=r"(y) : "r"(x));
    return y;
}

/* x times exp(-j angle), halved. */
static inline uint32_t turned(uint32_t x, uint32_t turn) {
    int32_t re, im;
    __asm__("smlad %0, %1, %2, %3" : "=r"(re) : "r"(x), "r"(turn), "r"(0x8000));
    __asm__("smlsdx %0, %1, %2, %3" : "=r"(im) : "r"(turn), "r"(x), "r"(0x8000));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(re) : "r"(im), "r"(re));
    return (uint32_t)re;
}

#define HALVED(is_so, name, a, b) ((is_so) ? __sh##name(a, b) : __s##name(a, b))

/* Divides by 2^shift, 1 to 3. */
static inline __attribute__((always_inline)) uint32_t butterfly(uint32_t *a, uint32_t quarter,
                                                                uint32_t turn, uint32_t turn2,
                                                                uint32_t turn3, uint32_t is_turned,
                                                                uint32_t shift) {
    uint32_t *b = a + quarter, *c = b + quarter, *d = c + quarter;
    uint32_t sum_ac = HALVED(shift > 1, add16, *a, *c), less_ac = HALVED(shift > 1, sub16, *a, *c);
    uint32_t sum_bd = HALVED(shift > 1, add16, *b, *d), less_bd = HALVED(shift > 1, sub16, *b, *d);
    uint32_t y, y2, y3, y4;
    y = __shadd16(sum_ac, sum_bd);
    if (is_turned) {
        y2 = turned(HALVED(shift > 2, sub16, sum_ac, sum_bd), turn2);
        y3 = turned(HALVED(shift > 2, sax, less_ac, less_bd), turn);
        y4 = turned(HALVED(shift > 2, asx, less_ac, less_bd), turn3);
        if (shift > 2) y = __shadd16(y, 0);
    } else {
        y2 = __shsub16(sum_ac, sum_bd);
        y3 = __shsax(less_ac, less_bd);
        y4 = __shasx(less_ac, less_bd);
        if (shift > 2) {
            y = __shadd16(y, 0);
            y2 = __shadd16(y2, 0);
            y3 = __shadd16(y3, 0);
            y4 = __shadd16(y4, 0);
        }
    }
    *a = y;
    *b = y2;
    *c = y3;
    *d = y4;
    return changes(y) | changes(y2) | changes(y3) | changes(y4);
}

static inline __attribute__((always_inline)) uint32_t stage(uint32_t n, uint32_t shift) {
    uint32_t j, k, changed = 0;
    for (k = 0; k < N_POINTS; k += n) changed |= butterfly(z + k, n / 4, 0, 0, 0, 0, shift);
    for (j = 1; j < n / 4; j++) {
        uint32_t step = j * (N_POINTS / n);
        uint32_t turn = turns[step], turn2 = turns[2 * step], turn3 = turns[3 * step];
        for (k = j; k < N_POINTS; k += n)
            changed |= butterfly(z + k, n / 4, turn, turn2, turn3, 1, shift);
    }
    return changed;
}

/* One stage with n known to the compiler. Takes from *exponent what it divides by; *room: what the
 * values leave. */
static inline __attribute__((always_inline)) void stage_of(uint32_t n, int32_t *exponent,
                                                           uint32_t *room) {
    uint32_t shift = *room < 2 ? 3 - *room : 1, changed;
    changed = shift == 1 ? stage(n, 1) : shift == 2 ? stage(n, 2) : stage(n, 3);
    *exponent -= (int32_t)shift;
    *room = room_of(changed);
}

/* Returns by how much it is shifted left in the end. */
static int32_t fourier(int32_t exponent, uint32_t *room) {
    *room = 0;
    stage_of(256, &exponent, room);
    stage_of(64, &exponent, room);
    stage_of(16, &exponent, room);
    stage_of(4, &exponent, room);
    return exponent;
}

/* As above; halves once more where there is no room. */
static inline __attribute__((always_inline)) void split(uint32_t is_halved) {
    uint32_t k;
    for (k = 1; k <= N_POINTS / 2; k++) {
        uint32_t *a = z + slot_of(k), *b = z + slot_of(N_POINTS - k), turn = split_turns[k];
        uint32_t sum = HALVED(is_halved, add16, *a, *b);  /* even, odd */
        uint32_t less = HALVED(is_halved, sub16, *b, *a); /* imaginary: odd, -even */
        uint32_t odd = packed((int32_t)sum >> 16, (int32_t)less);
        int32_t even = (int32_t)(int16_t)sum * (1 << 14) + (1 << 14);
        int32_t even_i = -((int32_t)less >> 16) * (1 << 14) + (1 << 14);
        int32_t re = sum_of_products(odd, turn), im = crossed_difference(turn, odd);
        *b = packed(saturated(even - re), saturated(even_i - im));
        *a = packed(saturated(even + re), saturated(even_i + im));
    }
}

static void sum_bands(int32_t exponent, output *frame) {
    uint32_t k = first_bin[0], band;
    int32_t bits = 15 + 2 * exponent; /* a power of 1 is 2^bits here */
    uint64_t below = 0, floor = bits < 60 ? FLOOR_Q60 >> (60 - bits) : FLOOR_Q60 << (bits - 60);
    for (band = 0; band <= N_MELS; band++) {
        uint64_t total = 0, upper = 0;
        for (; k < first_bin[band + 1]; k++) {
            uint32_t x = z[slot_of(k)], power = (uint32_t)sum_of_products(x, x);
            total += power;
            upper += (uint64_t)power * (uint32_t)mel_weight[k];
        }
        if (band > 0)
            frame[band - 1] = normalised(below + (total << 15) - upper + floor, -(bits << 24));
        below = upper;
    }
}

__attribute__((noinline)) void transform(const int16_t *pcm, output *frame) {
    uint32_t room;
    int32_t exponent = fourier(15 + (int32_t)load(pcm), &room);
    if (room > 0) {
        split(0);
    } else {
        split(1);
        exponent -= 1;
    }
    sum_bands(exponent, frame);
}

#endif
#endif

static void write_frame(const output *frame) {
    char line[8 * N_MELS + 2], *to = line;
    uint32_t m, shift, bits;
    for (m = 0; m < N_MELS; m++) {
        memcpy(&bits, frame + m, sizeof bits);
        for (shift = 32; shift > 0; shift -= 4)
            *to++ = "0123456789abcdef"[bits >> (shift - 4) & 15u];
    }
    *to++ = '\n';
    *to = 0;
    port_write(line);
}

int main(void) {
    static char words[256];
    static int16_t pcm[WINDOW];
    static output frame[N_MELS];
    char *path = words;
    uint64_t ticks = 0;
    uint32_t start, n = WINDOW, n_frames = 0;
    if (!semihosting_command_line(words, sizeof words)) return 2;
    while (*path && *path != ' ') path++;
    if (!prepare() || !port_open(path + 1)) return 1;
    while (port_read(pcm + WINDOW - n, n) == n) {
        start = port_ticks();
        transform(pcm, frame);
        ticks += (port_ticks() - start) & 0xffffffu;
        write_frame(frame);
        n_frames++;
        memmove(pcm, pcm + HOP, sizeof(int16_t) * (WINDOW - HOP));
        n = HOP;
    }
    port_write("{\"ticks\":");
    report_number(ticks);
    port_write(",\"frames\":");
    report_number(n_frames);
    port_write(",\"working_bytes\":");
    report_number(WORKING_BYTES);
    port_write("}\n");
    return 0;
}
