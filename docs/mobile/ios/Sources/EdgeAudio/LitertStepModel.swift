#if canImport(TensorFlowLite)
import Foundation
import TensorFlowLite

/// Runs the signature "step" of model.tflite.
///
/// This API takes and gives copies, as Data, so that each step allocates; the copy of a new state
/// is handed back as it is in the next step.
public final class LitertStepModel: StepModel {
    public static let fileName = "model.tflite"
    private static let signature = "step"

    private let spec: ModelSpec
    private let runner: SignatureRunner
    private var inputs: [String: Data] = [:]

    public init(spec: ModelSpec, file: URL) throws {
        self.spec = spec
        var options = Interpreter.Options()
        options.threadCount = 1
        let interpreter = try Interpreter(modelPath: file.path, options: options)
        runner = try interpreter.signatureRunner(with: Self.signature)
        try requireShapes()
        reset()
    }

    public func reset() {
        for tensor in spec.inputs {
            inputs[tensor.name] = Data(count: tensor.elementCount * MemoryLayout<Float>.size)
        }
    }

    public func step(samples: [Float], scores: inout [Float]) throws {
        inputs[spec.input.name] = samples.withUnsafeBufferPointer { Data(buffer: $0) }
        try runner.invoke(with: inputs)
        let found = try runner.output(named: spec.scores.name).data
        scores.withUnsafeMutableBufferPointer { _ = found.copyBytes(to: $0) }
        for tensor in spec.state {
            inputs[tensor.name] = try runner.output(named: ModelSpec.nextName(tensor)).data
        }
    }

    private func requireShapes() throws {
        for tensor in spec.inputs {
            let found = try runner.input(named: tensor.name).shape.dimensions
            guard found == tensor.shape else {
                throw BundleError("\(Self.fileName): \(tensor.name) is \(found): export it again")
            }
        }
        guard Set(spec.outputNames).isSubset(of: runner.outputs) else {
            throw BundleError("\(Self.fileName) does not fit its manifest: export it again")
        }
    }
}
#endif
