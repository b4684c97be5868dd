// Archives that people have, made into images of the archive: a root file system as a tar, `docker save`, an OCI layout. The same
// input gives the same digest. Member names are only compared, never written to, so no archive can reach outside the store.
import Foundation
import JobModel

/// Imports the archive in the file at `path`.
/// - Throws: ``OCIError`` that names the member at fault.
package func importImage(archive path: String, into store: ContentStore) throws(OCIError) -> StoredImage {
    switch try ArchiveKind.of(path) {
    case .rootFileSystem: try importRootFileSystem(path, store)
    case .dockerArchive: try importDockerArchive(path, store)
    case .layout: try importLayout(path, store)
    }
}

private enum ArchiveKind {
    case rootFileSystem
    case dockerArchive
    case layout

    private static let mostEntries = 20_000_000

    /// By the names at the top: `oci-layout` and `index.json`, or `manifest.json`.
    static func of(_ path: String) throws(OCIError) -> ArchiveKind {
        let archive = try ArchiveReader(path: path, compressedTarOnly: true)
        var names: Set<String> = []
        var entries = 0
        while let entry = try archive.next() {
            entries += 1
            guard entries <= mostEntries else { throw OCIError.tooLarge(what: "the number of files in the archive", limit: Int64(mostEntries)) }
            if ["oci-layout", "index.json", "manifest.json"].contains(entry.name) { names.insert(entry.name) }
        }
        guard entries > 0 else { throw OCIError.malformed(what: "the archive", why: "it is empty or no tar") }
        if names.contains("oci-layout"), names.contains("index.json") { return .layout }
        return names.contains("manifest.json") ? .dockerArchive : .rootFileSystem
    }
}

/// A layer on its way in: stored as it came, with the digest of its uncompressed content.
private struct Layer {
    let descriptor: Descriptor
    let diffID: Digest
}

private func importRootFileSystem(_ path: String, _ store: ContentStore) throws(OCIError) -> StoredImage {
    let writer = try store.writer()
    try forEachPiece(of: path) { (piece) throws(OCIError) in try writer.write(piece) }
    let size = writer.size
    let digest = try writer.commit(expecting: nil, size: nil)
    let layer = Layer(
        descriptor: Descriptor(mediaType: try layerType(of: store.path(of: digest)), digest: digest, size: size),
        diffID: try uncompressedDigest(of: store.path(of: digest)))
    return try storeImage(layers: [layer], store)
}

/// Writes configuration and manifest for layers that have none. Times are the epoch: the content alone decides the digest.
private func storeImage(layers: [Layer], _ store: ContentStore) throws(OCIError) -> StoredImage {
    let parts = RegistryClient.hostPlatform.split(separator: "/").map(String.init)
    let configuration = JSONValue.object([
        ("architecture", .string(parts[1])), ("os", .string(parts[0])), ("created", .string("1970-01-01T00:00:00Z")), ("config", .object([])),
        ("rootfs", .object([("type", .string("layers")), ("diff_ids", .array(layers.map { .string($0.diffID.description) }))])),
        ("history", .array(layers.map { _ in .object([("created", .string("1970-01-01T00:00:00Z")), ("created_by", .string("jobctl image import"))]) })),
    ]).canonical
    let digest = try store.put(configuration)
    return try storeManifest(
        configuration: Descriptor(mediaType: MediaType.configuration, digest: digest, size: Int64(configuration.count)), layers: layers.map(\.descriptor), store)
}

private func storeManifest(configuration: Descriptor, layers: [Descriptor], _ store: ContentStore) throws(OCIError) -> StoredImage {
    let manifest = Manifest.imageBytes(configuration: configuration, layers: layers)
    return try inspectImage(try store.put(manifest), in: store)
}

// MARK: docker save

private func importDockerArchive(_ path: String, _ store: ContentStore) throws(OCIError) -> StoredImage {
    let index = try json(of: try members(["manifest.json"], of: path), "manifest.json")
    guard case .array(let images) = index, images.count == 1, case .string(let configurationName) = images[0][key: "Config"],
        case .array(let layerValues) = images[0][key: "Layers"], layerValues.count <= 1_000
    else { throw OCIError.malformed(what: "manifest.json", why: "it must describe exactly one image: save one at a time") }
    let layerNames = layerValues.compactMap { if case .string(let name) = $0 { name } else { nil } }
    let configuration = try members([configurationName], of: path)
    guard let bytes = configuration[configurationName] else { throw missing(configurationName) }
    let diffIDs = try diffIDs(in: try json(of: configuration, configurationName), configurationName)
    guard diffIDs.count == layerNames.count else {
        throw OCIError.malformed(what: configurationName, why: "it names \(diffIDs.count) layers, manifest.json names \(layerNames.count)")
    }

    let stored = try storeMembers(Set(layerNames), of: path, store)
    var layers: [Descriptor] = []
    for (name, diffID) in zip(layerNames, diffIDs) {
        guard let digest = stored[name] else { throw missing(name) }
        let found = try uncompressedDigest(of: store.path(of: digest))
        guard found == diffID else { throw OCIError.mismatch(what: "the layer \(name)", expected: "\(diffID)", found: "\(found)") }
        layers.append(Descriptor(mediaType: try layerType(of: store.path(of: digest)), digest: digest, size: store.size(of: digest) ?? 0))
    }
    let digest = try store.put(bytes)
    return try storeManifest(
        configuration: Descriptor(mediaType: MediaType.configuration, digest: digest, size: Int64(bytes.count)), layers: layers, store)
}

