// SPDX-License-Identifier: Apache-2.0
package io.github.edgeaudio.engine;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ShortBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** What tests/firmware_bridge/builders/android runs on a JVM. One line of output for each finding. */
public final class EngineCheck {
    private interface Action {
        void run() throws Exception;
    }

    private static final PrintStream OUT = utf8(System.out);

    private EngineCheck() {}

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "facts":
                facts(model(arguments[1]));
                break;
            case "events":
                OUT.print(events(model(arguments[1]), pcm(arguments[2]), arguments[3]));
                break;
            case "threads":
                threads(model(arguments[1]), pcm(arguments[2]), pcm(arguments[3]));
                break;
            case "together":
                together(model(arguments[1]), pcm(arguments[2]));
                break;
            case "many":
                many(Files.readAllBytes(Paths.get(arguments[1])));
                break;
            case "errors":
                errors(Files.readAllBytes(Paths.get(arguments[1])));
                break;
            case "natives":
                natives(Files.readAllBytes(Paths.get(arguments[1])));
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
        OUT.flush();
    }

    private static PrintStream utf8(PrintStream stream) {
        try {
            return new PrintStream(stream, false, "UTF-8");
        } catch (java.io.UnsupportedEncodingException error) {
            throw new IllegalStateException(error);
        }
    }

    private static EdgeAudioNative.Model model(String path) throws IOException {
        return new EdgeAudioNative.Model(Files.readAllBytes(Paths.get(path)));
    }

    /** 16-bit little-endian samples. */
    private static short[] pcm(String path) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Paths.get(path)));
        short[] samples = new short[bytes.remaining() / 2];
        bytes.order(ByteOrder.LITTLE_ENDIAN).asShortBuffer().get(samples);
        return samples;
    }

    private static void facts(EdgeAudioNative.Model model) {
        OUT.println("rate " + model.sampleRateHz());
        OUT.println("step " + model.stepSamples());
        OUT.println("crc32 " + model.crc32());
        OUT.println("stream " + model.streamBytes());
        try (EdgeAudioNative stream = new EdgeAudioNative(model)) {
            for (int i = 0; i < model.labels().size(); i++) {
                float[] pair = stream.threshold(i);
                OUT.println("label " + hex(pair[0]) + " " + hex(pair[1]) + " "
                        + model.labels().get(i));
            }
        }
    }

    /** plan: "array:SAMPLES", "offset:SAMPLES" or "buffer:SAMPLES", the length of each push. */
    private static String events(EdgeAudioNative.Model model, short[] pcm, String plan) {
        String how = plan.split(":")[0];
        int chunk = Integer.parseInt(plan.split(":")[1]);
        StringBuilder text = new StringBuilder();
        float[] scores = new float[model.labels().size()];
        try (EdgeAudioNative stream = new EdgeAudioNative(model)) {
            for (int first = 0; first < pcm.length; first += chunk) {
                int n = Math.min(chunk, pcm.length - first);
                write(push(stream, how, pcm, first, n), text);
            }
            stream.scores(scores);
            text.append("heard ").append(stream.nSamples()).append(' ').append(stream.nSteps());
            text.append("\nscores");
            for (float score : scores) text.append(' ').append(hex(score));
            text.append("\nflush\n");
            write(stream.flush(), text);
            text.append("heard ").append(stream.nSamples()).append(' ').append(stream.nSteps());
        }
        return text.append('\n').toString();
    }

    private static List<EdgeAudioNative.Event> push(
            EdgeAudioNative stream, String how, short[] pcm, int first, int n) {
        if (how.equals("offset")) return stream.push(pcm, first, n);
        if (how.equals("array")) {
            return stream.push(Arrays.copyOfRange(pcm, first, first + n), 0, n);
        }
        ShortBuffer direct = direct(n + 2);
        direct.position(1);
        direct.put(pcm, first, n);
        direct.limit(n + 1).position(1);
        List<EdgeAudioNative.Event> found = stream.push(direct);
        if (direct.hasRemaining()) throw new IllegalStateException("samples are left");
        return found;
    }

    private static void write(List<EdgeAudioNative.Event> events, StringBuilder text) {
        for (EdgeAudioNative.Event event : events) {
            text.append(event.isStart ? "start " : "end ").append(event.sample).append(' ');
            text.append(event.label).append(' ').append(hex(event.score)).append('\n');
        }
    }

    private static String hex(float number) {
        return String.format("%08x", Float.floatToRawIntBits(number));
    }

    private static ShortBuffer direct(int n) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(2 * n);
        return bytes.order(ByteOrder.nativeOrder()).asShortBuffer();
    }

    /** A stream on each of two threads, at the same time. */
    private static void threads(EdgeAudioNative.Model model, short[] first, short[] second)
            throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(2);
        Callable<String> task = () -> events(model, first, "array:640");
        Callable<String> other = () -> events(model, second, "buffer:1000");
        List<Future<String>> results = pool.invokeAll(Arrays.asList(task, other));
        pool.shutdown();
        for (Future<String> result : results) OUT.print(result.get() + "---\n");
    }

    /** One stream on two threads, until a third closes it. */
    private static void together(EdgeAudioNative.Model model, short[] pcm) throws Exception {
        EdgeAudioNative stream = new EdgeAudioNative(model);
        ExecutorService pool = Executors.newFixedThreadPool(2);
        Callable<String> task = () -> {
            try {
                for (;;) stream.push(pcm, 0, Math.min(pcm.length, 16_000));
            } catch (IllegalStateException error) {
                return error.getMessage();
            }
        };
        Future<String> first = pool.submit(task);
        Future<String> second = pool.submit(task);
        while (stream.nSteps() == 0) Thread.sleep(1);
        stream.close();
        OUT.println(first.get() + "\n" + second.get());
        pool.shutdown();
    }

    /** More models and streams than there is memory for at one time; not all are closed. */
    private static void many(byte[] image) {
        short[] pcm = new short[3_000];
        long nSteps = 0;
        for (int i = 0; i < 300; i++) {
            EdgeAudioNative stream = new EdgeAudioNative(new EdgeAudioNative.Model(image));
            stream.push(pcm, 0, pcm.length);
            nSteps += stream.nSteps();
            if (i % 2 == 0) stream.close();
        }
        OUT.println(nSteps);
    }

    private static void attempt(String name, Action action) {
        try {
            action.run();
            OUT.println(name + ": fine");
        } catch (Exception error) {
            OUT.println(name + ": " + error.getClass().getSimpleName() + ": " + error.getMessage());
        }
    }

    private static byte[] changed(byte[] image, int at) {
        byte[] copy = image.clone();
        copy[at] ^= 0x40;
        return copy;
    }

    /** What an app may get wrong. */
    private static void errors(byte[] image) {
        attempt("empty image", () -> new EdgeAudioNative.Model(new byte[0]));
        attempt("text", () -> new EdgeAudioNative.Model("not an image".getBytes("UTF-8")));
        attempt("truncated image", () ->
                new EdgeAudioNative.Model(Arrays.copyOf(image, image.length - 1)));
        attempt("half an image", () ->
                new EdgeAudioNative.Model(Arrays.copyOf(image, image.length / 2)));
        attempt("longer image", () ->
                new EdgeAudioNative.Model(Arrays.copyOf(image, image.length + 8)));
        attempt("altered image", () -> new EdgeAudioNative.Model(changed(image, image.length - 9)));
        attempt("other version", () -> new EdgeAudioNative.Model(changed(image, 4)));
        attempt("null array", () -> new EdgeAudioNative.Model((byte[]) null));
        attempt("null buffer", () -> new EdgeAudioNative.Model((ByteBuffer) null));
        attempt("unaligned image", () -> {
            ByteBuffer direct = ByteBuffer.allocateDirect(image.length + 9);
            for (int at = 1; at < 9; at++) {
                direct.position(at);
                direct.put(image).position(at).limit(at + image.length);
                new EdgeAudioNative.Model(direct.slice());
                new EdgeAudioNative.Model(direct.asReadOnlyBuffer());
                new EdgeAudioNative.Model(direct);
                if (direct.position() != at) throw new IllegalStateException("it was moved");
                direct.limit(direct.capacity());
            }
        });

        EdgeAudioNative.Model model = new EdgeAudioNative.Model(image);
        int nLabels = model.labels().size();
        attempt("null model", () -> new EdgeAudioNative(null));
        EdgeAudioNative stream = new EdgeAudioNative(model);
        short[] pcm = new short[100];
        attempt("null samples", () -> stream.push(null, 0, 0));
        attempt("null sample buffer", () -> stream.push((ShortBuffer) null));
        attempt("negative offset", () -> stream.push(pcm, -1, 10));
        attempt("negative length", () -> stream.push(pcm, 0, -1));
        attempt("beyond the end", () -> stream.push(pcm, 91, 10));
        attempt("overflowing length", () -> stream.push(pcm, 1, Integer.MAX_VALUE));
        attempt("nothing at the end", () -> stream.push(pcm, 100, 0));
        attempt("heap buffer", () -> stream.push(ShortBuffer.wrap(pcm)));
        attempt("wrong byte order", () ->
                stream.push(ByteBuffer.allocateDirect(8).order(
                        ByteOrder.nativeOrder() == ByteOrder.BIG_ENDIAN ? ByteOrder.LITTLE_ENDIAN
                                : ByteOrder.BIG_ENDIAN).asShortBuffer()));
        attempt("odd address", () -> {
            ByteBuffer bytes = ByteBuffer.allocateDirect(9);
            bytes.position(1);
            stream.push(bytes.slice().order(ByteOrder.nativeOrder()).asShortBuffer());
        });
        attempt("read-only buffer", () -> stream.push(direct(10).asReadOnlyBuffer()));
        attempt("short scores", () -> stream.scores(new float[nLabels - 1]));
        attempt("long scores", () -> stream.scores(new float[nLabels + 1]));
        attempt("null scores", () -> stream.scores(null));
        attempt("label -1", () -> stream.threshold(-1));
        attempt("label beyond", () -> stream.threshold(nLabels));
        attempt("threshold of label -1", () -> stream.setThreshold(-1, 0.5f, 0.4f));
        attempt("threshold above 1", () -> stream.setThreshold(0, 1.5f, 0.4f));
        attempt("off above on", () -> stream.setThreshold(0, 0.4f, 0.5f));
        attempt("not a number", () -> stream.setThreshold(0, Float.NaN, 0.1f));
        attempt("good threshold", () -> {
            stream.setThreshold(0, 0.5f, 0.25f);
            if (!Arrays.equals(stream.threshold(0), new float[] {0.5f, 0.25f})) {
                throw new IllegalStateException("it was not kept");
            }
        });
        attempt("all related labels", () -> stream.setRelated(EdgeAudioNative.Related.ALL));
        attempt("null related", () -> stream.setRelated(null));
        attempt("still works", () -> stream.push(new short[16_000], 0, 16_000));

        stream.close();
        stream.close();
        attempt("push when closed", () -> stream.push(pcm, 0, 1));
        attempt("buffer when closed", () -> stream.push(direct(1)));
        attempt("flush when closed", stream::flush);
        attempt("reset when closed", stream::reset);
        attempt("related when closed", () -> stream.setRelated(EdgeAudioNative.Related.FIRST));
        attempt("scores when closed", () -> stream.scores(new float[nLabels]));
        attempt("steps when closed", stream::nSteps);
        attempt("samples when closed", stream::nSamples);
        attempt("threshold when closed", () -> stream.threshold(0));
        attempt("set threshold when closed", () -> stream.setThreshold(0, 0.5f, 0.4f));
        attempt("another stream", () -> new EdgeAudioNative(model).push(pcm, 0, 100));
    }

    /** What EdgeAudioNative itself never does; the native methods are to withstand it. */
    private static void natives(byte[] image) {
        EdgeAudioNative.Model model = new EdgeAudioNative.Model(image);
        EdgeAudioNative stream = new EdgeAudioNative(model);
        ByteBuffer zeros = EdgeAudioNative.allocateAligned(model.streamBytes());
        ByteBuffer heap = ByteBuffer.allocate(model.streamBytes());
        ByteBuffer tiny = EdgeAudioNative.allocateAligned(8);
        ByteBuffer odd = EdgeAudioNative.allocateAligned(model.streamBytes() + 1);
        odd.position(1);
        ByteBuffer opened = EdgeAudioNative.allocateAligned(model.streamBytes());
        ByteBuffer events = EdgeAudioNative.allocateAligned(240);
        status("create", stream.nativeCreate(opened, model.memory));
        ByteBuffer moved = EdgeAudioNative.allocateAligned(model.streamBytes());
        moved.put(opened.duplicate());
        short[] pcm = new short[100];

        for (ByteBuffer bad : Arrays.asList(null, heap, tiny, odd.slice(), zeros, moved)) {
            status("open", EdgeAudioNative.nativeOpen(bad == zeros || bad == moved ? null : bad,
                    model.memory));
            status("fact", EdgeAudioNative.nativeFact(bad, EdgeAudioNative.FACT_LABELS));
            OUT.println("label " + EdgeAudioNative.nativeLabel(bad, null, 0));
            status("create", stream.nativeCreate(opened, bad));
            status("array", stream.nativePushArray(bad, pcm, 0, 1, events));
            status("buffer", stream.nativePushBuffer(bad, direct(1), 0, 1, events));
            status("flush", stream.nativeFlush(bad, events));
            status("reset", stream.nativeReset(bad));
            status("scores", stream.nativeScores(bad, new float[model.labels().size()]));
            status("steps", stream.nativeSteps(bad));
            status("samples", stream.nativeSamples(bad));
            status("threshold", stream.nativeThreshold(bad, 0, new float[2]));
            status("set", stream.nativeSetThreshold(bad, 0, 0.5f, 0.4f));
            status("destroy", stream.nativeDestroy(bad));
        }
        status("fact", EdgeAudioNative.nativeFact(model.memory, 99));
        OUT.println("label " + EdgeAudioNative.nativeLabel(model.memory, null, -1));
        OUT.println("label " + EdgeAudioNative.nativeLabel(model.memory, null, 1_000_000));
        ByteBuffer small = EdgeAudioNative.allocateAligned(model.streamBytes() - 8);
        status("small stream", stream.nativeCreate(small, model.memory));
        status("not a model", stream.nativeCreate(zeros, opened));
        status("not a stream", stream.nativeReset(model.memory));
        status("no image", EdgeAudioNative.nativeOpen(zeros, null));

        status("create", stream.nativeCreate(opened, model.memory));
        status("bounds", stream.nativePushArray(opened, pcm, 1, Integer.MAX_VALUE, events));
        status("bounds", stream.nativePushArray(opened, pcm, -1, 5, events));
        status("bounds", stream.nativePushArray(opened, pcm, 5, -1, events));
        status("bounds", stream.nativePushBuffer(opened, direct(5), 3, 3, events));
        status("bounds", stream.nativePushBuffer(opened, direct(5), Integer.MIN_VALUE, 3, events));
        status("no samples", stream.nativePushArray(opened, null, 0, 0, events));
        status("no samples", stream.nativePushBuffer(opened, null, 0, 0, events));
        status("no events", stream.nativePushArray(opened, pcm, 0, 1, null));
        status("heap events", stream.nativePushArray(opened, pcm, 0, 1, heap));
        status("tiny events", stream.nativePushArray(opened, pcm, 0, 1, tiny));
        status("short pair", stream.nativeThreshold(opened, 0, new float[1]));
        status("no pair", stream.nativeThreshold(opened, 0, null));
        status("no scores", stream.nativeScores(opened, null));
        status("no buffer", EdgeAudioNative.nativePadding(null));
        status("heap buffer", EdgeAudioNative.nativePadding(heap));
        status("fine", stream.nativePushArray(opened, pcm, 0, 100, events));
        status("samples", stream.nativeSamples(opened));
        status("destroy", stream.nativeDestroy(opened));
        status("destroy", stream.nativeDestroy(opened));
    }

    private static void status(String name, long result) {
        OUT.println(name + " " + result);
    }
}
