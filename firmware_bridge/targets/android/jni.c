/* SPDX-License-Identifier: Apache-2.0
 *
 * The native methods of EdgeAudioNative.java. Java owns all memory, as direct ByteBuffers: one for
 * the image, one for the opened model, one for each stream. So nothing is allocated or kept here,
 * and nothing can be used after it was freed.
 *
 * A model or stream buffer begins with a header that says what it holds and where it lies. Every
 * method checks it, and every length and offset, before it touches anything else; Java checks them
 * too, and makes exceptions of the statuses returned: results are >= 0, statuses negated. No
 * exception is thrown here, but for OutOfMemoryError by the JVM.
 */
#include <jni.h>
#include <stddef.h>

#include "edge_audio.h"

#define NATIVE(type, name) \
    JNIEXPORT type JNICALL Java_io_github_edgeaudio_engine_EdgeAudioNative_native##name

/* Beyond those of ea_status, and the same in EdgeAudioNative.java. */
enum { NOT_OPEN = 32, NOT_DIRECT = 33, OUT_OF_BOUNDS = 34, NULL_POINTER = 35, JAVA_EXCEPTION = 36 };

/* Added to a number of events: there are more. Those of a push come with the next step, those of a
 * flush with another call. */
#define MORE_EVENTS 0x40000000

enum { FACT_LABELS, FACT_SAMPLE_RATE_HZ, FACT_STEP_SAMPLES, FACT_CRC32, FACT_STREAM_BYTES };

#define MODEL_MAGIC 0x6c65646f6d206165u
#define STREAM_MAGIC 0x6d61657274206165u
#define PIECE_SAMPLES 512 /* of a Java array that are on the stack at a time */

typedef struct {
    uint64_t magic;
    const void *self; /* differs in a buffer that was copied */
    ea_model model;
} model_memory;

typedef struct {
    uint64_t magic;
    const void *self;
    const ea_model *model;
    ea_stream *stream;
} stream_memory;

/* EdgeAudioNative.readEvent takes events apart by these offsets. */
typedef char event_has_24_bytes[sizeof(ea_event) == 24 ? 1 : -1];
typedef char sample_comes_first[offsetof(ea_event, sample) == 0 ? 1 : -1];
typedef char then_the_label[offsetof(ea_event, label) == 8 ? 1 : -1];
typedef char then_the_kind[offsetof(ea_event, kind) == 12 && sizeof(ea_kind) == 4 ? 1 : -1];
typedef char then_the_score[offsetof(ea_event, score) == 16 ? 1 : -1];
typedef char a_short_has_16_bits[sizeof(jshort) == sizeof(int16_t) ? 1 : -1];

static jint failure(int status) { return -(jint)status; }

/* The memory of a direct buffer -> EA_OK, or why it cannot be used. */
static int find_memory(JNIEnv *env, jobject buffer, void **address, size_t *n_elements) {
    jlong capacity;
    if (buffer == NULL) return NULL_POINTER;
    *address = (*env)->GetDirectBufferAddress(env, buffer);
    capacity = (*env)->GetDirectBufferCapacity(env, buffer);
    if (*address == NULL || capacity < 0) return NOT_DIRECT;
    *n_elements = (size_t)capacity;
    return EA_OK;
}

/* The same for a buffer of bytes, which has to be aligned and to have `least` of them. */
static int find_bytes(JNIEnv *env, jobject buffer, size_t least, void **address, size_t *n_bytes) {
    int status = find_memory(env, buffer, address, n_bytes);
    if (status != EA_OK) return status;
    if ((uintptr_t)*address % EA_ALIGNMENT != 0) return EA_UNALIGNED;
    return *n_bytes < least ? EA_TOO_SMALL : EA_OK;
}

static int find_model(JNIEnv *env, jobject buffer, const ea_model **model) {
    void *address;
    const model_memory *memory;
    size_t n_bytes;
    int status = find_bytes(env, buffer, sizeof *memory, &address, &n_bytes);
    if (status != EA_OK) return status;
    memory = (const model_memory *)address;
    *model = &memory->model;
    return memory->magic == MODEL_MAGIC && memory->self == address ? EA_OK : NOT_OPEN;
}

static int find_stream(JNIEnv *env, jobject buffer, stream_memory **memory) {
    void *address;
    size_t n_bytes;
    int status = find_bytes(env, buffer, sizeof **memory, &address, &n_bytes);
    if (status != EA_OK) return status;
    *memory = (stream_memory *)address;
    return (*memory)->magic == STREAM_MAGIC && (*memory)->self == address ? EA_OK : NOT_OPEN;
}

static int is_within(jint offset, jint length, size_t n_elements) {
    return offset >= 0 && length >= 0 && (size_t)offset + (size_t)length <= n_elements;
}

/* Where a method writes its events. */
typedef struct {
    ea_event *events;
    size_t capacity, count;
} event_list;

