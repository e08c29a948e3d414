/* Prints the sounds of a 16-bit mono WAV file at 16 kHz. In a folder of
 *
 *     edge-audio firmware build micro-int8 --target c --out engine
 *     cc -O2 -ffp-contract=off -Iengine/src $(ls engine/src/*.c) tag_wav.c -o tag_wav
 *     ./tag_wav street.wav
 */
#include <stdio.h>

#include "edge_audio.h"
#include "edge_audio_image.h"

#define WAV_HEADER_BYTES 44

static ea_model model;
static uint64_t memory[(EA_STREAM_BYTES + 7) / 8]; /* of one stream */
static ea_event events[EA_LABELS];

static void print(size_t n_events) {
    for (size_t i = 0; i < n_events; i++)
        printf("%6.2f s  %-5s  %s  %.2f\n", (double)events[i].sample / ea_sample_rate_hz(&model),
               events[i].kind == EA_START ? "start" : "end", ea_label(&model, events[i].label),
               events[i].score);
}

int main(int argc, char **argv) {
    ea_stream *stream;
    int16_t samples[160];
    size_t n, n_events;
    ea_status status;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL || fseek(file, WAV_HEADER_BYTES, SEEK_SET) != 0) return 2;
    if (ea_open(&model, ea_image, EA_IMAGE_BYTES) != EA_OK) return 1;
    if (ea_init(&stream, &model, memory, sizeof memory) != EA_OK) return 1;
    while ((n = fread(samples, sizeof samples[0], 160, file)) > 0) {
        if (ea_push(stream, samples, n, events, EA_LABELS, &n_events) != EA_OK) return 1;
        print(n_events);
    }
    do { /* once more as long as there were more events than fit */
        status = ea_flush(stream, events, EA_LABELS, &n_events);
        print(n_events);
    } while (status == EA_EVENTS_FULL);
    return fclose(file) != 0 || status != EA_OK;
}
