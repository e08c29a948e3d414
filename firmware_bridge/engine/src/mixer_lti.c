/* SPDX-License-Identifier: Apache-2.0
 *
 * Diagonal state space (distill/students/lti.py): channels of decaying oscillators.
 */
#include "kernels.h"
#include "mixers.h"

#if EA_HAS(EA_LTI)

/* Two numbers for each mode, real and imaginary part, of channels in tiles of EA_TILE. */
#if defined(EA_VECTORS)

static ea_float8 numbers8(const int16_t *at) {
    return __builtin_convertvector(ea_load_short8(at), ea_float8);
}

/* The next state of a tile from channel d on, h [2 n_modes][EA_TILE], and its y. */
static void lti_tile(const ea_lti *m, uint32_t channels, uint32_t d, const float *u,
                     float (*h)[EA_TILE], float *y) {
    ea_float8 input = ea_load_float8(u + d), sum = {0};
    uint32_t k, at = d;
    for (k = 0; k < m->n_modes; k++, at += channels) {
        ea_float8 turn = numbers8(m->cos + at) * (1.0f / 32768.0f);
        ea_float8 side = numbers8(m->sin + at) * (1.0f / 32768.0f);
        ea_float8 re = ea_load_float8(h[2 * k]), im = ea_load_float8(h[2 * k + 1]);
        ea_float8 next = (turn * re - side * im) + input;
        im = side * re + turn * im;
        ea_store_float8(h[2 * k], next);
        ea_store_float8(h[2 * k + 1], im);
        sum = sum + (numbers8(m->real + at) * next - numbers8(m->imag + at) * im);
    }
    ea_store_float8(y + d, ea_load_numbers8(&m->skip, d) * input + m->readout_scale * sum);
}

#if defined(EA_PACKED)
/* The same from packed numbers: cos, sin, real and imag [n_modes][4][EA_TILE] of a tile. */
static void lti_packed(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    uint32_t n_modes = m->n_modes, d, k;
    const float *at = m->packed;
    for (d = 0; d < channels; d += EA_TILE) {
        ea_float8 input = ea_load_float8(u + d), sum = {0};
        for (k = 0; k < n_modes; k++, at += 4 * EA_TILE, state += 2 * EA_TILE) {
            ea_float8 turn = ea_load_float8(at), side = ea_load_float8(at + EA_TILE);
            ea_float8 re = ea_load_float8(state), im = ea_load_float8(state + EA_TILE);
            ea_float8 next = (turn * re - side * im) + input;
            im = side * re + turn * im;
            ea_store_float8(state, next);
            ea_store_float8(state + EA_TILE, im);
            sum = sum +
                  (ea_load_float8(at + 2 * EA_TILE) * next - ea_load_float8(at + 3 * EA_TILE) * im);
        }
        ea_store_float8(y + d, ea_load_numbers8(&m->skip, d) * input + m->readout_scale * sum);
    }
}
#endif

#if EA_STATES & 1u
static void lti_float(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    uint32_t d;
#if defined(EA_PACKED)
    if (m->packed) {
        lti_packed(m, channels, state, u, y);
        return;
    }
#endif
    for (d = 0; d < channels; d += EA_TILE, state += 2 * m->n_modes * EA_TILE)
        lti_tile(m, channels, d, u, (float (*)[EA_TILE])(void *)state, y);
}
#endif

#if EA_STATES & 2u
static void lti_int16(const ea_lti *m, uint32_t channels, uint8_t *exponents, const float *u,
                      float *y) {
    float h[2 * EA_MAX_MODES][EA_TILE];
    int16_t *q = (int16_t *)(void *)(exponents + channels);
    uint32_t n = 2 * m->n_modes, d, i, c;
    for (d = 0; d < channels; d += EA_TILE, exponents += EA_TILE, q += n * EA_TILE) {
        float unit[EA_TILE], largest[EA_TILE] = {0};
        for (c = 0; c < EA_TILE; c++) unit[c] = ea_unit_of(exponents[c]);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) h[i][c] = (float)q[i * EA_TILE + c] * unit[c];
        lti_tile(m, channels, d, u, h, y);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) largest[c] = ea_max(largest[c], ea_abs(h[i][c]));
        for (c = 0; c < EA_TILE; c++) exponents[c] = ea_exponent_of(largest[c]);
        for (c = 0; c < EA_TILE; c++) unit[c] = ea_inverse_unit_of(exponents[c]);
        for (i = 0; i < n; i++)
            for (c = 0; c < EA_TILE; c++) q[i * EA_TILE + c] = ea_kept(h[i][c], unit[c]);
    }
}
#endif

