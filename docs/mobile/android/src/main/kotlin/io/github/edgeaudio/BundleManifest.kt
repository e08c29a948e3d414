package io.github.edgeaudio

import org.json.JSONArray
import org.json.JSONObject

/** The bundle cannot be used; the message says what to do. */
class BundleException(message: String) : Exception(message)

/** How a tensor's numbers are stored. */
enum class DType(val nBytes: Int) {
    FLOAT32(4),
    INT16(2),
    INT8(1),
}

// The classes below have the names, and read the keys, of those in edge_audio/bundle/spec.py,
// edge_audio/bundle/manifest.py and quantize/publish/related.py. They read what an app needs and
// ignore the rest, which was checked in full when the bundle was exported.

/** One tensor of the graph; the shape includes the batch of one. */
data class TensorSpec(val name: String, val shape: List<Int>, val dtype: DType) {
    val nElements: Int = shape.fold(1) { product, size -> product * size }
    val nBytes: Int = nElements * dtype.nBytes

    companion object {
        fun from(json: JSONObject): TensorSpec {
            val dtype = json.getString("dtype")
            return TensorSpec(
                name = json.getString("name"),
                shape = json.getJSONArray("shape").toInts(),
                dtype = DType.entries.find { it.name.lowercase() == dtype }
                    ?: throw BundleException("tensors of type $dtype are unknown: update the app"),
            )
        }
    }
}

/** Of the front end only what sets the clock: the graph itself makes the frames. */
data class FrontendSpec(val sampleRateHz: Int, val hopSamples: Int) {
    companion object {
        fun from(json: JSONObject) = FrontendSpec(
            sampleRateHz = json.getInt("sample_rate_hz"),
            hopSamples = json.getInt("hop_samples"),
        )
    }
}

/** One streaming step: (input, state) -> (scores, next state). */
data class ModelSpec(
    val frontend: FrontendSpec,
    val framesPerStep: Int,
    val latencyMs: Double,
    val input: TensorSpec,
    val scores: TensorSpec,
    val state: List<TensorSpec>,
    val embedding: TensorSpec?, // which graphs older than schema version 3 do not give
    val quietSteps: Int, // of silence, which a stream begins behind
) {
    val stepSamples: Int = framesPerStep * frontend.hopSamples
    val stepS: Double = framesPerStep * (frontend.hopSamples.toDouble() / frontend.sampleRateHz)

    /** In the order in which ExecuTorch takes and gives them. */
    val inputs: List<TensorSpec> = listOf(input) + state
    val outputs: List<TensorSpec> =
        listOf(scores) + state.map { it.copy(name = nextName(it)) } + listOfNotNull(embedding)

    companion object {
        const val SAMPLES = "samples"

        fun from(json: JSONObject): ModelSpec {
            // Absent from manifests older than this choice, which all take frames.
            if (json.optString("input") != SAMPLES) {
                throw BundleException("this model takes frames: export it with --input samples")
            }
            return ModelSpec(
                frontend = FrontendSpec.from(json.getJSONObject("frontend")),
                framesPerStep = json.getInt("frames_per_step"),
                latencyMs = json.getDouble("latency_ms"),
                input = TensorSpec.from(json.getJSONObject("frames")),
                scores = TensorSpec.from(json.getJSONObject("scores")),
                state = json.getJSONArray("state").toObjects().map { TensorSpec.from(it) },
                embedding = json.optJSONObject("embedding")?.let { TensorSpec.from(it) },
                quietSteps = json.optInt("quiet_steps"), // 0 where a manifest is older than these
            )
        }

        /** What the graph calls the successor of a state. */
        fun nextName(state: TensorSpec): String = "${state.name}_next"
    }
}

/** An event starts when the smoothed score reaches `on` and ends when it falls below `off`. */
data class Threshold(val on: Float, val off: Float) {
    companion object {
        fun from(json: JSONObject) = Threshold(
            on = json.getDouble("on").toFloat(),
            off = json.getDouble("off").toFloat(),
        )
    }
}

