// SPDX-License-Identifier: Apache-2.0
import io.github.edgeaudio.engine.EventKind
import io.github.edgeaudio.engine.Tagger
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** IMAGE PCM -> the events of Tagger, one a line, and what it says of itself. */
fun main(arguments: Array<String>) {
    val pcm = File(arguments[1]).readBytes().let { bytes ->
        ShortArray(bytes.size / 2).also {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer().get(it)
        }
    }
    val tagger = Tagger(File(arguments[0]).readBytes())
    tagger.use {
        val chunk = ShortArray(500)
        for (first in pcm.indices step chunk.size) {
            val n = minOf(chunk.size, pcm.size - first)
            pcm.copyInto(chunk, 0, first, first + n)
            for (event in tagger.push(chunk, n)) println(line(event))
        }
        println("heard ${tagger.timeS} ${tagger.nSteps} ${tagger.scores().size}")
        tagger.flush().forEach { event -> println(line(event)) }
        sayThresholds(tagger)
    }
    try {
        tagger.push(pcm, 1, 0)
    } catch (error: IllegalStateException) {
        println(error.message)
    }
}

private fun line(event: io.github.edgeaudio.engine.Event): String {
    val kind = if (event.kind == EventKind.START) "start" else "end"
    return "$kind\t${event.timeS}\t${event.score}\t${event.label}"
}

private fun sayThresholds(tagger: Tagger) {
    val label = tagger.labels.last()
    tagger.setThreshold(label, 0.5f, 0.25f)
    tagger.reset()
    println("threshold ${tagger.threshold(label)} ${tagger.scores().max()}")
    try {
        tagger.threshold("no such label")
    } catch (error: IllegalArgumentException) {
        println(error.message)
    }
}
