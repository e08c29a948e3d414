package io.github.edgeaudio

import kotlin.math.min

/**
 * Samples of any length in, events out, as edge_audio/tagging/tagger.py does it for models that
 * take samples. To be used by one thread at a time.
 */
class Tagger(
    manifest: Manifest,
    private val model: StepModel,
    relatedLabels: RelatedLabels,
    related: Related = Related.MOST_SPECIFIC,
) {
    private val sampleRateHz = manifest.model.frontend.sampleRateHz
    private val detector = EventDetector(manifest.labels, manifest.events, manifest.model.stepS)
    private val policy = EventPolicy(manifest.events.thresholds.keys, relatedLabels, related)
    private val step = FloatArray(manifest.model.stepSamples)
    private val quietSteps = manifest.model.quietSteps
    private var nWaiting = 0 // samples of the next step that are already in `step`
    private var nSamples = 0L
    private var nSteps = 0L

    /** Probabilities after the latest step, in the order of the manifest's labels. */
    val scores = FloatArray(manifest.labels.size)

    /** The first `count` samples of `pcm` -> the events that they complete. */
    fun push(pcm: ShortArray, count: Int = pcm.size): List<Event> {
        val events = mutableListOf<Event>()
        for (i in 0 until count) {
            step[nWaiting++] = pcm[i] * PCM16_SCALE
            nSamples++
            if (nWaiting == step.size) events += runStep()
        }
        return events
    }

    /** Hears the last incomplete step, ends every open event, and starts a new stream. */
    fun flush(): List<Event> {
        val events = mutableListOf<Event>()
        if (nWaiting > 0) {
            step.fill(0f, fromIndex = nWaiting)
            events += runStep()
        }
        events += policy.flush(detector.flush(nSamples.toDouble() / sampleRateHz))
        reset()
        return events
    }

    /** What follows is as from a new tagger. */
    fun reset() {
        model.reset()
        detector.reset()
        policy.reset()
        scores.fill(0f)
        nWaiting = 0
        nSamples = 0
        nSteps = 0
    }

    private fun runStep(): List<Event> {
        nWaiting = 0
        if (nSteps == 0L) hearSilence()
        model.step(step, scores)
        nSteps++
        val timeS = stepEndS()
        return policy.push(detector.push(scores, timeS), timeS)
    }

    /** A stream begins with the state that some steps of silence leave. */
    private fun hearSilence() {
        val silence = FloatArray(step.size)
        model.reset()
        repeat(quietSteps) { model.step(silence, scores) }
    }

    /** Never beyond the audio, though flush pads. */
    private fun stepEndS(): Double =
        min(nSteps * step.size, nSamples).toDouble() / sampleRateHz

    private companion object {
        const val PCM16_SCALE = 1f / 32_768f
    }
}
