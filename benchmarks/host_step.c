/* SPDX-License-Identifier: Apache-2.0
 *
 * host_step IMAGE STEPS IS_PACKED: front end and network of so many steps of noise, and a hash of
 * the last scores. For benchmarks/host_step.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../firmware_bridge/engine/host/edge_audio_host.h"

static void *aligned(size_t n_bytes) {
    uint8_t *memory = calloc(n_bytes + 64, 1);
    if (!memory) exit(1);
    return memory + (64 - (uintptr_t)memory % 64);
}

static void *read_image(const char *path, size_t *n_bytes) {
    const size_t most = 1u << 24;
    void *image = aligned(most);
    FILE *file = fopen(path, "rb");
    if (!file) exit(1);
    *n_bytes = fread(image, 1, most, file);
    fclose(file);
    return image;
}

static float noise(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return ((float)(state >> 16) - 32768.0f) / 327680.0f;
}

static uint32_t hash(const float *scores, uint32_t n) {
    const uint8_t *bytes = (const uint8_t *)scores;
    uint32_t h = 0, i;
    for (i = 0; i < 4 * n; i++) h = h * 31 + bytes[i];
    return h;
}

int main(int argc, char **argv) {
    static ea_model model;
    size_t n_bytes, n_steps, n, i;
    void *image, *network, *scratch, *stream;
    float *scores, *samples;
    clock_t start;
    if (argc != 4) return 2;
    image = read_image(argv[1], &n_bytes);
    n_steps = strtoul(argv[2], 0, 10);
    if (ea_open(&model, image, n_bytes)) return 1;
    if (argv[3][0] == '1') ea_pack(&model, aligned(ea_pack_size(&model)));
    network = aligned(ea_network_size(&model));
    scratch = aligned(ea_scratch_size(&model));
    scores = aligned(sizeof(float) * ea_n_labels(&model));
    ea_begin(&model, network, scores, scratch);
    stream = aligned(ea_block_stream_size(&model));
    (void)ea_block_begin(&model, network, stream);
    n = ea_step_samples(&model);
    samples = aligned(sizeof(float) * n);
    start = clock();
    for (; n_steps > 0; n_steps--) {
        for (i = 0; i < n; i++) samples[i] = noise();
        (void)ea_block_push(stream, samples, n, scores, 0, 1, scratch);
    }
    printf("%08x %.9f\n", hash(scores, ea_n_labels(&model)),
           (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