#else

typedef struct {
    float re, im;
} mode;

/* The next state h [n_modes] of channel d and its y; returns its largest number. */
static float lti_channel(const ea_lti *m, uint32_t channels, uint32_t d, float input, mode *h,
                         float *y) {
    float sum = 0.0f, largest = 0.0f;
    uint32_t k, at = d;
    for (k = 0; k < m->n_modes; k++, at += channels) {
        float turn = (float)m->cos[at] * (1.0f / 32768.0f);
        float side = (float)m->sin[at] * (1.0f / 32768.0f);
        float re = (turn * h[k].re - side * h[k].im) + input;
        float im = side * h[k].re + turn * h[k].im;
        h[k].re = re;
        h[k].im = im;
        largest = ea_max(largest, ea_max(ea_abs(re), ea_abs(im)));
        sum += (float)m->real[at] * re - (float)m->imag[at] * im;
    }
    *y = ea_number(&m->skip, d) * input + m->readout_scale * sum;
    return largest;
}

/* Where the state of channel d begins; its numbers are EA_TILE apart. */
static uint32_t lti_begin(const ea_lti *m, uint32_t d) {
    return d / EA_TILE * EA_TILE * 2 * m->n_modes + d % EA_TILE;
}

#if EA_STATES & 1u
static void lti_float(const ea_lti *m, uint32_t channels, float *state, const float *u, float *y) {
    mode h[EA_MAX_MODES];
    uint32_t d, k;
    for (d = 0; d < channels; d++) {
        float *at = state + lti_begin(m, d);
        for (k = 0; k < m->n_modes; k++) {
            h[k].re = at[2 * k * EA_TILE];
            h[k].im = at[(2 * k + 1) * EA_TILE];
        }
        (void)lti_channel(m, channels, d, u[d], h, y + d);
        for (k = 0; k < m->n_modes; k++) {
            at[2 * k * EA_TILE] = h[k].re;
            at[(2 * k + 1) * EA_TILE] = h[k].im;
        }
    }
}
#endif

#if EA_STATES & 2u
static void lti_int16(const ea_lti *m, uint32_t channels, uint8_t *exponents, const float *u,
                      float *y) {
    int16_t *state = (int16_t *)(void *)(exponents + channels);
    mode h[EA_MAX_MODES];
    uint32_t d, k;
    for (d = 0; d < channels; d++) {
        int16_t *at = state + lti_begin(m, d);
        float unit = ea_unit_of(exponents[d]);
        for (k = 0; k < m->n_modes; k++) {
            h[k].re = (float)at[2 * k * EA_TILE] * unit;
            h[k].im = (float)at[(2 * k + 1) * EA_TILE] * unit;
        }
        exponents[d] = ea_exponent_of(lti_channel(m, channels, d, u[d], h, y + d));
        unit = ea_inverse_unit_of(exponents[d]);
        for (k = 0; k < m->n_modes; k++) {
            at[2 * k * EA_TILE] = ea_kept(h[k].re, unit);
            at[(2 * k + 1) * EA_TILE] = ea_kept(h[k].im, unit);
        }
    }
}
#endif

#endif

void ea_apply_lti(const ea_model *model, const ea_lti *m, uint8_t *state, const float *u,
                  float *y) {
#if EA_STATES & 2u
    if (model->has_int16_state) lti_int16(m, model->channels, state, u, y);
#endif
#if EA_STATES & 1u
    if (!model->has_int16_state) lti_float(m, model->channels, (float *)(void *)state, u, y);
#endif
}

uint32_t ea_lti_state_bytes(const ea_model *model, const ea_lti *m) {
    uint32_t n = 2 * m->n_modes * model->channels;
    return model->has_int16_state ? model->channels + 2 * n : 4 * n;
}

#endif
