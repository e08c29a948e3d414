import Foundation

/// A sound began or ended.
public struct Event: Equatable {
    public enum Kind: String {
        case start
        case end
    }

    public let kind: Kind
    public let label: String

    /// Seconds of audio since the start of the stream, at the end of the step in which the
    /// threshold was crossed; the event itself is reported later, by minOnS or minOffS.
    public let timeS: Double

    /// For a start the smoothed score when it was reported, for an end the highest from then on.
    public let score: Float
}

/// Scores -> start and end events, as edge_audio/events/detector.py computes them, bit for bit:
/// scores in Float, times in Double. EventDetectorTests replays what that detector said.
///
/// It follows one stream, and is not safe to be used by two threads at a time.
public final class EventDetector {
    /// Step times are sums of floats: a duration may fall short by rounding.
    private static let epsilonS = 1e-6

    /// What is known about one label that has a threshold.
    private struct Watch {
        let index: Int
        let label: String
        let on: Float
        let off: Float
        var smoothed: Float = 0
        var peak: Float = 0  // since the latest start or end
        var isActive = false  // between a reported start and its end
        var crossedS = Double.infinity  // when the limit was crossed; infinity = it is not

        mutating func reset() {
            smoothed = 0
            peak = 0
            isActive = false
            crossedS = .infinity
        }

        /// A score beyond 0 or 1 counts as the nearer of them, and NaN, which would stay, as 0.
        mutating func smooth(_ score: Float, rise: Float, fall: Float) {
            let probability = score > 0 ? min(score, 1) : 0
            // In three roundings, as numpy does it: a fused multiply-add would differ.
            var change = probability - smoothed
            change *= change > 0 ? rise : fall
            smoothed += change
            peak = max(peak, smoothed)
        }

        mutating func toggle() -> Event {
            let event = Event(
                kind: isActive ? .end : .start,
                label: label,
                timeS: crossedS,
                score: isActive ? peak : smoothed
            )
            isActive.toggle()
            crossedS = .infinity
            peak = smoothed
            return event
        }
    }

    private let spec: EventSpec
    private let rise: Float
    private let fall: Float
    private var watches: [Watch]

    /// labels: of all scores. stepS: seconds between two pushes.
    public init(labels: [String], spec: EventSpec, stepS: Double) {
        self.spec = spec
        rise = Float(Self.smoothingFactor(spec.attackS ?? spec.smoothingS, stepS))
        fall = Float(Self.smoothingFactor(spec.smoothingS, stepS))
        watches = labels.enumerated().compactMap { index, label in
            spec.thresholds[label].map { threshold in
                Watch(
                    index: index, label: label, on: Float(threshold.on), off: Float(threshold.off)
                )
            }
        }
    }

    /// How far an exponential smoothing with this time constant moves in one step, in (0, 1].
    static func smoothingFactor(_ smoothingS: Double, _ stepS: Double) -> Double {
        smoothingS > 0 ? -expm1(-stepS / smoothingS) : 1
    }

    /// Forgets everything: as if nothing had sounded before the next push.
    public func reset() {
        for i in watches.indices { watches[i].reset() }
    }

    /// Scores of all labels, for the step that ends at timeS -> events, sorted by time.
    public func push(_ scores: [Float], timeS: Double) -> [Event] {
        var events: [Event] = []  // takes no memory as long as it is empty
        for i in watches.indices {
            watches[i].smooth(scores[watches[i].index], rise: rise, fall: fall)
            if isDue(&watches[i], timeS) {
                events.append(watches[i].toggle())
            }
        }
        return Self.sortedByTime(events)
    }

    /// Ends what still sounds, at timeS unless it had already fallen below `off`; then resets.
    public func flush(timeS: Double) -> [Event] {
        var events: [Event] = []
        for i in watches.indices where watches[i].isActive {
            if watches[i].crossedS.isInfinite { watches[i].crossedS = timeS }
            events.append(watches[i].toggle())
        }
        reset()
        return Self.sortedByTime(events)
    }

    /// Notes when the limit was crossed, and says whether that was long enough ago.
    private func isDue(_ watch: inout Watch, _ timeS: Double) -> Bool {
        let limit = watch.isActive ? watch.off : watch.on
        let hasCrossed = (watch.smoothed >= limit) != watch.isActive
        guard hasCrossed else {
            watch.crossedS = .infinity
            return false
        }
        if watch.crossedS.isInfinite { watch.crossedS = timeS }
        let waitS = watch.isActive ? spec.minOffS : spec.minOnS
        return timeS - watch.crossedS >= waitS - Self.epsilonS
    }

    /// Events of the same time stay in the order of the labels, which `sort` does not promise.
    static func sortedByTime(_ events: [Event]) -> [Event] {
        guard events.count > 1 else { return events }
        let inOrder = events.enumerated().sorted {
            ($0.element.timeS, $0.offset) < ($1.element.timeS, $1.offset)
        }
        return inOrder.map { $0.element }
    }
}
