// An OCI image layout as a tar: index.json, and blobs named by their digests. Only what index.json leads to is kept.
// Layers are checked against their own digests, which the manifest pins, so their diff ids need no second look.
import JobModel

extension ImageArchiveFile {
    func importLayout() throws(OCIError) -> Digest {
        let bytes = try content(of: "index.json")
        guard case .index(_, let listed) = try Manifest(bytes, named: "index.json") else {
            throw OCIError.malformed(what: "index.json", why: "it must have manifests")
        }
        var seen: Set<Digest> = []
        let parts = listed.filter { MediaType.accepted.contains($0.mediaType) && seen.insert($0.digest).inserted }
        guard !parts.isEmpty else { throw OCIError.malformed(what: "index.json", why: "it names no image") }
        try storeBlobs(reachableFrom: parts)
        if parts.count == 1 {
            let manifest = try readManifest(parts[0])
            try manifest.requireContainerImage(named: "the image in the archive")
            try requireBlobs(of: manifest)
            return parts[0].digest
        }
        return try store.put(Manifest.indexBytes(manifests: try platforms(of: parts)))
    }

    /// Manifests first, level by level, then what they name.
    private func storeBlobs(reachableFrom parts: [Descriptor]) throws(OCIError) {
        var level = parts
        var isTop = true
        var read: Set<Digest> = []
        for _ in 0...deepestIndex + 1 where !level.isEmpty {
            try storeBlobs(level)
            var below: [Descriptor] = []
            for part in level where MediaType.accepted.contains(part.mediaType) && read.insert(part.digest).inserted {
                guard store.size(of: part.digest) != nil else {
                    // An index may name platforms that were left out; index.json may not.
                    guard !isTop else { throw missing(memberName(part.digest)) }
                    continue
                }
                switch try readManifest(part) {
                case .index(_, let manifests): below += manifests
                case .image(_, let configuration, let layers): below += [configuration] + layers
                }
            }
            level = below
            isTop = false
        }
        guard level.isEmpty else {
            throw OCIError.malformed(what: "index.json", why: "indexes are nested more than \(deepestIndex) deep")
        }
    }

    private func readManifest(_ part: Descriptor) throws(OCIError) -> Manifest {
        let name = memberName(part.digest)
        guard store.size(of: part.digest) == part.size else {
            let found = store.size(of: part.digest).map { "\($0) bytes" } ?? "nothing"
            throw OCIError.mismatch(what: name, expected: "\(part.size) bytes", found: found)
        }
        return try Manifest(try store.read(part.digest, limit: Manifest.sizeLimit), named: name)
    }

    /// All that an image names must be there, with the sizes that it promises.
    private func requireBlobs(of manifest: Manifest) throws(OCIError) {
        guard case .image(_, let configuration, let layers) = manifest else { return }
        for blob in [configuration] + layers {
            let name = memberName(blob.digest)
            guard let size = store.size(of: blob.digest) else { throw missing(name) }
            guard size == blob.size else {
                throw OCIError.mismatch(what: name, expected: "\(blob.size) bytes", found: "\(size) bytes")
            }
        }
    }

    private func memberName(_ digest: Digest) -> String { "blobs/sha256/\(digest.hex)" }

    /// Stores those members that are wanted and not in the store, each under the digest that its name promises.
    private func storeBlobs(_ wanted: [Descriptor]) throws(OCIError) {
        var sizes: [String: Descriptor] = [:]
        for blob in wanted where store.size(of: blob.digest) == nil { sizes[memberName(blob.digest)] = blob }
        guard !sizes.isEmpty else { return }
        let archive = try reader()
        while !sizes.isEmpty, let entry = try archive.next() {
            guard entry.isFile, entry.link == nil, let blob = sizes.removeValue(forKey: entry.name) else { continue }
            guard entry.size == blob.size else {
                throw OCIError.mismatch(what: entry.name, expected: "\(blob.size) bytes", found: "\(entry.size) bytes")
            }
            let writer = try store.writer()
            try archive.forEachPiece { (piece) throws(OCIError) in try writer.write(piece) }
            _ = try writer.commit(expecting: blob.digest, size: blob.size)
        }
    }

    /// Several images become one index, in which each must be the only one for its platform.
    private func platforms(of parts: [Descriptor]) throws(OCIError) -> [Descriptor] {
        var result: [Descriptor] = []
        for var part in parts {
            let manifest = try readManifest(part)
            guard manifest.isContainerImage else { continue }
            try requireBlobs(of: manifest)
            guard case .image(_, let configuration, _) = manifest else {
                throw OCIError.malformed(what: "index.json", why: "it names several images: export one at a time")
            }
            if part.platform == nil { part.platform = try store.platform(of: configuration) }
            guard let platform = part.platform else {
                let why = "it does not say which platform the image \(part.digest) is for"
                throw OCIError.malformed(what: "index.json", why: why)
            }
            guard !result.contains(where: { $0.platform == platform }) else {
                let why = "it names several images for \(platform): export one at a time"
                throw OCIError.malformed(what: "index.json", why: why)
            }
            result.append(part)
        }
        guard !result.isEmpty else { throw OCIError.malformed(what: "index.json", why: "it names no image") }
        return result
    }
}
