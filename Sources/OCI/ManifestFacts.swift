// What a manifest says of itself and what it needs: for the registry, which validates what is pushed, lists referrers,
// and must know what may not be deleted. Reads only.
import JobModel

/// A manifest of the archive. Fields as in the OCI image specification 1.1.
package struct ManifestFacts: Hashable, Sendable {
    package var digest: Digest
    package var manifest: Manifest
    /// In bytes.
    package var size: Int64
    /// What kind of artifact it is: its own `artifactType`, or the type of its configuration. An index may have none.
    package var artifactType: String?
    /// The manifest that this one is about. It need not be here.
    package var subject: Digest?
    /// A JSON object of strings; nil if there is none.
    package var annotations: String?

    package var mediaType: String { manifest.mediaType }

    /// - Throws: ``OCIError/malformed(what:why:)`` that names the field.
    package init(_ bytes: [UInt8], digest: Digest, named what: String) throws(OCIError) {
        self.digest = digest
        size = Int64(bytes.count)
        manifest = try Manifest(bytes, named: what)
        let root = try parseJSON(bytes, limit: Manifest.sizeLimit, named: "the manifest of \(what)")
        func malformed(_ why: String) -> OCIError { .malformed(what: "the manifest of \(what)", why: why) }
        switch root[key: "artifactType"] {
        case nil, .string(""): artifactType = nil
        case .string(let type) where type.utf8.count <= 255: artifactType = type
        default: throw malformed("artifactType must be a media type of at most 255 bytes")
        }
        if artifactType == nil, case .image(_, let configuration, _) = manifest {
            artifactType = configuration.mediaType
        }
        if let value = root[key: "subject"], value != .null {
            guard case .string(let text) = value[key: "digest"], let digest = Digest(text) else {
                throw malformed("subject.digest must be a sha256 digest")
            }
            subject = digest
        }
        if let value = root[key: "annotations"], value != .null {
            guard case .object(let members) = value,
                members.allSatisfy({ if case .string = $0.value { true } else { false } })
            else { throw malformed("annotations must be an object whose values are strings") }
            if !members.isEmpty { annotations = String(decoding: value.written, as: UTF8.self) }
        }
    }

    /// What must be here for it to be whole: configuration and layers, or the manifests of an index. Layers that are
    /// kept elsewhere by their makers' wish are not among it.
    package var references: [Descriptor] {
        switch manifest {
        case .image(_, let configuration, let layers): [configuration] + layers.filter { !$0.isKeptElsewhere }
        case .index(_, let manifests): manifests
        }
    }

    package var isIndex: Bool { if case .index = manifest { true } else { false } }
}

extension Descriptor {
    /// Foreign and non-distributable layers, which registries do not get.
    package var isKeptElsewhere: Bool { mediaType.contains(".foreign.") || mediaType.contains(".nondistributable.") }
}

/// The manifest with `digest` and, below an index, all those that are here, parents first.
/// - Parameter limit: how many are read at most.
/// - Throws: ``OCIError``: the first is missing or cannot be understood, or there are more than `limit`.
package func manifestTree(_ digest: Digest, in store: ContentStore, limit: Int = 10_000) throws(OCIError)
    -> [ManifestFacts]
{
    var found: [ManifestFacts] = []
    var seen: Set<Digest> = [digest]
    var level = [digest]
    for depth in 0...deepestIndex where !level.isEmpty {
        var next: [Digest] = []
        for digest in level {
            guard found.count < limit else {
                throw OCIError.malformed(what: "the index \(digest)", why: "it holds more than \(limit) manifests")
            }
            if depth > 0, store.size(of: digest) == nil { continue }
            let bytes = try store.read(digest, limit: Manifest.sizeLimit)
            let facts = try ManifestFacts(bytes, digest: digest, named: "\(digest)")
            found.append(facts)
            guard facts.isIndex else { continue }
            for part in facts.references
            where MediaType.accepted.contains(part.mediaType) && seen.insert(part.digest).inserted {
                next.append(part.digest)
            }
        }
        level = next
    }
    guard level.isEmpty else {
        throw OCIError.malformed(what: "the index \(digest)", why: "indexes are nested more than \(deepestIndex) deep")
    }
    return found
}
