import Foundation

/// The bundle cannot be used; the text says what to do.
public struct BundleError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

// The structs below have the names, and read the keys, of those in edge_audio/bundle/spec.py,
// edge_audio/bundle/manifest.py and quantize/publish/related.py. They read what an app needs and
// ignore the rest, which was checked in full when the bundle was exported.

/// One tensor of the graph; the shape includes the batch of one.
public struct TensorSpec: Decodable, Equatable {
    public let name: String
    public let shape: [Int]
    public let dtype: String

    public var elementCount: Int { shape.reduce(1, *) }

    enum CodingKeys: String, CodingKey {
        case name = "name"
        case shape = "shape"
        case dtype = "dtype"
    }
}

/// Of the front end only what sets the clock: the graph itself makes the frames.
public struct FrontendSpec: Decodable {
    public let sampleRateHz: Int
    public let hopSamples: Int

    enum CodingKeys: String, CodingKey {
        case sampleRateHz = "sample_rate_hz"
        case hopSamples = "hop_samples"
    }
}

/// One streaming step: (input, state) -> (scores, next state).
public struct ModelSpec: Decodable {
    static let samples = "samples"

    public let frontend: FrontendSpec
    public let framesPerStep: Int
    public let latencyMs: Double
    public let input: TensorSpec
    public let scores: TensorSpec
    public let state: [TensorSpec]

    /// Which graphs older than schema version 3 do not give.
    public let embedding: TensorSpec?

    /// Absent from manifests older than this choice, which all take frames.
    let inputKind: String?

    /// Of silence, which a stream begins behind; absent from manifests older than these.
    let quietSteps: Int?

    public var stepSamples: Int { framesPerStep * frontend.hopSamples }

    public var stepS: Double {
        Double(framesPerStep) * (Double(frontend.hopSamples) / Double(frontend.sampleRateHz))
    }

    /// In the order in which ExecuTorch takes and gives them.
    public var inputs: [TensorSpec] { [input] + state }

    public var outputNames: [String] {
        [scores.name] + state.map(Self.nextName) + (embedding.map { [$0.name] } ?? [])
    }

    /// What the graph calls the successor of a state.
    static func nextName(_ state: TensorSpec) -> String { "\(state.name)_next" }

    enum CodingKeys: String, CodingKey {
        case frontend = "frontend"
        case framesPerStep = "frames_per_step"
        case latencyMs = "latency_ms"
        case input = "frames"
        case scores = "scores"
        case state = "state"
        case embedding = "embedding"
        case inputKind = "input"
        case quietSteps = "quiet_steps"
    }
}

/// An event starts when the smoothed score reaches `on` and ends when it falls below `off`.
public struct Threshold: Decodable {
    public let on: Double
    public let off: Double

    enum CodingKeys: String, CodingKey {
        case on = "on"
        case off = "off"
    }
}

/// How scores become events; labels without a threshold are not watched.
public struct EventSpec: Decodable {
    public let smoothingS: Double
    public let attackS: Double?  // of scores that rise; nil = smoothingS
    public let minOnS: Double
    public let minOffS: Double
    public let thresholds: [String: Threshold]

    enum CodingKeys: String, CodingKey {
        case smoothingS = "smoothing_s"
        case attackS = "attack_s"
        case minOnS = "min_on_s"
        case minOffS = "min_off_s"
        case thresholds = "thresholds"
    }
}

/// What a file of the bundle must be: hexadecimal SHA-256 and size.
public struct FileEntry: Decodable {
    public let sha256: String
    public let byteCount: Int

    enum CodingKeys: String, CodingKey {
        case sha256 = "sha256"
        case byteCount = "n_bytes"
    }
}

/// The part of manifest.json that an app needs.
public struct Manifest: Decodable {
    static let fileName = "manifest.json"
    static let schemaVersion = 3

    public let name: String
    public let labels: [String]
    public let model: ModelSpec
    public let events: EventSpec
    public let files: [String: FileEntry]

    enum CodingKeys: String, CodingKey {
        case name = "name"
        case labels = "labels"
        case model = "model"
        case events = "events"
        case files = "files"
    }

    /// Throws BundleError, or DecodingError for a damaged file.
    public static func parse(_ json: Data) throws -> Manifest {
        let version = try JSONDecoder().decode(Schema.self, from: json).version
        guard (1...schemaVersion).contains(version) else {
            throw BundleError("schema version \(version) is unknown: update the app")
        }
        let manifest = try JSONDecoder().decode(Manifest.self, from: json)
        try manifest.requireConsistent()
        return manifest
    }

    private func requireConsistent() throws {
        guard model.inputKind == ModelSpec.samples else {
            throw BundleError("this model takes frames: export it with --input samples")
        }
        guard (model.inputs + [model.scores]).allSatisfy({ $0.dtype == "float32" }) else {
            throw BundleError("this app knows float32 tensors only: export with float state")
        }
        guard model.input.elementCount == model.stepSamples,
            model.scores.elementCount == labels.count
        else {
            throw BundleError("\(Self.fileName) contradicts itself: export the bundle again")
        }
    }
}

/// Labels that may name one sound: what each is a kind of, at any distance, and near-synonyms.
public struct RelatedLabels: Decodable {
    static let fileName = "related_labels.json"

    /// Of bundles that are older than that file: every label is reported.
    static let none = RelatedLabels(ancestors: [:], synonyms: [:])

    public let ancestors: [String: [String]]
    public let synonyms: [String: [String]]

    enum CodingKeys: String, CodingKey {
        case ancestors = "ancestors"
        case synonyms = "synonyms"
    }
}

/// Read first, since the rest of a newer manifest may look different.
struct Schema: Decodable {
    let version: Int

    enum CodingKeys: String, CodingKey {
        case version = "schema_version"
    }
}
