// What the archive has of an image: read from its manifests and from which blobs are there. Changes nothing.
import JobModel

/// An image as the archive has it.
package struct StoredImage: Hashable, Sendable {
    package var digest: Digest
    package var mediaType: String
    /// Manifests, configurations and layers, each counted once.
    package var size: ByteCount
    /// `linux/amd64`, … of an index only those whose blobs are all there.
    package var platforms: [String]
    package var layers: [Digest]
    /// Every blob that it needs is in the archive. Of an index, those of at least one platform.
    package var isComplete: Bool
}

/// Describes the image or index with `digest` from its blobs.
package func inspectImage(_ digest: Digest, in store: ContentStore) throws(OCIError) -> StoredImage {
    var inspection = Inspection(store: store)
    let (mediaType, isComplete) = try inspection.visit(digest, platform: nil, depth: 0)
    return StoredImage(
        digest: digest, mediaType: mediaType, size: ByteCount(bytes: inspection.sizes.values.reduce(0, +)),
        platforms: inspection.platforms, layers: inspection.layers, isComplete: isComplete)
}

/// Indexes may stand inside one another this deep.
package let deepestIndex = 3

private struct Inspection {
    let store: ContentStore
    var sizes: [Digest: Int64] = [:]
    var platforms: [String] = []
    var layers: [Digest] = []
    private var seenLayers: Set<Digest> = []
    /// Each manifest is read once, however often a hostile index names it.
    private var known: [Digest: (mediaType: String, isComplete: Bool)] = [:]

    init(store: ContentStore) { self.store = store }

    mutating func visit(
        _ digest: Digest, platform: String?, depth: Int
    ) throws(OCIError) -> (mediaType: String, isComplete: Bool) {
        if let known = known[digest] { return known }
        guard depth <= deepestIndex else {
            throw OCIError.malformed(
                what: "the index \(digest)", why: "indexes are nested more than \(deepestIndex) deep")
        }
        let bytes = try store.read(digest, limit: Manifest.sizeLimit)
        let manifest = try Manifest(bytes, named: "\(digest)")
        if depth > 0, !manifest.isContainerImage {
            // Indexes also carry signatures and build records, which nobody runs.
            known[digest] = (manifest.mediaType, false)
            return (manifest.mediaType, false)
        }
        var isComplete = false
        switch manifest {
        case .image(_, let configuration, let blobs):
            isComplete = try image(configuration, blobs, platform)
        case .index(_, let parts):
            for part in parts
            where MediaType.accepted.contains(part.mediaType) && store.size(of: part.digest) == part.size {
                if try visit(part.digest, platform: part.platform, depth: depth + 1).isComplete { isComplete = true }
            }
        }
        sizes[digest] = Int64(bytes.count)
        known[digest] = (manifest.mediaType, isComplete)
        return (manifest.mediaType, isComplete)
    }

    private mutating func image(
        _ configuration: Descriptor, _ blobs: [Descriptor], _ platform: String?
    ) throws(OCIError) -> Bool {
        var isComplete = true
        for blob in [configuration] + blobs {
            let size = store.size(of: blob.digest)
            if let size { sizes[blob.digest] = size }
            if size != blob.size { isComplete = false }
        }
        for blob in blobs where seenLayers.insert(blob.digest).inserted { layers.append(blob.digest) }
        guard isComplete else { return false }
        let declared = try store.platform(of: configuration)
        if let name = platform ?? declared, !platforms.contains(name) { platforms.append(name) }
        return true
    }
}

extension ContentStore {
    /// The largest image configuration that is read.
    package static let configurationLimit = 16 << 20

    /// What an image's configuration says that it runs on; nil if the configuration is not here or does not say.
    package func platform(of configuration: Descriptor) throws(OCIError) -> String? {
        guard size(of: configuration.digest) != nil else { return nil }
        let bytes = try read(configuration.digest, limit: Self.configurationLimit)
        let what = "the configuration \(configuration.digest)"
        let json = try parseJSON(bytes, limit: Self.configurationLimit, named: what)
        guard case .string(let os) = json[key: "os"], case .string(let architecture) = json[key: "architecture"] else {
            return nil
        }
        return Platform.name(os: os, architecture: architecture, variant: nil)
    }
}