/** How scores become events; labels without a threshold are not watched. */
data class EventSpec(
    val smoothingS: Double,
    val attackS: Double, // of scores that rise
    val minOnS: Double,
    val minOffS: Double,
    val thresholds: Map<String, Threshold>,
) {
    companion object {
        fun from(json: JSONObject) = EventSpec(
            smoothingS = json.getDouble("smoothing_s"),
            attackS = json.optDouble("attack_s", json.getDouble("smoothing_s")),
            minOnS = json.getDouble("min_on_s"),
            minOffS = json.getDouble("min_off_s"),
            thresholds = json.getJSONObject("thresholds").mapObjects { Threshold.from(it) },
        )
    }
}

/** What a file of the bundle must be: hexadecimal SHA-256 and size. */
data class FileEntry(val sha256: String, val nBytes: Long) {
    companion object {
        fun from(json: JSONObject) = FileEntry(
            sha256 = json.getString("sha256"),
            nBytes = json.getLong("n_bytes"),
        )
    }
}

/** The part of manifest.json that an app needs. */
data class Manifest(
    val name: String,
    val labels: List<String>,
    val model: ModelSpec,
    val events: EventSpec,
    val files: Map<String, FileEntry>,
) {
    companion object {
        const val FILE_NAME = "manifest.json"
        const val SCHEMA_VERSION = 3

        /** Throws BundleException or, for a damaged file, org.json.JSONException. */
        fun parse(text: String): Manifest {
            val json = JSONObject(text)
            val version = json.getInt("schema_version")
            if (version !in 1..SCHEMA_VERSION) {
                throw BundleException("schema version $version is unknown: update the app")
            }
            val manifest = Manifest(
                name = json.getString("name"),
                labels = json.getJSONArray("labels").toStrings(),
                model = ModelSpec.from(json.getJSONObject("model")),
                events = EventSpec.from(json.getJSONObject("events")),
                files = json.getJSONObject("files").mapObjects { FileEntry.from(it) },
            )
            manifest.requireConsistent()
            return manifest
        }
    }

    private fun requireConsistent() {
        val isWhole = model.input.nElements == model.stepSamples &&
            model.scores.nElements == labels.size &&
            model.input.dtype == DType.FLOAT32 &&
            model.scores.dtype == DType.FLOAT32
        if (!isWhole) {
            throw BundleException("$FILE_NAME contradicts itself: export the bundle again")
        }
    }
}

/** Labels that may name one sound: what each is a kind of, at any distance, and near-synonyms. */
data class RelatedLabels(
    val ancestors: Map<String, List<String>>,
    val synonyms: Map<String, List<String>>,
) {
    companion object {
        const val FILE_NAME = "related_labels.json"

        /** Of bundles that are older than that file: every label is reported. */
        val NONE = RelatedLabels(emptyMap(), emptyMap())

        fun from(json: JSONObject) = RelatedLabels(
            ancestors = json.getJSONObject("ancestors").mapLists(),
            synonyms = json.getJSONObject("synonyms").mapLists(),
        )

        /** Throws org.json.JSONException for a damaged file. */
        fun parse(text: String): RelatedLabels = from(JSONObject(text))
    }
}

private fun JSONArray.toInts(): List<Int> = List(length()) { getInt(it) }

private fun JSONArray.toStrings(): List<String> = List(length()) { getString(it) }

private fun JSONArray.toObjects(): List<JSONObject> = List(length()) { getJSONObject(it) }

private fun <T> JSONObject.mapObjects(read: (JSONObject) -> T): Map<String, T> =
    keys().asSequence().associateWith { read(getJSONObject(it)) }

private fun JSONObject.mapLists(): Map<String, List<String>> =
    keys().asSequence().associateWith { getJSONArray(it).toStrings() }
