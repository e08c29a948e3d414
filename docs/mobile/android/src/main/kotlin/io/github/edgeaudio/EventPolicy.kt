package io.github.edgeaudio

import kotlin.math.max

/** What is reported of labels that may name one sound; docs/events.md describes each. */
enum class Related { ALL, MOST_SPECIFIC, FIRST }

/**
 * Which of the detected events are reported, so that one sound is one event: Bark, and neither Dog
 * nor Animal. The `related` of edge_audio/events/policy.py, whose cooldown and longest duration are
 * not here; EventDetectorTest replays what detector and policy of Python said.
 *
 * It follows one stream, and is not safe to be used by two threads at a time.
 */
class EventPolicy(
    watched: Collection<String>, // labels that may start
    private val family: RelatedLabels,
    private val related: Related = Related.MOST_SPECIFIC,
) {
    /** A label from its start to its real end. */
    private class Sound(val start: Event, var fate: Fate)

    /** CUT was reported, and so was its end, when something more specific started. */
    private enum class Fate { REPORTED, CUT, HELD_BACK }

    /** A start that waits for a more specific one. */
    private class Waiting(val start: Event, var untilS: Double)

    /** What a watched label is a kind of: these wait. */
    private val general = watched.flatMapTo(HashSet()) { family.ancestors[it].orEmpty() }
    private val sounds = LinkedHashMap<String, Sound>()
    private val waiting = LinkedHashMap<String, Waiting>()

    /** Forgets everything: as if nothing had sounded before the next push. */
    fun reset() {
        sounds.clear()
        waiting.clear()
    }

    /**
     * Events of the step that ends at timeS, sorted by time -> those that are reported, sorted
     * likewise. To be called for every step: a start that waits is reported after others.
     */
    fun push(events: List<Event>, timeS: Double): List<Event> {
        if (events.isEmpty() && waiting.isEmpty()) return events // nearly all steps
        return report(ripe(events, timeS))
    }

    /** The last events of a stream, after those of the detector's flush; then resets. */
    fun flush(events: List<Event>): List<Event> {
        val last = waiting.values.map { it.start } + events
        return report(last.sortedBy(Event::timeS)).also { reset() }
    }

    /** What need not wait any longer, sorted by time. */
    private fun ripe(events: List<Event>, timeS: Double): List<Event> {
        val ripe = mutableListOf<Event>()
        for (event in events) {
            if (event.kind == EventKind.START) {
                ripe += waitOrPass(event, timeS + FOLD_S)
            } else {
                waiting.remove(event.label)?.let { ripe += it.start }
                ripe += event
            }
        }
        val isDue = { start: Waiting -> start.untilS <= timeS + EPSILON_S }
        waiting.values.filter(isDue).mapTo(ripe) { it.start }
        waiting.values.removeAll(isDue)
        return ripe.sortedBy(Event::timeS)
    }

    /** A start that waits, and more general ones with it; or it, and what waited for it. */
    private fun waitOrPass(start: Event, untilS: Double): List<Event> {
        val ancestors = waiting.filterKeys { isKind(start.label, it) }
        if (related != Related.MOST_SPECIFIC || start.label !in general) {
            waiting -= ancestors.keys
            return ancestors.values.map { it.start } + start
        }
        ancestors.values.forEach { it.untilS = untilS }
        waiting[start.label] = Waiting(start, untilS)
        return emptyList()
    }

    private fun report(events: List<Event>): List<Event> {
        val starting = events.filter { it.kind == EventKind.START }.map { it.label }
        return events.flatMap {
            if (it.kind == EventKind.START) start(it, starting) else listOfNotNull(end(it))
        }
    }

    private fun start(event: Event, starting: List<String>): List<Event> {
        val isCovered = isCovered(event.label, starting)
        val fate = if (isCovered) Fate.HELD_BACK else Fate.REPORTED
        val ended = if (isCovered) emptyList() else endAncestors(event)
        sounds[event.label] = Sound(event, fate)
        return if (isCovered) emptyList() else ended + event
    }

    private fun end(event: Event): Event? =
        if (sounds.remove(event.label)?.fate == Fate.REPORTED) event else null

    /** Whether another label, which is not held back itself, says what this one would. */
    private fun isCovered(label: String, starting: List<String>): Boolean {
        if (related == Related.ALL) return false
        val sounding = sounds.filterValues { it.fate != Fate.HELD_BACK }.keys
        if (related == Related.FIRST) {
            return sounding.any { isKind(it, label) || isKind(label, it) }
        }
        val synonyms = family.synonyms[label].orEmpty()
        return starting.any { isKind(it, label) } ||
            sounding.any { isKind(it, label) || it in synonyms }
    }

    /** Ends what was reported and is less specific than a label that starts. */
    private fun endAncestors(start: Event): List<Event> {
        if (related != Related.MOST_SPECIFIC) return emptyList()
        val open = sounds.values.filter { it.fate == Fate.REPORTED }
        return open.filter { isKind(start.label, it.start.label) }.map {
            it.fate = Fate.CUT
            it.start.copy(kind = EventKind.END, timeS = max(it.start.timeS, start.timeS))
        }
    }

    private fun isKind(label: String, ancestor: String): Boolean =
        ancestor in family.ancestors[label].orEmpty()

    private companion object {
        // Two steps: scores of a label and of a kind of it cross their thresholds within so much.
        const val FOLD_S = 0.16
        const val EPSILON_S = 1e-6 // step times are sums of floats
    }
}
