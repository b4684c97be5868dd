// Image manifests and indexes (OCI image specification 1.1, Docker schema 2), read from bytes that nobody vouches for.
import Foundation
import JobModel

package enum MediaType {
    package static let manifest = "application/vnd.oci.image.manifest.v1+json"
    package static let index = "application/vnd.oci.image.index.v1+json"
    package static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    package static let dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
    package static let configuration = "application/vnd.oci.image.config.v1+json"
    package static let layer = "application/vnd.oci.image.layer.v1.tar"

    /// What a registry is asked for.
    package static let accepted = [manifest, index, dockerManifest, dockerIndex]
}

/// A reference to a blob: type, digest and size.
package struct Descriptor: Hashable, Sendable {
    package var mediaType: String
    package var digest: Digest
    package var size: Int64
    /// `linux/amd64`, in an index.
    package var platform: String?
    package init(mediaType: String, digest: Digest, size: Int64, platform: String? = nil) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.platform = platform
    }
}

package enum Manifest: Hashable, Sendable {
    case image(mediaType: String, configuration: Descriptor, layers: [Descriptor])
    case index(mediaType: String, manifests: [Descriptor])

    /// The largest manifest that is read: what registries agree on.
    package static let sizeLimit = 4 << 20
    private static let largestBlob: Int64 = 1 << 44
    private static let mostDescriptors = 10_000

    package var mediaType: String {
        switch self {
        case .image(let mediaType, _, _), .index(let mediaType, _): mediaType
        }
    }

    /// - Throws: ``OCIError/malformed(what:why:)`` that names the field.
    package init(_ bytes: [UInt8], named what: String) throws(OCIError) {
        func malformed(_ why: String) -> OCIError { .malformed(what: "the manifest of \(what)", why: why) }
        var limits = DocumentLimits()
        limits.size = Self.sizeLimit
        let root: JSONValue
        do {
            root = try JSONParser.parse(bytes, limits: limits).json
        } catch {
            throw malformed("\(error)")
        }
        let isIndex = root[key: "manifests"] != nil
        let declared = root[key: "mediaType"].flatMap(text)
        let mediaType = declared ?? (isIndex ? MediaType.index : MediaType.manifest)
        guard MediaType.accepted.contains(mediaType) else { throw malformed("mediaType \(quoted(mediaType)) is not supported") }
        guard root[key: "schemaVersion"] == .number(2) else { throw malformed("schemaVersion must be 2") }
        if isIndex {
            self = .index(mediaType: mediaType, manifests: try descriptors(root[key: "manifests"], "manifests", malformed))
        } else {
            guard let configuration = root[key: "config"] else { throw malformed("config is missing") }
            self = .image(
                mediaType: mediaType, configuration: try descriptor(configuration, "config", malformed),
                layers: try descriptors(root[key: "layers"], "layers", malformed))
        }

        func descriptors(_ value: JSONValue?, _ field: String, _ malformed: (String) -> OCIError) throws(OCIError) -> [Descriptor] {
            guard case .array(let values) = value else { throw malformed("\(field) must be a list") }
            guard values.count <= Self.mostDescriptors else { throw malformed("\(field) has more than \(Self.mostDescriptors) entries") }
            var result: [Descriptor] = []
            for (index, value) in values.enumerated() { result.append(try descriptor(value, "\(field)[\(index)]", malformed)) }
            return result
        }

        func descriptor(_ value: JSONValue, _ field: String, _ malformed: (String) -> OCIError) throws(OCIError) -> Descriptor {
            guard let mediaType = value[key: "mediaType"].flatMap(text) else { throw malformed("\(field).mediaType must be a string") }
            guard let digest = value[key: "digest"].flatMap(text).flatMap({ Digest($0) }) else {
                throw malformed("\(field).digest must be a sha256 digest")
            }
            guard case .number(let number) = value[key: "size"], let size = Int64(exactly: number), (0...Self.largestBlob).contains(size) else {
                throw malformed("\(field).size must be a number of bytes")
            }
            var platform: String?
            if let value = value[key: "platform"], let os = value[key: "os"].flatMap(text), let architecture = value[key: "architecture"].flatMap(text) {
                platform = ([os, architecture] + (value[key: "variant"].flatMap(text).map { [$0] } ?? [])).joined(separator: "/")
            }
            return Descriptor(mediaType: mediaType, digest: digest, size: size, platform: platform)
        }

        func text(_ value: JSONValue) -> String? {
            if case .string(let text) = value, text.utf8.count <= 1024 { text } else { nil }
        }
    }

    /// The bytes of an image manifest, in canonical JSON, so that equal images have equal digests.
    package static func imageBytes(configuration: Descriptor, layers: [Descriptor]) -> [UInt8] {
        JSONValue.object([
            ("schemaVersion", .number(2)), ("mediaType", .string(MediaType.manifest)), ("config", configuration.json),
            ("layers", .array(layers.map(\.json))),
        ]).canonical
    }
}

extension Descriptor {
    fileprivate var json: JSONValue {
        .object([("mediaType", .string(mediaType)), ("digest", .string(digest.description)), ("size", .number(Double(size)))])
    }
}

/// An image as the archive has it.
package struct StoredImage: Hashable, Sendable {
    package var digest: Digest
    package var mediaType: String
    /// Manifests, configurations and layers, each counted once.
    package var size: ByteCount
    package var platforms: [String]
    package var layers: [Digest]
    /// Every blob that it needs is in the archive. Of an index, the platforms that were pulled.
    package var isComplete: Bool
}

/// Describes the image or index with `digest` from its blobs.
package func inspectImage(_ digest: Digest, in store: ContentStore) throws(OCIError) -> StoredImage {
    let bytes = try store.read(digest, limit: Manifest.sizeLimit)
    switch try Manifest(bytes, named: "\(digest)") {
    case .image(let mediaType, let configuration, let layers):
        let blobs = Set([configuration.digest] + layers.map(\.digest))
        let sizes = blobs.map { store.size(of: $0) }
        return StoredImage(
            digest: digest, mediaType: mediaType, size: ByteCount(bytes: Int64(bytes.count) + sizes.reduce(0) { $0 + ($1 ?? 0) }),
            platforms: try platform(of: configuration, in: store).map { [$0] } ?? [], layers: layers.map(\.digest),
            isComplete: sizes.allSatisfy { $0 != nil })
    case .index(let mediaType, let manifests):
        var image = StoredImage(
            digest: digest, mediaType: mediaType, size: ByteCount(bytes: Int64(bytes.count)), platforms: [], layers: [], isComplete: false)
        for descriptor in manifests where store.size(of: descriptor.digest) != nil && MediaType.accepted.contains(descriptor.mediaType) {
            let part = try inspectImage(descriptor.digest, in: store)
            image.size.bytes += part.size.bytes
            image.layers += part.layers.filter { !image.layers.contains($0) }
            if part.isComplete {
                image.platforms += descriptor.platform.map { [$0] } ?? part.platforms
                image.isComplete = true
            }
        }
        return image
    }
}

private func platform(of configuration: Descriptor, in store: ContentStore) throws(OCIError) -> String? {
    guard store.size(of: configuration.digest) != nil else { return nil }
    let bytes = try store.read(configuration.digest, limit: 16 << 20)
    var limits = DocumentLimits()
    limits.size = 16 << 20
    guard let json = try? JSONParser.parse(bytes, limits: limits).json,  // allowed: an image's configuration may be any artifact's
        case .string(let os) = json[key: "os"], case .string(let architecture) = json[key: "architecture"]
    else { return nil }
    return os + "/" + architecture
}
