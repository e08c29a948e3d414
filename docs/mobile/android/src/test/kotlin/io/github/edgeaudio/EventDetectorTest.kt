package io.github.edgeaudio

import java.io.File
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Test

/** Replays what the Python detector said of the same scores: docs/mobile/detector_golden.json. */
class EventDetectorTest {
    private val golden = JSONObject(File(System.getProperty("detector_golden")!!).readText())
    private val labels = golden.getJSONArray("labels").let { list ->
        List(list.length()) { list.getString(it) }
    }
    private val stepSamples = golden.getInt("step_samples")
    private val sampleRateHz = golden.getInt("sample_rate_hz")

    private data class Reported(val step: Int, val event: Event)

    @Test
    fun saysWhatThePythonDetectorSaid() {
        val cases = golden.getJSONArray("cases")
        for (i in 0 until cases.length()) {
            val case = cases.getJSONObject(i)
            assertAlike(case.getString("name"), expected(case), replay(case))
        }
    }

    private fun replay(case: JSONObject): List<Reported> {
        val spec = EventSpec.from(case.getJSONObject("events_spec"))
        val stepS = stepSamples.toDouble() / sampleRateHz
        val detector = EventDetector(labels, spec, stepS)
        val rows = case.getJSONArray("scores")
        val reported = mutableListOf<Reported>()
        for (step in 1..rows.length()) {
            val events = detector.push(rows.getJSONArray(step - 1).toFloats(), endS(step))
            events.mapTo(reported) { Reported(step, it) }
        }
        val last = rows.length()
        detector.flush(endS(last)).mapTo(reported) { Reported(last + 1, it) }
        return reported
    }

    private fun endS(step: Int): Double = (step * stepSamples).toDouble() / sampleRateHz

    private fun expected(case: JSONObject): List<Reported> {
        val events = case.getJSONArray("events")
        return List(events.length()) { reported(events.getJSONObject(it)) }
    }

    private fun reported(json: JSONObject) = Reported(
        step = json.getInt("step"),
        event = Event(
            kind = EventKind.valueOf(json.getString("kind").uppercase()),
            label = json.getString("label"),
            timeS = json.getDouble("time_s"),
            score = json.getDouble("score").toFloat(),
        ),
    )

    private fun assertAlike(name: String, expected: List<Reported>, found: List<Reported>) {
        assertEquals(name, expected.map(::identity), found.map(::identity))
        for ((want, have) in expected.zip(found)) {
            assertEquals(name, want.event.timeS, have.event.timeS, 1e-9)
            assertEquals(name, want.event.score, have.event.score, 1e-6f)
        }
    }

    private fun identity(reported: Reported): String =
        "${reported.step} ${reported.event.kind} ${reported.event.label}"

    /** JSON has no NaN: null stands for it. */
    private fun JSONArray.toFloats(): FloatArray =
        FloatArray(length()) { if (isNull(it)) Float.NaN else getDouble(it).toFloat() }
}