static int find_events(JNIEnv *env, jobject buffer, event_list *list) {
    void *address;
    size_t n_bytes;
    int status = find_bytes(env, buffer, sizeof(ea_event), &address, &n_bytes);
    if (status != EA_OK) return status;
    list->events = (ea_event *)address;
    list->capacity =
        n_bytes / sizeof(ea_event) < MORE_EVENTS ? n_bytes / sizeof(ea_event) : MORE_EVENTS - 1;
    list->count = 0;
    return EA_OK;
}

static int push(ea_stream *stream, const int16_t *samples, size_t n, event_list *list) {
    size_t count = 0;
    int status = (int)ea_push(stream, samples, n, list->events + list->count,
                              list->capacity - list->count, &count);
    list->count += count;
    return status;
}

static jint count_or_failure(int status, const event_list *list) {
    if (status == EA_OK) return (jint)list->count;
    return status == EA_EVENTS_FULL ? (jint)list->count | MORE_EVENTS : failure(status);
}

/* Bytes before the first aligned one of a direct buffer. */
NATIVE(jint, Padding)(JNIEnv *env, jclass type, jobject buffer) {
    void *address;
    size_t n_bytes;
    int status = find_memory(env, buffer, &address, &n_bytes);
    (void)type;
    if (status != EA_OK) return failure(status);
    return (jint)((EA_ALIGNMENT - (uintptr_t)address % EA_ALIGNMENT) % EA_ALIGNMENT);
}

NATIVE(jint, ModelBytes)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    return (jint)sizeof(model_memory);
}

/* Opens the image, which has to stay as it is for as long as the model is used. */
NATIVE(jint, Open)(JNIEnv *env, jclass type, jobject model, jobject image) {
    void *address, *image_address;
    model_memory *memory;
    size_t n_bytes, n_image_bytes;
    int status = find_bytes(env, model, sizeof *memory, &address, &n_bytes);
    (void)type;
    if (status != EA_OK) return failure(status);
    status = find_bytes(env, image, 0, &image_address, &n_image_bytes);
    if (status != EA_OK) return failure(status);
    memory = (model_memory *)address;
    memory->magic = 0;
    status = (int)ea_open(&memory->model, image_address, n_image_bytes);
    if (status != EA_OK) return failure(status);
    memory->self = memory;
    memory->magic = MODEL_MAGIC;
    return EA_OK;
}

NATIVE(jlong, Fact)(JNIEnv *env, jclass type, jobject model_buffer, jint which) {
    const ea_model *model;
    int status = find_model(env, model_buffer, &model);
    (void)type;
    if (status != EA_OK) return failure(status);
    switch (which) {
        case FACT_LABELS: return (jlong)ea_n_labels(model);
        case FACT_SAMPLE_RATE_HZ: return (jlong)ea_sample_rate_hz(model);
        case FACT_STEP_SAMPLES: return (jlong)ea_step_samples(model);
        case FACT_CRC32: return (jlong)ea_image_crc32(model);
        case FACT_STREAM_BYTES: return (jlong)(sizeof(stream_memory) + ea_state_size(model));
        default: return failure(EA_BAD_ARGUMENT);
    }
}

/* UTF-8, which NewStringUTF does not take; null for an unknown label or a model that is not open.
 * image: where the text lies, passed so that Java keeps it until this returns. */
NATIVE(jbyteArray, Label)(JNIEnv *env, jclass type, jobject model_buffer, jobject image,
                          jint label) {
    const ea_model *model;
    const char *text;
    jbyteArray bytes;
    jsize n_bytes = 0;
    (void)type;
    (void)image;
    if (find_model(env, model_buffer, &model) != EA_OK || label < 0) return NULL;
    text = ea_label(model, (uint32_t)label);
    if (text == NULL) return NULL;
    while (text[n_bytes] != 0) n_bytes++;
    bytes = (*env)->NewByteArray(env, n_bytes);
    if (bytes != NULL) (*env)->SetByteArrayRegion(env, bytes, 0, n_bytes, (const jbyte *)text);
    return bytes;
}

/* Starts a stream in `stream`; Java keeps the buffers of model and image for as long as it. */
NATIVE(jint, Create)(JNIEnv *env, jobject self, jobject stream, jobject model_buffer) {
    const ea_model *model;
    stream_memory *memory;
    void *address;
    size_t n_bytes;
    int status = find_model(env, model_buffer, &model);
    (void)self;
    if (status != EA_OK) return failure(status);
    status = find_bytes(env, stream, sizeof *memory, &address, &n_bytes);
    if (status != EA_OK) return failure(status);
    memory = (stream_memory *)address;
    memory->magic = 0;
    status = (int)ea_init(&memory->stream, model, memory + 1, n_bytes - sizeof *memory);
    if (status != EA_OK) return failure(status);
    memory->model = model;
    memory->self = memory;
    memory->magic = STREAM_MAGIC;
    return EA_OK;
}

NATIVE(jint, Destroy)(JNIEnv *env, jobject self, jobject stream) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status != EA_OK) return failure(status);
    memory->magic = 0;
    return EA_OK;
}

