/* SPDX-License-Identifier: Apache-2.0
 *
 * What fuzz targets of calls on streams share. */
#ifndef EDGE_AUDIO_FUZZ_H
#define EDGE_AUDIO_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void require(int is_met, const char *what) {
    if (is_met) return;
    fprintf(stderr, "not so: %s\n", what);
    abort();
}

/* The image that $EA_FUZZ_IMAGE names, in at most n bytes; returns how many it has. */
static size_t read_image(void *image, size_t n) {
    const char *path = getenv("EA_FUZZ_IMAGE");
    FILE *file = path ? fopen(path, "rb") : NULL;
    require(file != NULL, "EA_FUZZ_IMAGE names an image");
    n = fread(image, 1, n, file);
    fclose(file);
    return n;
}

#endif
