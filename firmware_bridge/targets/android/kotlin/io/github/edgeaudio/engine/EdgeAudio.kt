// SPDX-License-Identifier: Apache-2.0
package io.github.edgeaudio.engine

import java.nio.ByteBuffer
import java.nio.ShortBuffer

enum class EventKind { START, END }

/**
 * A sound began or ended.
 *
 * timeS: seconds of audio since the start of the stream, at the end of the step in which the
 * threshold was crossed; the event itself is reported later, by the model's minimum durations.
 * score: of a start the smoothed score when it was reported, of an end the highest from then on.
 */
data class Event(val kind: EventKind, val label: String, val timeS: Double, val score: Float)

/**
 * One stream of sound: 16-bit mono samples in, events out. Any thread may call it; the calls of
 * several wait for each other. After close all of it throws IllegalStateException.
 */
class Tagger(private val model: EdgeAudioNative.Model) : AutoCloseable {
    /** image: all of model.bin. Throws EdgeAudioNative.ImageException. */
    constructor(image: ByteArray) : this(EdgeAudioNative.Model(image))

    /** image: model.bin, from the buffer's position to its limit; it is copied. */
    constructor(image: ByteBuffer) : this(EdgeAudioNative.Model(image))

    private val stream = EdgeAudioNative(model)

    /** In the order of the scores. */
    val labels: List<String> = model.labels()

    val sampleRateHz: Int = model.sampleRateHz()

    /** Scores change, and events are reported, once in so many samples. */
    val stepSamples: Int = model.stepSamples()

    /** Seconds of audio since the stream began. */
    val timeS: Double get() = stream.nSamples().toDouble() / sampleRateHz

    val nSteps: Long get() = stream.nSteps()

    /** Hears pcm[offset] to pcm[offset + n - 1] -> the events that they complete. */
    fun push(pcm: ShortArray, n: Int = pcm.size, offset: Int = 0): List<Event> =
        named(stream.push(pcm, offset, n))

    /** Hears what is left in a direct buffer in native byte order, without a copy. */
    fun push(pcm: ShortBuffer): List<Event> = named(stream.push(pcm))

    /** Hears the last incomplete step, ends every open event, and starts a new stream. */
    fun flush(): List<Event> = named(stream.flush())

    /** What follows is as from a new tagger, but for the thresholds. */
    fun reset() = stream.reset()

    /** Probabilities after the latest step, one for each label; zeros before the first. */
    fun scores(): FloatArray = FloatArray(labels.size).also(stream::scores)

    /** The same into an array that is used again. */
    fun scores(into: FloatArray) = stream.scores(into)

    /** An event starts at `on` and ends below `off`; 0 and 0 if the label is not watched. */
    fun threshold(label: String): Pair<Float, Float> {
        val (on, off) = stream.threshold(index(label))
        return on to off
    }

    /** 0 < off <= on <= 1; on = off = 0 switches the label off. */
    fun setThreshold(label: String, on: Float, off: Float) =
        stream.setThreshold(index(label), on, off)

    /** What is reported of labels that name one sound; at first what the image was built for. */
    fun setRelated(related: EdgeAudioNative.Related) = stream.setRelated(related)

    override fun close() = stream.close()

    private fun index(label: String): Int {
        val index = labels.indexOf(label)
        require(index >= 0) { "the model has no label '$label': see Tagger.labels" }
        return index
    }

    private fun named(events: List<EdgeAudioNative.Event>): List<Event> = events.map {
        val kind = if (it.isStart) EventKind.START else EventKind.END
        Event(kind, labels[it.label], it.sample.toDouble() / sampleRateHz, it.score)
    }
}
