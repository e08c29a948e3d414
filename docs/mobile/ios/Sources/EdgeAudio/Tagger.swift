/// Samples of any length in, events out, as edge_audio/tagging/tagger.py does it for models that
/// take samples. To be used by one thread at a time.
public final class Tagger {
    private let model: StepModel
    private let detector: EventDetector
    private let policy: EventPolicy
    private let sampleRateHz: Int
    private let quietStepCount: Int
    private var step: [Float]
    private var waitingCount = 0  // samples of the next step that are already in `step`
    private var sampleCount = 0
    private var stepCount = 0

    /// Probabilities after the latest step, in the order of the manifest's labels.
    public private(set) var scores: [Float]

    public init(
        manifest: Manifest,
        model: StepModel,
        relatedLabels: RelatedLabels,
        related: Related = .mostSpecific
    ) {
        self.model = model
        sampleRateHz = manifest.model.frontend.sampleRateHz
        quietStepCount = manifest.model.quietSteps ?? 0
        detector = EventDetector(
            labels: manifest.labels, spec: manifest.events, stepS: manifest.model.stepS
        )
        policy = EventPolicy(
            watched: Array(manifest.events.thresholds.keys), family: relatedLabels, related: related
        )
        step = [Float](repeating: 0, count: manifest.model.stepSamples)
        scores = [Float](repeating: 0, count: manifest.labels.count)
    }

    /// Samples at the model's rate -> the events that they complete. NaN counts as silence and
    /// larger values are clipped, so that none can poison the state.
    public func push(_ samples: UnsafeBufferPointer<Float>) throws -> [Event] {
        var events: [Event] = []
        for sample in samples {
            step[waitingCount] = sample.isNaN ? 0 : min(max(sample, -1), 1)
            waitingCount += 1
            sampleCount += 1
            if waitingCount == step.count { events += try runStep() }
        }
        return events
    }

    /// Hears the last incomplete step, ends every open event, and starts a new stream.
    public func flush() throws -> [Event] {
        defer { reset() }
        var events: [Event] = []
        if waitingCount > 0 {
            for i in waitingCount..<step.count { step[i] = 0 }
            events += try runStep()
        }
        let timeS = Double(sampleCount) / Double(sampleRateHz)
        return events + policy.flush(detector.flush(timeS: timeS))
    }

    /// What follows is as from a new tagger.
    public func reset() {
        model.reset()
        detector.reset()
        policy.reset()
        for i in scores.indices { scores[i] = 0 }
        waitingCount = 0
        sampleCount = 0
        stepCount = 0
    }

    private func runStep() throws -> [Event] {
        waitingCount = 0  // first, so that a model that fails does not leave a full step behind
        if stepCount == 0 { try hearSilence() }
        try model.step(samples: step, scores: &scores)
        stepCount += 1
        let timeS = stepEndS
        return policy.push(detector.push(scores, timeS: timeS), timeS: timeS)
    }

    /// A stream begins with the state that some steps of silence leave.
    private func hearSilence() throws {
        let silence = [Float](repeating: 0, count: step.count)
        model.reset()
        for _ in 0..<quietStepCount { try model.step(samples: silence, scores: &scores) }
    }

    /// Never beyond the audio, though flush pads.
    private var stepEndS: Double {
        Double(min(stepCount * step.count, sampleCount)) / Double(sampleRateHz)
    }
}
