#if canImport(ExecuTorch)
import ExecuTorch
import Foundation

/// Runs the method "forward" of model.pte, whose tensors are known by their places.
///
/// What it returns lies in memory that the next run overwrites, so that every new state is copied
/// into the buffer that its input tensor reads from. The small objects around the outputs are
/// allocated anew in each step: this API offers no other way.
public final class ExecutorchStepModel: StepModel {
    public static let fileName = "model.pte"
    private static let tensorNames = "tensor_names"

    private let module: Module
    private let buffers: [UnsafeMutableBufferPointer<Float>]
    private let inputs: [ValueConvertible]
    private let outputNames: [String]

    public init(spec: ModelSpec, file: URL) throws {
        module = Module(filePath: file.path)
        outputNames = spec.outputNames
        buffers = spec.inputs.map { .allocate(capacity: $0.elementCount) }
        inputs = zip(buffers, spec.inputs).map { buffer, tensor -> ValueConvertible in
            let address = UnsafeMutableRawPointer(buffer.baseAddress!)
            return Value(Tensor<Float>(bytesNoCopy: address, shape: tensor.shape))
        }
        reset()
        try module.load("forward")
        try requireNames(spec.inputs.map(\.name) + spec.outputNames)
    }

    deinit {
        buffers.forEach { $0.deallocate() }
    }

    public func reset() {
        buffers.forEach { $0.initialize(repeating: 0) }
    }

    public func step(samples: [Float], scores: inout [Float]) throws {
        samples.withUnsafeBufferPointer { Self.copy($0, to: buffers[0]) }
        let outputs: [Value] = try module.forward(inputs)
        guard outputs.count == outputNames.count else {
            throw BundleError("\(Self.fileName) gave \(outputs.count) tensors: export it again")
        }
        try scores.withUnsafeMutableBufferPointer { try copyOutput(outputs[0], to: $0) }
        for i in 1..<buffers.count {
            try copyOutput(outputs[i], to: buffers[i])
        }
    }

    private func copyOutput(_ output: Value, to target: UnsafeMutableBufferPointer<Float>) throws {
        guard let tensor: Tensor<Float> = output.tensor() else {
            throw BundleError("\(Self.fileName) gave something else than numbers: export it again")
        }
        tensor.withUnsafeBytes { Self.copy($0, to: target) }
    }

    private static func copy(
        _ source: UnsafeBufferPointer<Float>, to target: UnsafeMutableBufferPointer<Float>
    ) {
        precondition(source.count == target.count)
        target.baseAddress!.update(from: source.baseAddress!, count: source.count)
    }

    /// Places are all that forward knows; the exporter stored the names that belong to them.
    private func requireNames(_ wanted: [String]) throws {
        let values: [Value] = try module.execute(Self.tensorNames, [ValueConvertible]())
        guard values.first?.string == wanted.joined(separator: ",") else {
            throw BundleError("\(Self.fileName) does not fit its manifest: export it again")
        }
    }
}
#endif
