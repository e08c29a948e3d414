package io.github.edgeaudio

import java.io.File
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

const val MODEL_FILE_NAME = "model.pte"

fun openStepModel(spec: ModelSpec, file: File): StepModel = ExecutorchStepModel(spec, file)

/**
 * Runs the method "forward", whose tensors are known by their places.
 *
 * What it returns lies in memory that the next run overwrites, so that every new state is copied
 * into the buffer that its input tensor reads from. The small objects around the outputs are
 * allocated anew in each step: this API offers no other way.
 */
class ExecutorchStepModel(private val spec: ModelSpec, file: File) : StepModel {
    private val module = Module.load(file.path, Module.LOAD_MODE_FILE, 1)
    private val buffers: List<ByteBuffer> = spec.inputs.map(::directBuffer)
    private val views: List<FloatBuffer> = buffers.map(ByteBuffer::asFloatBuffer)
    private val inputs = Array(views.size) { EValue.from(tensor(views[it], spec.inputs[it])) }
    private val scores = directBuffer(spec.scores).asFloatBuffer()

    init {
        try {
            checkTensors()
        } catch (error: RuntimeException) {
            module.destroy()
            throw error
        }
    }

    override fun reset() {
        buffers.forEach(ByteBuffer::clearToZero)
    }

    override fun step(samples: FloatArray, scores: FloatArray) {
        views[0].rewind()
        views[0].put(samples)
        views.forEach { it.rewind() }
        val outputs = module.forward(*inputs)
        check(outputs.size == spec.outputs.size) { "$MODEL_FILE_NAME gave ${outputs.size} tensors" }
        outputs[0].copyInto(this.scores)
        this.scores.get(scores)
        for (i in 1 until views.size) outputs[i].copyInto(views[i])
    }

    override fun close() {
        module.destroy()
    }

    private fun EValue.copyInto(buffer: FloatBuffer) {
        buffer.rewind()
        toTensor().copyDataInto(buffer)
        buffer.rewind()
    }

    private fun tensor(view: FloatBuffer, tensor: TensorSpec): Tensor =
        Tensor.fromBlob(view, LongArray(tensor.shape.size) { tensor.shape[it].toLong() })

    /** Places are all that forward knows; the exporter stored the names that belong to them. */
    private fun checkTensors() {
        require(spec.inputs.all { it.dtype == DType.FLOAT32 }) {
            "this runtime's Java API has no 16-bit and no 8-bit states: export with float state"
        }
        val names = module.execute(TENSOR_NAMES)[0].toStr().split(",")
        require(names == (spec.inputs + spec.outputs).map { it.name }) {
            "$MODEL_FILE_NAME does not fit its manifest: export the bundle again"
        }
    }

    private companion object {
        const val TENSOR_NAMES = "tensor_names"
    }
}
