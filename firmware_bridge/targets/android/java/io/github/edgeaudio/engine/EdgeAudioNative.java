// SPDX-License-Identifier: Apache-2.0
package io.github.edgeaudio.engine;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ShortBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * One stream of sound: 16-bit mono samples in, events out.
 *
 * <p>Any number of streams can share a {@link Model}. Each may be used by any thread; its methods
 * wait for each other. All memory belongs to Java and is freed with the objects; {@link #close}
 * ends the use of a stream, after which its methods throw IllegalStateException.
 */
public final class EdgeAudioNative implements AutoCloseable {
    static {
        System.loadLibrary("edge_audio");
    }

    // Statuses, of edge_audio.h and then of jni.c.
    static final int BAD_ARGUMENT = 1;
    static final int BAD_IMAGE = 2;
    static final int BAD_VERSION = 3;
    static final int BAD_HASH = 4;
    static final int UNALIGNED = 5;
    static final int TOO_SMALL = 6;
    static final int TOO_LARGE = 7;
    static final int NOT_OPEN = 32;
    static final int NOT_DIRECT = 33;
    static final int OUT_OF_BOUNDS = 34;
    static final int NULL_POINTER = 35;

    static final int MORE_EVENTS = 0x40000000;
    static final int EVENT_BYTES = 24;
    static final int ALIGNMENT = 8;

    static final int FACT_LABELS = 0;
    static final int FACT_SAMPLE_RATE_HZ = 1;
    static final int FACT_STEP_SAMPLES = 2;
    static final int FACT_CRC32 = 3;
    static final int FACT_STREAM_BYTES = 4;

    /** An image that cannot be used; the message says why and what to do. */
    public static final class ImageException extends IllegalArgumentException {
        private static final long serialVersionUID = 1L;

        ImageException(String message) {
            super(message);
        }
    }

    /** What is reported of labels that name one sound; in the order of ea_related. */
    public enum Related {
        /** Every label. */
        ALL,
        /** Bark, and neither Dog nor Animal beside it. */
        MOST_SPECIFIC,
        /** Whichever of them starts first. */
        FIRST
    }

    /** A sound began or ended. */
    public static final class Event {
        /** Position in the stream, in samples since it began or was reset. */
        public final long sample;

        /** Index into {@link Model#labels}. */
        public final int label;

        /** Else the end. */
        public final boolean isStart;

        /** Of a start the smoothed score when it was reported, of an end the highest since. */
        public final float score;

        Event(long sample, int label, boolean isStart, float score) {
            this.sample = sample;
            this.label = label;
            this.isStart = isStart;
            this.score = score;
        }
    }

    /** A checked image. Never changes, so that threads can share it. */
    public static final class Model {
        final ByteBuffer memory;
        private final ByteBuffer image; // `memory` points into it
        private final List<String> labels;
        private final int sampleRateHz;
        private final int stepSamples;
        private final int streamBytes;
        private final long crc32;

        /** A copy of all of `image` is kept. Throws ImageException. */
        public Model(byte[] image) {
            this(ByteBuffer.wrap(image));
        }

        /**
         * A copy of `image` from its position to its limit is kept; the position stays as it is.
         * Throws ImageException.
         */
        public Model(ByteBuffer image) {
            this.image = allocateAligned(image.remaining());
            this.image.put(image.duplicate());
            memory = allocateAligned(nativeModelBytes());
            checked(nativeOpen(memory, this.image));
            sampleRateHz = (int) checked(nativeFact(memory, FACT_SAMPLE_RATE_HZ));
            stepSamples = (int) checked(nativeFact(memory, FACT_STEP_SAMPLES));
            streamBytes = (int) checked(nativeFact(memory, FACT_STREAM_BYTES));
            crc32 = checked(nativeFact(memory, FACT_CRC32));
            labels = readLabels((int) checked(nativeFact(memory, FACT_LABELS)));
        }

        private List<String> readLabels(int nLabels) {
            List<String> names = new ArrayList<>(nLabels);
            for (int label = 0; label < nLabels; label++) {
                byte[] utf8 = nativeLabel(memory, image, label);
                names.add(new String(utf8, StandardCharsets.UTF_8));
            }
            return Collections.unmodifiableList(names);
        }

        /** Names in the order of the scores. */
        public List<String> labels() {
            return labels;
        }

        public int sampleRateHz() {
            return sampleRateHz;
        }

        /** Samples of one step: scores change, and events are reported, once in so many. */
        public int stepSamples() {
            return stepSamples;
        }

        /** Memory that each stream takes. */
        public int streamBytes() {
            return streamBytes;
        }

        /** Names the weights, labels and thresholds of the image; 32 bits. */
        public long crc32() {
            return crc32;
        }
    }

    private final Model model;
    private final ByteBuffer memory;
    private final ByteBuffer events;

    /** Starts a stream with the thresholds of the model. */
    public EdgeAudioNative(Model model) {
        this.model = model;
        memory = allocateAligned(model.streamBytes());
        events = allocateAligned(2 * Math.max(1, model.labels().size()) * EVENT_BYTES);
        checked(nativeCreate(memory, model.memory));
    }

    public Model model() {
        return model;
    }

    /**
     * Hears samples[offset] to samples[offset + length - 1] and returns the events that they
     * complete, in the order of their times. Any length will do, 0 included. The list is empty,
     * and nothing is allocated, unless there is an event.
     */
    public synchronized List<Event> push(short[] samples, int offset, int length) {
        checkRange(samples.length, offset, length);
        List<Event> found = Collections.emptyList();
        int nHeard = 0;
        do {
            // Step by step, since `events` has room for those of one.
            int n = Math.min(length - nHeard, model.stepSamples());
            long result = nativePushArray(memory, samples, offset + nHeard, n, events);
            found = readEvents(checked(result), found);
            nHeard += n;
        } while (nHeard < length);
        return found;
    }

    /**
     * The same without a copy, for a direct buffer in the native byte order: hears what is between
     * its position and its limit, and moves the position there.
     */
    public synchronized List<Event> push(ShortBuffer samples) {
        if (!samples.isDirect() || samples.order() != ByteOrder.nativeOrder()) {
            throw new IllegalArgumentException("the samples have to be in a direct buffer in "
                    + "native byte order: ByteBuffer.allocateDirect(n)"
                    + ".order(ByteOrder.nativeOrder()).asShortBuffer()");
        }
        List<Event> found = Collections.emptyList();
        do {
            int n = Math.min(samples.remaining(), model.stepSamples());
            int first = samples.position();
            found = readEvents(checked(nativePushBuffer(memory, samples, first, n, events)), found);
            samples.position(first + n);
        } while (samples.hasRemaining());
        return found;
    }

    /**
     * Ends the stream: hears its last incomplete step, padded with silence, ends all open events,
     * and starts anew.
     */
    public synchronized List<Event> flush() {
        List<Event> found = Collections.emptyList();
        long result;
        do {
            result = checked(nativeFlush(memory, events));
            found = readEvents(result, found);
        } while ((result & MORE_EVENTS) != 0);
        return found;
    }

    /** Starts anew, with the thresholds as they are; open events are forgotten. */
    public synchronized void reset() {
        checked(nativeReset(memory));
    }

    /** Writes the probabilities after the latest step, zeros before the first; one a label. */
    public synchronized void scores(float[] into) {
        checked(nativeScores(memory, into));
    }

    /** Steps taken since the stream began. */
    public synchronized long nSteps() {
        return checked(nativeSteps(memory));
    }

    /** Samples heard since the stream began. */
    public synchronized long nSamples() {
        return checked(nativeSamples(memory));
    }

    /** {on, off}: an event starts at `on` and ends below `off`; {0, 0}: it is not watched. */
    public synchronized float[] threshold(int label) {
        float[] pair = new float[2];
        checked(nativeThreshold(memory, label, pair));
        return pair;
    }

    /** 0 < off <= on <= 1, or on = off = 0, which drops the label's open event. */
    public synchronized void setThreshold(int label, float on, float off) {
        int status = -nativeSetThreshold(memory, label, on, off);
        if (status == BAD_ARGUMENT) {
            throw new IllegalArgumentException("no label " + label + ", or not 0 < off <= on <= 1: "
                    + "on " + on + ", off " + off + "; use 0 and 0 to switch a label off");
        }
        checked(-status);
    }

    /**
     * What is reported of labels that name one sound; at first what the image was built for. Throws
     * IllegalStateException where the image has no related labels.
     */
    public synchronized void setRelated(Related related) {
        int status = -nativeSetRelated(memory, related.ordinal());
        if (status == BAD_ARGUMENT) {
            throw new IllegalStateException(
                    "the image has no related labels: build it with --related");
        }
        checked(-status);
    }

    /** May be called more than once. */
    @Override
    public synchronized void close() {
        nativeDestroy(memory); // of a closed stream: a status, which does no harm
    }

    private List<Event> readEvents(long result, List<Event> found) {
        int count = (int) result & ~MORE_EVENTS;
        if (count > 0 && found.isEmpty()) found = new ArrayList<>();
        for (int i = 0; i < count; i++) found.add(readEvent(events, i * EVENT_BYTES));
        return found;
    }

    private static Event readEvent(ByteBuffer events, int at) {
        long sample = events.getLong(at);
        int label = events.getInt(at + 8);
        boolean isStart = events.getInt(at + 12) == 0;
        return new Event(sample, label, isStart, events.getFloat(at + 16));
    }

    private static void checkRange(int n, int offset, int length) {
        if (offset < 0 || length < 0 || length > n - offset) {
            throw new IndexOutOfBoundsException(
                    "offset " + offset + ", length " + length + " of " + n + " samples");
        }
    }

    /** A direct buffer that begins at a multiple of ALIGNMENT. */
    static ByteBuffer allocateAligned(int nBytes) {
        ByteBuffer all = ByteBuffer.allocateDirect(Math.addExact(nBytes, ALIGNMENT - 1));
        int first = nativePadding(all);
        all.position(first);
        all.limit(first + nBytes);
        return all.slice().order(ByteOrder.nativeOrder());
    }

    /** Returns a result; makes an exception of a negated status. */
    static long checked(long result) {
        if (result >= 0) return result;
        switch ((int) -result) {
            case BAD_IMAGE:
                throw new ImageException("not an image of edge-audio, or a truncated one: build it "
                        + "again with `edge-audio firmware build`, and copy all of it");
            case BAD_VERSION:
                throw new ImageException("the image is of another version of the engine than "
                        + "libedge_audio.so: take both from the same build");
            case BAD_HASH:
                throw new ImageException(
                        "the image was altered, its CRC-32 differs: copy it again");
            case TOO_LARGE:
                throw new ImageException("the model exceeds a limit of this build of "
                        + "libedge_audio.so: take both from the same build");
            case NOT_OPEN:
                throw new IllegalStateException("the stream is closed: make a new one");
            case NULL_POINTER:
                throw new NullPointerException("an argument is null");
            case OUT_OF_BOUNDS:
                throw new IndexOutOfBoundsException("offset or length is outside of the samples");
            case TOO_SMALL:
                throw new IllegalArgumentException("the array or buffer is too small");
            case NOT_DIRECT:
                throw new IllegalArgumentException("the buffer is not a direct one");
            case UNALIGNED:
                throw new IllegalArgumentException("the buffer does not begin at a whole element");
            case BAD_ARGUMENT:
                throw new IllegalArgumentException("a label or a threshold is out of range");
            default:
                throw new IllegalStateException("unexpected status " + -result);
        }
    }

    // In jni.c. They return a result >= 0 or a negated status, and check all that they are given.

    static native int nativePadding(ByteBuffer buffer);

    static native int nativeModelBytes();

    static native int nativeOpen(ByteBuffer model, ByteBuffer image);

    static native long nativeFact(ByteBuffer model, int which);

    static native byte[] nativeLabel(ByteBuffer model, ByteBuffer image, int label);

    // Not static: so `this`, and with it the model's memory, is kept until they return.

    native int nativeCreate(ByteBuffer stream, ByteBuffer model);

    native int nativeDestroy(ByteBuffer stream);

    native int nativePushArray(
            ByteBuffer stream, short[] samples, int offset, int length, ByteBuffer events);

    native int nativePushBuffer(
            ByteBuffer stream, ShortBuffer samples, int offset, int length, ByteBuffer events);

    native int nativeFlush(ByteBuffer stream, ByteBuffer events);

    native int nativeReset(ByteBuffer stream);

    native int nativeScores(ByteBuffer stream, float[] into);

    native long nativeSteps(ByteBuffer stream);

    native long nativeSamples(ByteBuffer stream);

    native int nativeThreshold(ByteBuffer stream, int label, float[] into);

    native int nativeSetThreshold(ByteBuffer stream, int label, float on, float off);

    native int nativeSetRelated(ByteBuffer stream, int related);
}
