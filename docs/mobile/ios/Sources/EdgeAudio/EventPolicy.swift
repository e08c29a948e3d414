/// What is reported of labels that may name one sound; docs/events.md describes each.
public enum Related: String {
    case all = "all"
    case mostSpecific = "most-specific"
    case first = "first"
}

/// Which of the detected events are reported, so that one sound is one event: Bark, and neither Dog
/// nor Animal. The `related` of edge_audio/events/policy.py, whose cooldown and longest duration
/// are not here; EventDetectorTests replays what detector and policy of Python said.
///
/// It follows one stream, and is not safe to be used by two threads at a time.
public final class EventPolicy {
    /// Two steps: scores of a label and of a kind of it cross their thresholds within so much.
    private static let foldS = 0.16

    /// Step times are sums of floats.
    private static let epsilonS = 1e-6

    /// `cut` was reported, and so was its end, when something more specific started.
    private enum Fate {
        case reported
        case cut
        case heldBack
    }

    /// A label from its start to its real end.
    private struct Sound {
        let start: Event
        var fate: Fate
    }

    /// A start that waits for a more specific one.
    private struct Waiting {
        let start: Event
        var untilS: Double
    }

    private let family: RelatedLabels
    private let related: Related
    private let general: Set<String>  // what a watched label is a kind of: these wait
    private var sounds: [Sound] = []
    private var waiting: [Waiting] = []

    /// watched: labels that may start.
    public init(watched: [String], family: RelatedLabels, related: Related = .mostSpecific) {
        self.family = family
        self.related = related
        general = Set(watched.flatMap { family.ancestors[$0] ?? [] })
    }

    /// Forgets everything: as if nothing had sounded before the next push.
    public func reset() {
        sounds = []
        waiting = []
    }

    /// Events of the step that ends at timeS, sorted by time -> those that are reported, sorted
    /// likewise. To be called for every step: a start that waits is reported after others.
    public func push(_ events: [Event], timeS: Double) -> [Event] {
        if events.isEmpty && waiting.isEmpty { return [] }  // nearly all steps
        return report(ripe(events, timeS: timeS))
    }

    /// The last events of a stream, after those of the detector's flush; then resets.
    public func flush(_ events: [Event]) -> [Event] {
        defer { reset() }
        return report(EventDetector.sortedByTime(waiting.map { $0.start } + events))
    }

    /// What need not wait any longer, sorted by time.
    private func ripe(_ events: [Event], timeS: Double) -> [Event] {
        var ripe: [Event] = []
        for event in events {
            if event.kind == .start {
                ripe += waitOrPass(event, untilS: timeS + Self.foldS)
            } else {
                ripe += stopWaiting { $0.start.label == event.label }
                ripe.append(event)
            }
        }
        ripe += stopWaiting { $0.untilS <= timeS + Self.epsilonS }
        return EventDetector.sortedByTime(ripe)
    }

    /// A start that waits, and more general ones with it; or it, and what waited for it.
    private func waitOrPass(_ start: Event, untilS: Double) -> [Event] {
        guard related == .mostSpecific, general.contains(start.label) else {
            return stopWaiting { isKind(start.label, of: $0.start.label) } + [start]
        }
        for i in waiting.indices where isKind(start.label, of: waiting[i].start.label) {
            waiting[i].untilS = untilS
        }
        waiting.append(Waiting(start: start, untilS: untilS))
        return []
    }

    private func stopWaiting(where isRipe: (Waiting) -> Bool) -> [Event] {
        let starts = waiting.filter(isRipe).map { $0.start }
        waiting.removeAll(where: isRipe)
        return starts
    }

    private func report(_ events: [Event]) -> [Event] {
        let starting = events.filter { $0.kind == .start }.map { $0.label }
        var reported: [Event] = []
        for event in events {
            reported += event.kind == .start ? start(event, among: starting) : end(event)
        }
        return reported
    }

    private func start(_ event: Event, among starting: [String]) -> [Event] {
        if isCovered(event.label, starting: starting) {
            sounds.append(Sound(start: event, fate: .heldBack))
            return []
        }
        let ended = endAncestors(of: event)
        sounds.append(Sound(start: event, fate: .reported))
        return ended + [event]
    }

    private func end(_ event: Event) -> [Event] {
        guard let i = sounds.firstIndex(where: { $0.start.label == event.label }) else { return [] }
        return sounds.remove(at: i).fate == .reported ? [event] : []
    }

    /// Whether another label, which is not held back itself, says what this one would.
    private func isCovered(_ label: String, starting: [String]) -> Bool {
        if related == .all { return false }
        let sounding = sounds.filter { $0.fate != .heldBack }.map { $0.start.label }
        if related == .first {
            return sounding.contains { isKind($0, of: label) || isKind(label, of: $0) }
        }
        let synonyms = family.synonyms[label] ?? []
        return starting.contains { isKind($0, of: label) }
            || sounding.contains { isKind($0, of: label) || synonyms.contains($0) }
    }

    /// Ends what was reported and is less specific than a label that starts.
    private func endAncestors(of start: Event) -> [Event] {
        guard related == .mostSpecific else { return [] }
        var ends: [Event] = []
        for i in sounds.indices where sounds[i].fate == .reported {
            let ancestor = sounds[i].start
            guard isKind(start.label, of: ancestor.label) else { continue }
            sounds[i].fate = .cut
            let timeS = max(ancestor.timeS, start.timeS)
            ends.append(
                Event(kind: .end, label: ancestor.label, timeS: timeS, score: ancestor.score)
            )
        }
        return ends
    }

    private func isKind(_ label: String, of ancestor: String) -> Bool {
        family.ancestors[label]?.contains(ancestor) ?? false
    }
}
