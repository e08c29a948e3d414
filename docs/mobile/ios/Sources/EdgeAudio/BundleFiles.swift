#if canImport(CryptoKit)
import CryptoKit
import Foundation

/// A bundle folder among the app's resources.
public struct BundleFiles {
    public let manifest: Manifest
    private let folder: URL

    public init(folder: URL) throws {
        self.folder = folder
        let json = try Data(contentsOf: folder.appendingPathComponent(Manifest.fileName))
        manifest = try Manifest.parse(json)
    }

    /// Where the file lies, once its size and SHA-256 are found to be those of the manifest.
    public func file(_ name: String) throws -> URL {
        guard let entry = manifest.files[name] else {
            throw BundleError("the bundle has no \(name): export it with that part")
        }
        let url = folder.appendingPathComponent(name)
        let content = try Data(contentsOf: url)
        guard content.count == entry.byteCount, Self.sha256(content) == entry.sha256 else {
            throw BundleError("\(name) was altered: restore the original bundle")
        }
        return url
    }

    /// None in bundles that are older than the file. Throws BundleError, or DecodingError for a
    /// damaged file.
    public func relatedLabels() throws -> RelatedLabels {
        let name = RelatedLabels.fileName
        guard manifest.files[name] != nil else { return .none }
        return try JSONDecoder().decode(RelatedLabels.self, from: Data(contentsOf: file(name)))
    }

    private static func sha256(_ content: Data) -> String {
        SHA256.hash(data: content).map { String(format: "%02x", $0) }.joined()
    }
}
#endif
