import Foundation
import XCTest

@testable import EdgeAudio

/// Replays what detector and report policy of Python said about the same scores:
/// docs/mobile/detector_golden.json.
final class EventDetectorTests: XCTestCase {
    private struct Golden: Decodable {
        let related_labels: RelatedLabels
        let step_samples: Int
        let sample_rate_hz: Int
        let cases: [Case]
    }

    private struct Case: Decodable {
        let name: String
        let labels: [String]
        let related: String
        let events_spec: EventSpec
        let scores: [[Double?]]  // JSON has no NaN: null stands for it
        let events: [Expected]
    }

    private struct Expected: Decodable {
        let step: Int
        let kind: String
        let label: String
        let time_s: Double
        let score: Double
    }

    func testSaysWhatPythonSaid() throws {
        let golden = try readGolden()
        XCTAssertFalse(golden.cases.isEmpty)
        for goldenCase in golden.cases {
            let found = try replay(goldenCase, of: golden)
            XCTAssertEqual(found.count, goldenCase.events.count, goldenCase.name)
            for (want, have) in zip(goldenCase.events, found) {
                XCTAssertEqual(want.step, have.step, goldenCase.name)
                XCTAssertEqual(want.kind, have.event.kind.rawValue, goldenCase.name)
                XCTAssertEqual(want.label, have.event.label, goldenCase.name)
                XCTAssertEqual(want.time_s, have.event.timeS, accuracy: 1e-9, goldenCase.name)
                XCTAssertEqual(
                    want.score, Double(have.event.score), accuracy: 1e-6, goldenCase.name
                )
            }
        }
    }

    private func replay(
        _ goldenCase: Case, of golden: Golden
    ) throws -> [(step: Int, event: Event)] {
        let stepS = Double(golden.step_samples) / Double(golden.sample_rate_hz)
        let detector = EventDetector(
            labels: goldenCase.labels, spec: goldenCase.events_spec, stepS: stepS
        )
        let policy = EventPolicy(
            watched: Array(goldenCase.events_spec.thresholds.keys),
            family: golden.related_labels,
            related: try XCTUnwrap(Related(rawValue: goldenCase.related))
        )
        let endS = { (step: Int) in
            Double(step * golden.step_samples) / Double(golden.sample_rate_hz)
        }
        var reported: [(step: Int, event: Event)] = []
        for (i, row) in goldenCase.scores.enumerated() {
            let step = i + 1
            let detected = detector.push(row.map { Float($0 ?? .nan) }, timeS: endS(step))
            let events = policy.push(detected, timeS: endS(step))
            reported += events.map { (step: step, event: $0) }
        }
        let last = goldenCase.scores.count
        let events = policy.flush(detector.flush(timeS: endS(last)))
        return reported + events.map { (step: last + 1, event: $0) }
    }

    /// Beside this package, so that the apps of both systems replay the same file.
    private func readGolden() throws -> Golden {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 1...4 { url.deleteLastPathComponent() }
        let json = try Data(contentsOf: url.appendingPathComponent("detector_golden.json"))
        return try JSONDecoder().decode(Golden.self, from: json)
    }
}
