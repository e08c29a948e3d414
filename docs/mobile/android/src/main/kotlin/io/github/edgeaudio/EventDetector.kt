package io.github.edgeaudio

import kotlin.math.expm1
import kotlin.math.max
import kotlin.math.min

enum class EventKind { START, END }

/**
 * A sound began or ended.
 *
 * timeS: seconds of audio since the start of the stream, at the end of the step in which the
 * threshold was crossed; the event itself is reported later, by minOnS or minOffS.
 * score: for a start the smoothed score when it was reported, for an end the highest from then on.
 */
data class Event(val kind: EventKind, val label: String, val timeS: Double, val score: Float)

/**
 * Scores -> start and end events, as edge_audio/events/detector.py computes them, bit for bit:
 * scores in Float, times in Double. EventDetectorTest replays what that detector said.
 *
 * It follows one stream, and is not safe to be used by two threads at a time.
 */
class EventDetector(labels: List<String>, private val spec: EventSpec, stepS: Double) {
    private val watched = labels.filter { it in spec.thresholds }
    private val indices = IntArray(watched.size) { labels.indexOf(watched[it]) }
    private val on = FloatArray(watched.size) { spec.thresholds.getValue(watched[it]).on }
    private val off = FloatArray(watched.size) { spec.thresholds.getValue(watched[it]).off }
    private val rise = smoothingFactor(spec.attackS, stepS).toFloat()
    private val fall = smoothingFactor(spec.smoothingS, stepS).toFloat()

    private val smoothed = FloatArray(watched.size)
    private val peak = FloatArray(watched.size) // since the latest start or end
    private val isActive = BooleanArray(watched.size) // between a reported start and its end
    private val crossedS = DoubleArray(watched.size) // when the limit was; infinity = it is not

    init {
        reset()
    }

    /** Forgets everything: as if nothing had sounded before the next push. */
    fun reset() {
        smoothed.fill(0f)
        peak.fill(0f)
        isActive.fill(false)
        crossedS.fill(Double.POSITIVE_INFINITY)
    }

    /** Scores of all labels, for the step that ends at timeS -> events, sorted by time. */
    fun push(scores: FloatArray, timeS: Double): List<Event> {
        var events: MutableList<Event>? = null // nearly all steps have none
        for (i in watched.indices) {
            smooth(i, scores[indices[i]])
            if (isDue(i, timeS)) {
                events = (events ?: mutableListOf()).apply { add(toggle(i)) }
            }
        }
        events?.sortBy(Event::timeS)
        return events ?: emptyList()
    }

    /** Ends what still sounds, at timeS unless it had already fallen below `off`; then resets. */
    fun flush(timeS: Double): List<Event> {
        val events = watched.indices.filter { isActive[it] }.map { i ->
            if (crossedS[i].isInfinite()) crossedS[i] = timeS
            toggle(i)
        }
        reset()
        return events.sortedBy(Event::timeS)
    }

    /** A score beyond 0 or 1 counts as the nearer of them, and NaN, which would stay, as 0. */
    private fun smooth(i: Int, score: Float) {
        val probability = if (score > 0f) min(score, 1f) else 0f
        val change = probability - smoothed[i]
        smoothed[i] += change * (if (change > 0f) rise else fall)
        peak[i] = max(peak[i], smoothed[i])
    }

    /** Notes when the limit was crossed, and says whether that was long enough ago. */
    private fun isDue(i: Int, timeS: Double): Boolean {
        val limit = if (isActive[i]) off[i] else on[i]
        val hasCrossed = (smoothed[i] >= limit) != isActive[i]
        if (!hasCrossed) {
            crossedS[i] = Double.POSITIVE_INFINITY
            return false
        }
        if (crossedS[i].isInfinite()) crossedS[i] = timeS
        val waitS = if (isActive[i]) spec.minOffS else spec.minOnS
        return timeS - crossedS[i] >= waitS - EPSILON_S
    }

    private fun toggle(i: Int): Event {
        val event = if (isActive[i]) {
            Event(EventKind.END, watched[i], crossedS[i], peak[i])
        } else {
            Event(EventKind.START, watched[i], crossedS[i], smoothed[i])
        }
        isActive[i] = !isActive[i]
        crossedS[i] = Double.POSITIVE_INFINITY
        peak[i] = smoothed[i]
        return event
    }

    companion object {
        // Step times are sums of floats: a duration may fall short by rounding.
        private const val EPSILON_S = 1e-6

        /** How far an exponential smoothing with this time constant moves in one step. */
        fun smoothingFactor(smoothingS: Double, stepS: Double): Double =
            if (smoothingS > 0) -expm1(-stepS / smoothingS) else 1.0
    }
}
