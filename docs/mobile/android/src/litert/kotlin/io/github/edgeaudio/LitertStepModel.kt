package io.github.edgeaudio

import java.io.File
import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

const val MODEL_FILE_NAME = "model.tflite"

fun openStepModel(spec: ModelSpec, file: File): StepModel = LitertStepModel(spec, file)

/**
 * Runs the signature "step". Two sets of state buffers take turns: what a step writes into one, the
 * next step reads from it, so that nothing is copied or allocated on this side between steps.
 */
class LitertStepModel(private val spec: ModelSpec, file: File) : StepModel {
    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(1))
    private val samples = directBuffer(spec.input)
    private val scores = directBuffer(spec.scores)
    private val samplesView = samples.asFloatBuffer()
    private val scoresView = scores.asFloatBuffer()
    private val states = List(2) { spec.state.map(::directBuffer) }
    private val inputs = states.map(::inputMap)
    private val outputs = states.map(::outputMap)
    private var current = 0 // which set holds the state to be read next

    init {
        try {
            checkTensors()
        } catch (error: RuntimeException) { // also what LiteRT throws for an unknown name
            interpreter.close()
            throw error
        }
    }

    override fun reset() {
        states[current].forEach(ByteBuffer::clearToZero)
    }

    override fun step(samples: FloatArray, scores: FloatArray) {
        samplesView.rewind()
        samplesView.put(samples)
        val next = 1 - current
        // LiteRT reads whole buffers, but writes from their position on, and moves it.
        this.scores.rewind()
        states[next].forEach { it.rewind() }
        interpreter.runSignature(inputs[current], outputs[next], SIGNATURE)
        scoresView.rewind()
        scoresView.get(scores)
        current = next
    }

    override fun close() {
        interpreter.close()
    }

    private fun inputMap(state: List<ByteBuffer>): Map<String, Any> =
        spec.inputs.map { it.name }.zip(listOf(samples) + state).toMap()

    private fun outputMap(state: List<ByteBuffer>): Map<String, Any> =
        spec.outputs.map { it.name }.zip(listOf(scores) + state).toMap()

    private fun checkTensors() {
        for (tensor in spec.inputs) {
            val found = interpreter.getInputTensorFromSignature(tensor.name, SIGNATURE)
            checkShape(tensor, found.shape())
        }
        for (tensor in spec.outputs) {
            val found = interpreter.getOutputTensorFromSignature(tensor.name, SIGNATURE)
            checkShape(tensor, found.shape())
        }
    }

    private fun checkShape(tensor: TensorSpec, shape: IntArray) {
        require(shape.toList() == tensor.shape) {
            "${tensor.name} is ${shape.toList()} in the model and ${tensor.shape} in the manifest"
        }
    }

    private companion object {
        const val SIGNATURE = "step"
    }
}
