package io.github.edgeaudio

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * One loaded model and the state of one stream. The source sets litert and executorch have
 * one each, which the rest of the app knows by their MODEL_FILE_NAME and openStepModel.
 *
 * To be used by one thread at a time.
 */
interface StepModel : AutoCloseable {
    /** All state becomes zero. */
    fun reset()

    /** Hears one step of samples in [-1, 1] and writes the probabilities of all labels. */
    fun step(samples: FloatArray, scores: FloatArray)
}

/** Zeros outside the Java heap and in the phone's byte order, as both runtimes want them. */
internal fun directBuffer(spec: TensorSpec): ByteBuffer =
    ByteBuffer.allocateDirect(spec.nBytes).order(ByteOrder.nativeOrder())

/** All zeros again; there is no fill for buffers. */
internal fun ByteBuffer.clearToZero() {
    for (i in 0 until capacity()) put(i, 0)
}
