/// One loaded model and the state of one stream. To be used by one thread at a time.
public protocol StepModel: AnyObject {
    /// All state becomes zero.
    func reset()

    /// Hears one step of samples in [-1, 1] and writes the probabilities of all labels.
    func step(samples: [Float], scores: inout [Float]) throws
}
