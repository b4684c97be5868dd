// From a pinned image to what must be unpacked: index, manifest and configuration, each verified against its digest.
// Nothing is kept here.
import JobModel

/// What an image is made of on one platform.
struct ImageRecord: Codable, Hashable, Sendable {
    var image: PinnedImage
    /// The manifest of the platform.
    var manifest: Digest
    var platform: String?
    /// The lowest first, as in the manifest.
    var layers: [WantedLayer]
    var configuration: ImageConfiguration

    /// overlayfs takes no more (OVL_MAX_STACK).
    static let mostLayers = 500
}

struct ImageResolution {
    let image: PinnedImage
    let source: any LayerSource

    /// - Throws: ``OCIError`` that names the image and the field.
    func resolve() async throws(OCIError) -> ImageRecord { try await resolve(image.digest, size: nil, depth: 0) }

    private func resolve(_ digest: Digest, size: Int64?, depth: Int) async throws(OCIError) -> ImageRecord {
        let what = "the image \(image.digest)"
        guard depth <= deepestIndex else {
            throw OCIError.malformed(what: what, why: "indexes are nested more than \(deepestIndex) deep")
        }
        let bytes = try await source.manifest(digest, limit: Manifest.sizeLimit)
        try verify(bytes, digest, size: size, named: "the manifest \(digest)")
        let manifest = try Manifest(bytes, named: "\(digest)")
        switch manifest {
        case .index(_, let manifests):
            let part = try Platform.choose(from: manifests, for: image.platform, named: what)
            return try await resolve(part.digest, size: part.size, depth: depth + 1)
        case .image(_, let descriptor, let layers):
            try manifest.requireContainerImage(named: what)
            let limit = ContentStore.configurationLimit
            let bytes = try await source.blob(descriptor.digest, limit: limit)
            let name = "the configuration \(descriptor.digest)"
            try verify(bytes, descriptor.digest, size: descriptor.size, named: name)
            let reader = ConfigurationReader(what: name, json: try parseJSON(bytes, limit: limit, named: name))
            let platform = try reader.platform()
            try requireFit(platform)
            return ImageRecord(
                image: image, manifest: digest, platform: platform, layers: try reader.layers(layers),
                configuration: try reader.configuration())
        }
    }

    private func verify(_ bytes: [UInt8], _ digest: Digest, size: Int64?, named what: String) throws(OCIError) {
        if let size, size != Int64(bytes.count) {
            throw OCIError.mismatch(what: what, expected: "\(size) bytes", found: "\(bytes.count) bytes")
        }
        let found = Digest(of: bytes)
        guard found == digest else { throw OCIError.mismatch(what: what, expected: "\(digest)", found: "\(found)") }
    }

    /// Without a word about the platform the image must run here as it is. Who emulates another names it in the spec.
    private func requireFit(_ found: String?) throws(OCIError) {
        guard let found else { return }
        let wanted = image.platform.map { [$0] } ?? [Platform.host] + Self.cousins
        guard !wanted.contains(where: { Platform.fits(found, $0) }) else { return }
        throw OCIError.malformed(what: "the image \(image.digest)", why: "it is for \(found), not for \(wanted[0])")
    }

    /// What the processor runs besides.
    private static var cousins: [String] {
        #if arch(arm64)
            ["linux/arm"]
        #else
            ["linux/386"]
        #endif
    }
}

/// Checks an image's configuration field by field (OCI image specification, "Image Configuration").
private struct ConfigurationReader {
    let what: String
    let json: JSONValue
    private static let mostVariables = 10_000

    private func malformed(_ why: String) -> OCIError { .malformed(what: what, why: why) }

    func platform() throws(OCIError) -> String? {
        guard case .string(let os) = json[key: "os"], case .string(let architecture) = json[key: "architecture"] else {
            return nil
        }
        var variant: String?
        if case .string(let text) = json[key: "variant"], !text.isEmpty { variant = text }
        return Platform.name(os: os, architecture: architecture, variant: variant)
    }

    func layers(_ blobs: [Descriptor]) throws(OCIError) -> [WantedLayer] {
        guard case .array(let values) = json[key: "rootfs"]?[key: "diff_ids"] else {
            throw malformed("$.rootfs.diff_ids must be a list")
        }
        guard values.count == blobs.count else {
            throw malformed("it names \(values.count) layers, the manifest \(blobs.count)")
        }
        guard (1...ImageRecord.mostLayers).contains(values.count) else {
            throw malformed("$.rootfs.diff_ids must have 1 to \(ImageRecord.mostLayers) layers, not \(values.count)")
        }
        var layers: [WantedLayer] = []
        for (index, value) in values.enumerated() {
            guard case .string(let text) = value, let diffID = Digest(text) else {
                throw malformed("$.rootfs.diff_ids[\(index)] must be a sha256 digest")
            }
            let blob = blobs[index]
            layers.append(
                WantedLayer(digest: blob.digest, size: blob.size, mediaType: blob.mediaType, diffID: diffID))
        }
        return layers
    }

    func configuration() throws(OCIError) -> ImageConfiguration {
        var result = ImageConfiguration(environment: [], workingDirectory: nil)
        let values: JSONValue
        switch json[key: "config"] {
        case nil, .null: return result
        case .object(let members): values = .object(members)
        default: throw malformed("$.config must be an object")
        }
        switch values[key: "Env"] {
        case nil, .null: break
        case .array(let variables) where variables.count <= Self.mostVariables:
            for (index, value) in variables.enumerated() {
                guard case .string(let text) = value, !text.utf8.contains(0) else {
                    throw malformed("$.config.Env[\(index)] must be a string without zero bytes")
                }
                // Docker passes on what has no value; no program can see it.
                if text.contains("="), !text.hasPrefix("=") { result.environment.append(text) }
            }
        default: throw malformed("$.config.Env must be a list of at most \(Self.mostVariables) strings")
        }
        switch values[key: "WorkingDir"] {
        case nil, .null, .string(""): break
        case .string(let text) where text.hasPrefix("/") && !text.utf8.contains(0) && text.utf8.count < 4096:
            result.workingDirectory = text
        default: throw malformed("$.config.WorkingDir must be an absolute path")
        }
        return result
    }
}
