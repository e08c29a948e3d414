/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens an image and prints, as JSON, what a build for it needs to know. Runs where firmware is
 * generated, not in it.
 */
#include <stdio.h>

#include "edge_audio.h"

static uint64_t image[(1u << 27) / 8];
static ea_model model;

static unsigned label_bytes(void) {
    unsigned n = 0, i;
    for (i = 0; i < model.n_labels; i++) {
        const char *text = ea_label(&model, i);
        while (*text++) n++;
        n++;
    }
    return n;
}

static unsigned front_end_bytes(void) {
    unsigned n_bins = model.fft_size / 2 + 1;
    return 4 * (model.window / 2 + 1) + 4 * (model.fft_size / 4 + 1) + 3 * n_bins + 4;
}

static unsigned mixers(void) {
    unsigned kinds = 0, i;
    for (i = 0; i < model.n_blocks; i++) kinds |= 1u << model.blocks[i].kind;
    return kinds;
}

static unsigned map_channels(void) {
    unsigned most = 4, i;
    for (i = 0; i < model.n_convs; i++) {
        const ea_conv *conv = &model.convs[i];
        if (conv->n_filters > most) most = conv->n_filters;
        if (conv->n_out > most) most = conv->n_out;
    }
    return most;
}

static unsigned related_bytes(void) {
    unsigned n = 0, i;
    for (i = 0; i < model.n_ancestors; i++) n += 2u + model.ancestors[n + 1];
    n += 2u * model.n_synonyms;
    return n > 0 ? 16 + (2 * n + 3) / 4 * 4 : 0;
}

static void print(const char *name, size_t value, const char *end) {
    printf("\"%s\": %lu%s", name, (unsigned long)value, end);
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    size_t n_bytes = file ? fread(image, 1, sizeof image, file) : 0;
    ea_status status = ea_open(&model, image, n_bytes);
    if (status != EA_OK) {
        fprintf(stderr, "ea_open: status %d\n", (int)status);
        return 1;
    }
    printf("{");
    print("crc32", model.crc32, ", ");
    print("n_labels", model.n_labels, ", ");
    print("n_convs", model.n_convs, ", ");
    print("n_blocks", model.n_blocks, ", ");
    print("mixers", mixers(), ", ");
    print("map_channels", map_channels(), ", ");
    print("sample_rate_hz", model.sample_rate_hz, ", ");
    print("step_samples", ea_step_samples(&model), ", ");
    print("state_bytes", ea_state_size(&model), ", ");
    print("network_bytes", ea_network_size(&model), ", ");
    print("scratch_bytes", ea_scratch_size(&model), ", ");
    print("front_end_bytes", front_end_bytes(), ", ");
    print("label_bytes", label_bytes(), ", ");
    print("threshold_bytes", 8 * model.n_labels, ", ");
    print("related_bytes", related_bytes(), "}\n");
    return 0;
}