static int push_array(JNIEnv *env, ea_stream *stream, jshortArray samples, jint offset, jint length,
                      event_list *list) {
    jshort piece[PIECE_SAMPLES];
    int result = EA_OK;
    while (length > 0) {
        jint n = length < PIECE_SAMPLES ? length : PIECE_SAMPLES;
        int status;
        (*env)->GetShortArrayRegion(env, samples, offset, n, piece);
        if ((*env)->ExceptionCheck(env)) return JAVA_EXCEPTION;
        status = push(stream, piece, (size_t)n, list);
        if (status != EA_OK && status != EA_EVENTS_FULL) return status;
        result = status;
        offset += n;
        length -= n;
    }
    return result;
}

/* samples[offset : offset + length] -> the number of events, which are in `events`. */
NATIVE(jint, PushArray)(JNIEnv *env, jobject self, jobject stream, jshortArray samples, jint offset,
                        jint length, jobject events) {
    stream_memory *memory;
    event_list list;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK) status = find_events(env, events, &list);
    if (status == EA_OK && samples == NULL) status = NULL_POINTER;
    if (status != EA_OK) return failure(status);
    if (!is_within(offset, length, (size_t)(*env)->GetArrayLength(env, samples)))
        return failure(OUT_OF_BOUNDS);
    return count_or_failure(push_array(env, memory->stream, samples, offset, length, &list), &list);
}

/* The same for a direct ShortBuffer in the byte order of the CPU, from its element 0. */
NATIVE(jint, PushBuffer)(JNIEnv *env, jobject self, jobject stream, jobject samples, jint offset,
                         jint length, jobject events) {
    stream_memory *memory;
    event_list list;
    void *address;
    size_t n_samples;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK) status = find_events(env, events, &list);
    if (status == EA_OK) status = find_memory(env, samples, &address, &n_samples);
    if (status != EA_OK) return failure(status);
    if ((uintptr_t)address % sizeof(int16_t) != 0) return failure(EA_UNALIGNED);
    if (!is_within(offset, length, n_samples)) return failure(OUT_OF_BOUNDS);
    status = push(memory->stream, (const int16_t *)address + offset, (size_t)length, &list);
    return count_or_failure(status, &list);
}

NATIVE(jint, Flush)(JNIEnv *env, jobject self, jobject stream, jobject events) {
    stream_memory *memory;
    event_list list;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK) status = find_events(env, events, &list);
    if (status != EA_OK) return failure(status);
    status = (int)ea_flush(memory->stream, list.events, list.capacity, &list.count);
    return count_or_failure(status, &list);
}

NATIVE(jint, Reset)(JNIEnv *env, jobject self, jobject stream) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status != EA_OK) return failure(status);
    ea_reset(memory->stream);
    return EA_OK;
}

NATIVE(jint, Scores)(JNIEnv *env, jobject self, jobject stream, jfloatArray into) {
    stream_memory *memory;
    jsize n_labels;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK && into == NULL) status = NULL_POINTER;
    if (status != EA_OK) return failure(status);
    n_labels = (jsize)ea_n_labels(memory->model);
    if ((*env)->GetArrayLength(env, into) < n_labels) return failure(EA_TOO_SMALL);
    (*env)->SetFloatArrayRegion(env, into, 0, n_labels, ea_scores(memory->stream));
    return EA_OK;
}

NATIVE(jlong, Steps)(JNIEnv *env, jobject self, jobject stream) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    return status == EA_OK ? (jlong)ea_n_steps(memory->stream) : failure(status);
}

NATIVE(jlong, Samples)(JNIEnv *env, jobject self, jobject stream) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    return status == EA_OK ? (jlong)ea_n_samples(memory->stream) : failure(status);
}

/* into: on, off. */
NATIVE(jint, Threshold)(JNIEnv *env, jobject self, jobject stream, jint label, jfloatArray into) {
    stream_memory *memory;
    jfloat pair[2];
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK && into == NULL) status = NULL_POINTER;
    if (status == EA_OK && label < 0) status = EA_BAD_ARGUMENT;
    if (status != EA_OK) return failure(status);
    if ((*env)->GetArrayLength(env, into) < 2) return failure(EA_TOO_SMALL);
    status = (int)ea_threshold(memory->stream, (uint32_t)label, &pair[0], &pair[1]);
    if (status != EA_OK) return failure(status);
    (*env)->SetFloatArrayRegion(env, into, 0, 2, pair);
    return EA_OK;
}

NATIVE(jint, SetThreshold)(JNIEnv *env, jobject self, jobject stream, jint label, jfloat on,
                           jfloat off) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status == EA_OK && label < 0) status = EA_BAD_ARGUMENT;
    if (status != EA_OK) return failure(status);
    return failure((int)ea_set_threshold(memory->stream, (uint32_t)label, on, off));
}

/* related: an ea_related. */
NATIVE(jint, SetRelated)(JNIEnv *env, jobject self, jobject stream, jint related) {
    stream_memory *memory;
    int status = find_stream(env, stream, &memory);
    (void)self;
    if (status != EA_OK) return failure(status);
    return failure((int)ea_set_related(memory->stream, (ea_related)related));
}