private func diffIDs(in configuration: JSONValue, _ name: String) throws(OCIError) -> [Digest] {
    guard case .array(let values) = configuration[key: "rootfs"]?[key: "diff_ids"] else {
        throw OCIError.malformed(what: name, why: "rootfs.diff_ids must be a list")
    }
    let digests = values.compactMap { value in if case .string(let text) = value { Digest(text) } else { nil } }
    guard digests.count == values.count else { throw OCIError.malformed(what: name, why: "rootfs.diff_ids must be sha256 digests") }
    return digests
}

// MARK: OCI layout

private func importLayout(_ path: String, _ store: ContentStore) throws(OCIError) -> StoredImage {
    guard let bytes = try members(["index.json"], of: path)["index.json"] else { throw missing("index.json") }
    guard case .index(_, let manifests) = try Manifest(bytes, named: "index.json"), !manifests.isEmpty else {
        throw OCIError.malformed(what: "index.json", why: "it names no image")
    }
    try storeLayoutBlobs(of: path, store)
    for descriptor in manifests { try verify(descriptor, store) }
    if manifests.count == 1 { return try inspectImage(manifests[0].digest, in: store) }
    return try inspectImage(try store.put(bytes), in: store)
}

/// Every `blobs/sha256/<hex>` of the archive, under the digest that its name promises.
private func storeLayoutBlobs(of path: String, _ store: ContentStore) throws(OCIError) {
    let archive = try ArchiveReader(path: path, compressedTarOnly: true)
    while let entry = try archive.next() {
        guard entry.isFile, entry.name.hasPrefix("blobs/sha256/"), let digest = Digest("sha256:" + entry.name.dropFirst(13)),
            store.size(of: digest) == nil
        else { continue }
        let writer = try store.writer()
        try archive.forEachPiece { (piece) throws(OCIError) in try writer.write(piece) }
        _ = try writer.commit(expecting: digest, size: entry.size)
    }
}

/// The manifest and all that it names must be there, with the sizes that it promises.
private func verify(_ descriptor: Descriptor, _ store: ContentStore) throws(OCIError) {
    guard MediaType.accepted.contains(descriptor.mediaType) else { return }
    switch try Manifest(try store.read(descriptor.digest, limit: Manifest.sizeLimit), named: "\(descriptor.digest)") {
    case .index(_, let manifests): for manifest in manifests where store.size(of: manifest.digest) != nil { try verify(manifest, store) }
    case .image(_, let configuration, let layers):
        for blob in [configuration] + layers {
            guard let size = store.size(of: blob.digest) else { throw missing("blobs/sha256/\(blob.digest.hex)") }
            guard size == blob.size else {
                throw OCIError.mismatch(what: "the blob \(blob.digest)", expected: "\(blob.size) bytes", found: "\(size) bytes")
            }
        }
    }
}

// MARK: Members

private func missing(_ name: String) -> OCIError { .malformed(what: "the archive", why: "it lacks \(quoted(name))") }

/// The content of small members, by name.
private func members(_ names: Set<String>, of path: String) throws(OCIError) -> [String: [UInt8]] {
    let archive = try ArchiveReader(path: path, compressedTarOnly: true)
    let limit = 16 << 20
    var found: [String: [UInt8]] = [:]
    while found.count < names.count, let entry = try archive.next() {
        guard entry.isFile, names.contains(entry.name) else { continue }
        var bytes: [UInt8] = []
        try archive.forEachPiece { (piece) throws(OCIError) in
            guard bytes.count + piece.count <= limit else { throw OCIError.tooLarge(what: entry.name, limit: Int64(limit)) }
            bytes.append(contentsOf: piece)
        }
        found[entry.name] = bytes
    }
    return found
}

private func json(of members: [String: [UInt8]], _ name: String) throws(OCIError) -> JSONValue {
    guard let bytes = members[name] else { throw missing(name) }
    var limits = DocumentLimits()
    limits.size = 16 << 20
    do {
        return try JSONParser.parse(bytes, limits: limits).json
    } catch {
        throw OCIError.malformed(what: name, why: "\(error)")
    }
}

/// Stores members whole; their digests by name. A link (older `docker save`) counts as its target.
private func storeMembers(_ names: Set<String>, of path: String, _ store: ContentStore) throws(OCIError) -> [String: Digest] {
    var stored: [String: Digest] = [:]
    var links: [String: String] = [:]
    let archive = try ArchiveReader(path: path, compressedTarOnly: true)
    while let entry = try archive.next() {
        if let target = entry.link, names.contains(entry.name) { links[entry.name] = target }
        guard entry.isFile, entry.link == nil, entry.name.hasSuffix(".tar") || names.contains(entry.name) else { continue }
        let writer = try store.writer()
        try archive.forEachPiece { (piece) throws(OCIError) in try writer.write(piece) }
        stored[entry.name] = try writer.commit(expecting: nil, size: entry.size)
    }
    for (name, target) in links where stored[name] == nil {
        let resolved = target.hasPrefix("../") ? String(target.dropFirst(3)) : target
        stored[name] = stored[resolved]
    }
    return stored
}
