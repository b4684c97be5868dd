// Image manifests and indexes (OCI image specification 1.1, Docker schema 2), read from bytes that nobody vouches
// for: every field is checked here, so that the rest may rely on it. What is on disk is StoredImage.swift's business.
import JobModel

package enum MediaType {
    package static let manifest = "application/vnd.oci.image.manifest.v1+json"
    package static let index = "application/vnd.oci.image.index.v1+json"
    package static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    package static let dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
    package static let configuration = "application/vnd.oci.image.config.v1+json"
    package static let dockerConfiguration = "application/vnd.docker.container.image.v1+json"
    package static let layer = "application/vnd.oci.image.layer.v1.tar"

    /// What a registry is asked for.
    package static let accepted = [manifest, index, dockerManifest, dockerIndex]
    static let configurations = [configuration, dockerConfiguration]
    static let layers = [
        layer, layer + "+gzip", layer + "+zstd", "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ]
}

/// A reference to a blob: type, digest and size.
package struct Descriptor: Hashable, Sendable {
    package var mediaType: String
    package var digest: Digest
    /// In bytes, 0 to 16 TiB.
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

    package var mediaType: String {
        switch self {
        case .image(let mediaType, _, _), .index(let mediaType, _): mediaType
        }
    }

    /// - Throws: ``OCIError/malformed(what:why:)`` that names the field.
    package init(_ bytes: [UInt8], named what: String) throws(OCIError) {
        let reader = ManifestReader(what: "the manifest of \(what)")
        self = try reader.manifest(bytes)
    }

    /// Refuses what parses but is no container image: a chart, a signature, layers that are kept elsewhere.
    package func requireContainerImage(named what: String) throws(OCIError) {
        guard !isContainerImage, case .image(_, let configuration, let layers) = self else { return }
        func malformed(_ field: String, _ type: String) -> OCIError {
            .malformed(what: what, why: "it is no container image: \(field) has the type \(quoted(type))")
        }
        guard MediaType.configurations.contains(configuration.mediaType) else {
            throw malformed("config", configuration.mediaType)
        }
        for (index, layer) in layers.enumerated() where !MediaType.layers.contains(layer.mediaType) {
            throw malformed("layers[\(index)]", layer.mediaType)
        }
    }

    /// Whether it is an index, or an image that a container engine can run.
    package var isContainerImage: Bool {
        guard case .image(_, let configuration, let layers) = self else { return true }
        return MediaType.configurations.contains(configuration.mediaType)
            && layers.allSatisfy { MediaType.layers.contains($0.mediaType) }
    }

    /// The bytes of an image manifest, in canonical JSON, so that equal images have equal digests.
    package static func imageBytes(configuration: Descriptor, layers: [Descriptor]) -> [UInt8] {
        JSONValue.object([
            ("schemaVersion", .number(2)), ("mediaType", .string(MediaType.manifest)), ("config", configuration.json),
            ("layers", .array(layers.map(\.json))),
        ]).canonical
    }

    /// The bytes of an index, in canonical JSON.
    static func indexBytes(manifests: [Descriptor]) -> [UInt8] {
        JSONValue.object([
            ("schemaVersion", .number(2)), ("mediaType", .string(MediaType.index)),
            ("manifests", .array(manifests.map(\.json))),
        ]).canonical
    }
}

/// Checks a document field by field.
private struct ManifestReader {
    let what: String
    private static let largestBlob: Int64 = 1 << 44
    private static let mostDescriptors = 10_000

    func manifest(_ bytes: [UInt8]) throws(OCIError) -> Manifest {
        let root = try parseJSON(bytes, limit: Manifest.sizeLimit, named: what)
        guard case .object = root else { throw malformed("it must be an object") }
        guard root[key: "schemaVersion"] != .number(1) else {
            throw malformed("it is in Docker's schema 1, which pins nothing: push the image again with a current tool")
        }
        guard root[key: "schemaVersion"] == .number(2) else { throw malformed("schemaVersion must be 2") }
        // A document that can be read as either would be one image here and another there (CVE-2021-41190).
        let isIndex = root[key: "manifests"] != nil
        guard !isIndex || (root[key: "config"] == nil && root[key: "layers"] == nil) else {
            throw malformed("it has manifests as well as config or layers")
        }
        let types =
            isIndex ? [MediaType.index, MediaType.dockerIndex] : [MediaType.manifest, MediaType.dockerManifest]
        let mediaType: String
        switch root[key: "mediaType"] {
        case nil: mediaType = types[0]
        case .string(let declared) where types.contains(declared): mediaType = declared
        case .string(let declared): throw malformed("mediaType \(quoted(declared)) is not supported")
        default: throw malformed("mediaType must be a string")
        }
        if isIndex {
            return .index(mediaType: mediaType, manifests: try descriptors(root[key: "manifests"], "manifests"))
        }
        guard let value = root[key: "config"] else { throw malformed("config is missing") }
        let configuration = try descriptor(value, "config")
        let layers = try descriptors(root[key: "layers"], "layers")
        var sizes: [Digest: Int64] = [:]
        for blob in [configuration] + layers
        where sizes.updateValue(blob.size, forKey: blob.digest) ?? blob.size != blob.size {
            throw malformed("it gives two sizes for the blob \(blob.digest)")
        }
        return .image(mediaType: mediaType, configuration: configuration, layers: layers)
    }

    private func malformed(_ why: String) -> OCIError { .malformed(what: what, why: why) }

    private func descriptors(_ value: JSONValue?, _ field: String) throws(OCIError) -> [Descriptor] {
        guard case .array(let values) = value else { throw malformed("\(field) must be a list") }
        guard values.count <= Self.mostDescriptors else {
            throw malformed("\(field) has more than \(Self.mostDescriptors) entries")
        }
        var result: [Descriptor] = []
        for (index, value) in values.enumerated() { result.append(try descriptor(value, "\(field)[\(index)]")) }
        return result
    }

    private func descriptor(_ value: JSONValue, _ field: String) throws(OCIError) -> Descriptor {
        guard case .string(let mediaType) = value[key: "mediaType"], mediaType.utf8.count <= 255 else {
            throw malformed("\(field).mediaType must be a string")
        }
        guard case .string(let text) = value[key: "digest"], let digest = Digest(text) else {
            throw malformed("\(field).digest must be a sha256 digest")
        }
        guard case .number(let number) = value[key: "size"], let size = Int64(exactly: number),
            (0...Self.largestBlob).contains(size)
        else { throw malformed("\(field).size must be a number of bytes from 0 to \(Self.largestBlob)") }
        return Descriptor(
            mediaType: mediaType, digest: digest, size: size, platform: value[key: "platform"].flatMap(platform))
    }

    private func platform(_ value: JSONValue) -> String? {
        guard case .string(let os) = value[key: "os"], case .string(let architecture) = value[key: "architecture"]
        else {
            return nil
        }
        if case .string(let variant) = value[key: "variant"], !variant.isEmpty {
            return Platform.name(os: os, architecture: architecture, variant: variant)
        }
        return Platform.name(os: os, architecture: architecture, variant: nil)
    }
}

extension Descriptor {
    fileprivate var json: JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("mediaType", .string(mediaType)), ("digest", .string(digest.description)), ("size", .number(Double(size))),
        ]
        if let parts = platform?.split(separator: "/").map(String.init), parts.count >= 2 {
            let names = ["os", "architecture", "variant"]
            members.append(("platform", .object(zip(names, parts).map { ($0, .string($1)) })))
        }
        return .object(members)
    }
}

/// - Throws: ``OCIError/malformed(what:why:)`` with line and JSON path.
package func parseJSON(_ bytes: [UInt8], limit: Int, named what: String) throws(OCIError) -> JSONValue {
    var limits = DocumentLimits()
    limits.size = limit
    do {
        return try JSONParser.parse(bytes, limits: limits).json
    } catch {
        throw OCIError.malformed(what: what, why: "\(error)")
    }
}
