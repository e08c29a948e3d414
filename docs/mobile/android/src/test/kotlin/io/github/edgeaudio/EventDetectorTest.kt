package io.github.edgeaudio

import java.io.File
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Test

/**
 * Replays what detector and report policy of Python said of the same scores:
 * docs/mobile/detector_golden.json.
 */
class EventDetectorTest {
    private val golden = JSONObject(File(System.getProperty("detector_golden")!!).readText())
    private val family = RelatedLabels.from(golden.getJSONObject("related_labels"))
    private val stepSamples = golden.getInt("step_samples")
    private val sampleRateHz = golden.getInt("sample_rate_hz")

    private data class Reported(val step: Int, val event: Event)

    /** Gives the scores of a case, whatever it hears. */
    private class Player(private val rows: List<FloatArray>) : StepModel {
        private var nSteps = 0

        override fun reset() {
            nSteps = 0
        }

        override fun step(samples: FloatArray, scores: FloatArray) {
            rows[nSteps++].copyInto(scores)
        }

        override fun close() {}
    }

    @Test
    fun saysWhatPythonSaid() {
        val cases = golden.getJSONArray("cases")
        for (i in 0 until cases.length()) {
            val case = cases.getJSONObject(i)
            assertAlike(case.getString("name"), expected(case), replay(case))
        }
    }

    private fun replay(case: JSONObject): List<Reported> {
        val rows = case.getJSONArray("scores").let { rows ->
            List(rows.length()) { rows.getJSONArray(it).toFloats() }
        }
        val related = Related.valueOf(case.getString("related").uppercase().replace('-', '_'))
        val tagger = Tagger(manifest(case), Player(rows), family, related)
        val reported = mutableListOf<Reported>()
        for (step in 1..rows.size) {
            tagger.push(ShortArray(stepSamples)).mapTo(reported) { Reported(step, it) }
        }
        return reported + tagger.flush().map { Reported(rows.size + 1, it) }
    }

    private fun manifest(case: JSONObject): Manifest {
        val labels = case.getJSONArray("labels")
        val tensor = { name: String, size: Int -> TensorSpec(name, listOf(1, size), DType.FLOAT32) }
        val model = ModelSpec(
            frontend = FrontendSpec(sampleRateHz, stepSamples),
            framesPerStep = 1,
            latencyMs = 0.0,
            input = tensor("samples", stepSamples),
            scores = tensor("scores", labels.length()),
            state = emptyList(),
            embedding = null,
            quietSteps = 0,
        )
        val names = List(labels.length()) { labels.getString(it) }
        val spec = EventSpec.from(case.getJSONObject("events_spec"))
        return Manifest(case.getString("name"), names, model, spec, emptyMap())
    }

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
