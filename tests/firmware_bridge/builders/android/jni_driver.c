/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls the native methods of an Android library where there is no Java: what they use of JNI is
 * made up here. Prints what EngineCheck prints for "events":
 *
 *     jni_driver libedge_audio.so model.bin samples.s16 SAMPLES_A_PUSH
 */
#include <dlfcn.h>
#include <jni.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MORE_EVENTS 0x40000000
#define FAILS(condition)                                                      \
    do {                                                                      \
        if (condition) {                                                      \
            fprintf(stderr, "failed in line %d: %s\n", __LINE__, #condition); \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

/* A Java array or direct buffer: what a jobject points at here. */
typedef struct {
    void *data;
    jlong n;
} block;

typedef struct {
    uint64_t sample;
    uint32_t label, kind;
    float score;
} event;

static block *as_block(jobject object) { return (block *)(void *)object; }

static void *JNICALL buffer_address(JNIEnv *env, jobject buffer) {
    (void)env;
    return as_block(buffer)->data;
}

static jlong JNICALL buffer_capacity(JNIEnv *env, jobject buffer) {
    (void)env;
    return as_block(buffer)->n;
}

static jsize JNICALL array_length(JNIEnv *env, jarray array) {
    (void)env;
    return (jsize)as_block(array)->n;
}

static void JNICALL get_shorts(JNIEnv *env, jshortArray array, jsize first, jsize n, jshort *to) {
    (void)env;
    FAILS(first < 0 || n < 0 || first + n > as_block(array)->n);
    memcpy(to, (jshort *)as_block(array)->data + first, sizeof(jshort) * (size_t)n);
}

static void JNICALL set_floats(JNIEnv *env, jfloatArray array, jsize first, jsize n,
                               const jfloat *from) {
    (void)env;
    FAILS(first < 0 || n < 0 || first + n > as_block(array)->n);
    memcpy((jfloat *)as_block(array)->data + first, from, sizeof(jfloat) * (size_t)n);
}

static jboolean JNICALL no_exception(JNIEnv *env) {
    (void)env;
    return JNI_FALSE;
}

static block allocate(size_t n_bytes) {
    block made = {calloc(1, n_bytes), (jlong)n_bytes};
    FAILS(made.data == NULL);
    return made;
}

static block read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    block content;
    FAILS(file == NULL);
    fseek(file, 0, SEEK_END);
    content = allocate((size_t)ftell(file));
    rewind(file);
    FAILS(fread(content.data, 1, (size_t)content.n, file) != (size_t)content.n);
    fclose(file);
    return content;
}

static void *library;

/* Stores the address of a native method. */
static void find(const char *name, void *address) {
    char symbol[128] = "Java_io_github_edgeaudio_engine_EdgeAudioNative_native";
    void *found = dlsym(library, strcat(symbol, name));
    FAILS(found == NULL);
    memcpy(address, &found, sizeof found);
}

static void print_float(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    printf("%08x", (unsigned)bits);
}

static void print_events(const block *events, jint result) {
    const event *found = events->data;
    jint i;
    FAILS(result < 0 || (result & MORE_EVENTS));
    for (i = 0; i < result; i++) {
        printf("%s %llu %u ", found[i].kind == 0 ? "start" : "end",
               (unsigned long long)found[i].sample, (unsigned)found[i].label);
        print_float(found[i].score);
        putchar('\n');
    }
}

int main(int argc, char **argv) {
    struct JNINativeInterface_ functions;
    const struct JNINativeInterface_ *table = &functions;
    JNIEnv *env = (JNIEnv *)&table;
    block image, model, stream, events, scores, pcm;
    jint (*model_bytes)(JNIEnv *, jclass), (*open)(JNIEnv *, jclass, jobject, jobject);
    jlong (*fact)(JNIEnv *, jclass, jobject, jint);
    jint (*create)(JNIEnv *, jobject, jobject, jobject), (*destroy)(JNIEnv *, jobject, jobject);
    jint (*push)(JNIEnv *, jobject, jobject, jshortArray, jint, jint, jobject);
    jint (*flush)(JNIEnv *, jobject, jobject, jobject), (*get)(JNIEnv *, jobject, jobject, jobject);
    jlong (*samples)(JNIEnv *, jobject, jobject), (*steps)(JNIEnv *, jobject, jobject);
    jint first, chunk, n_labels, i;

    FAILS(argc != 5);
    library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    FAILS(library == NULL);
    memset(&functions, 0, sizeof functions);
    functions.GetDirectBufferAddress = buffer_address;
    functions.GetDirectBufferCapacity = buffer_capacity;
    functions.GetArrayLength = array_length;
    functions.GetShortArrayRegion = get_shorts;
    functions.SetFloatArrayRegion = set_floats;
    functions.ExceptionCheck = no_exception;
    find("ModelBytes", &model_bytes);
    find("Open", &open);
    find("Fact", &fact);
    find("Create", &create);
    find("Destroy", &destroy);
    find("PushArray", &push);
    find("Flush", &flush);
    find("Scores", &get);
    find("Samples", &samples);
    find("Steps", &steps);

#define OBJECT(of) ((jobject)(void *)&(of))
    image = read_file(argv[2]);
    model = allocate((size_t)model_bytes(env, NULL));
    FAILS(open(env, NULL, OBJECT(model), OBJECT(image)) != 0);
    n_labels = (jint)fact(env, NULL, OBJECT(model), 0);
    stream = allocate((size_t)fact(env, NULL, OBJECT(model), 4));
    events = allocate(sizeof(event) * (size_t)n_labels * 2);
    scores = allocate(sizeof(float) * (size_t)n_labels);
    scores.n = n_labels;
    FAILS(create(env, NULL, OBJECT(stream), OBJECT(model)) != 0);

    pcm = read_file(argv[3]);
    pcm.n /= (jlong)sizeof(jshort);
    chunk = (jint)atoi(argv[4]);
    for (first = 0; first < pcm.n; first += chunk) {
        jint n = pcm.n - first < chunk ? (jint)pcm.n - first : chunk;
        print_events(&events, push(env, NULL, OBJECT(stream), (jshortArray)OBJECT(pcm), first, n,
                                   OBJECT(events)));
    }
    FAILS(get(env, NULL, OBJECT(stream), OBJECT(scores)) != 0);
    printf("heard %lld %lld\nscores", (long long)samples(env, NULL, OBJECT(stream)),
           (long long)steps(env, NULL, OBJECT(stream)));
    for (i = 0; i < n_labels; i++) {
        putchar(' ');
        print_float(((const float *)scores.data)[i]);
    }
    printf("\nflush\n");
    print_events(&events, flush(env, NULL, OBJECT(stream), OBJECT(events)));
    printf("heard %lld %lld\n", (long long)samples(env, NULL, OBJECT(stream)),
           (long long)steps(env, NULL, OBJECT(stream)));
    FAILS(destroy(env, NULL, OBJECT(stream)) != 0);
    FAILS(push(env, NULL, OBJECT(stream), (jshortArray)OBJECT(pcm), 0, 0, OBJECT(events)) != -32);
    return 0;
}
