// The pull side of the OCI distribution specification 1.1, as a client: resolve a tag once, then fetch by digest and verify.
import Foundation
import JobModel

/// Talks to registries. A value: it keeps nothing between calls but its options.
package struct RegistryClient: Sendable {
    let credentials: RegistryCredentials
    /// Registries that speak plain HTTP, besides those on this machine.
    let insecure: [String]

    package init(credentials: RegistryCredentials, insecure: [String] = []) {
        self.credentials = credentials
        self.insecure = insecure
    }

    /// The digest that a reference's tag points to now, verified against the manifest's bytes.
    package func resolve(_ reference: ImageReference) async throws(OCIError) -> (digest: Digest, mediaType: String) {
        let session = RegistrySession(client: self, reference: reference)
        let (bytes, digest) = try await manifest(reference.digest?.description ?? reference.tag ?? "latest", session)
        return (digest, try Manifest(bytes, named: reference.description).mediaType)
    }

    /// Copies the image or index with `digest` into the store: manifest, configuration and layers, each verified. Of an index, the
    /// manifest of `platform` (nil: this machine's) with its blobs, and the index itself. What is there already is not fetched again.
    /// - Parameter progress: called with the bytes received so far, from any thread.
    package func pull(
        _ reference: ImageReference, digest: Digest, platform: String?, into store: ContentStore,
        progress: @escaping @Sendable (Int64) -> Void = { _ in }
    ) async throws(OCIError) -> StoredImage {
        let session = RegistrySession(client: self, reference: reference)
        try await pullManifest(digest, platform: platform ?? Self.hostPlatform, session, store, progress)
        let image = try inspectImage(digest, in: store)
        guard image.isComplete else {
            throw OCIError.malformed(what: "the image \(reference)", why: "it has nothing for the platform \(platform ?? Self.hostPlatform)")
        }
        return image
    }

    /// The platform of this machine as the OCI image specification names it.
    package static var hostPlatform: String {
        #if arch(arm64)
            "linux/arm64"
        #else
            "linux/amd64"
        #endif
    }

    private func pullManifest(
        _ digest: Digest, platform: String, _ session: RegistrySession, _ store: ContentStore, _ progress: @escaping @Sendable (Int64) -> Void
    ) async throws(OCIError) {
        let bytes: [UInt8]
        if store.size(of: digest) != nil {
            bytes = try store.read(digest, limit: Manifest.sizeLimit)
        } else {
            let (fetched, found) = try await manifest(digest.description, session)
            guard found == digest else {
                throw OCIError.mismatch(what: "the manifest of \(session.reference)", expected: "\(digest)", found: "\(found)")
            }
            bytes = fetched
        }
        switch try Manifest(bytes, named: session.reference.description) {
        case .image(_, let configuration, let layers):
            try await pullBlobs([configuration] + layers, session, store, progress)
        case .index(_, let manifests):
            let candidates = manifests.filter { MediaType.accepted.contains($0.mediaType) }
            let match = candidates.first { $0.platform == platform } ?? candidates.first { $0.platform?.hasPrefix(platform + "/") == true }
            guard let chosen = match ?? (candidates.count == 1 && candidates[0].platform == nil ? candidates[0] : nil) else {
                let offered = candidates.compactMap(\.platform).joined(separator: ", ")
                throw OCIError.malformed(what: "the image \(session.reference)", why: "it has nothing for \(platform), only for \(offered)")
            }
            guard chosen.digest != digest else { throw OCIError.malformed(what: "the image \(session.reference)", why: "its index names itself") }
            try await pullManifest(chosen.digest, platform: platform, session, store, progress)
        }
        // Last, so that a manifest in the store means that its blobs are there.
        _ = try store.put(bytes)
    }

    /// Fetches what is missing, four at a time.
    private func pullBlobs(
        _ descriptors: [Descriptor], _ session: RegistrySession, _ store: ContentStore, _ progress: @escaping @Sendable (Int64) -> Void
    ) async throws(OCIError) {
        var missing: [Descriptor] = []
        for descriptor in descriptors where store.size(of: descriptor.digest) != descriptor.size {
            if !missing.contains(where: { $0.digest == descriptor.digest }) { missing.append(descriptor) }
        }
        let queue = missing
        let failure: OCIError? = await withTaskGroup(of: OCIError?.self) { group in
            var next = 0
            func startOne() {
                guard next < queue.count else { return }
                let descriptor = queue[next]
                next += 1
                group.addTask { () -> OCIError? in
                    do throws(OCIError) {
                        try await BlobFetch(session: session, store: store, descriptor: descriptor, progress: progress).run()
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for _ in 0..<4 { startOne() }
            var first: OCIError?
            while let result = await group.next() {
                if let error = result {
                    first = first ?? error
                    group.cancelAll()
                } else if first == nil {
                    startOne()
                }
            }
            return first
        }
        if let failure { throw failure }
    }

    /// A manifest's bytes and their digest. A digest that the registry claims must be theirs.
    private func manifest(_ name: String, _ session: RegistrySession) async throws(OCIError) -> ([UInt8], Digest) {
        let collected = Collected()
        let response = try await session.get(
            "/v2/\(session.reference.repository)/manifests/\(name)", accept: MediaType.accepted, limit: Int64(Manifest.sizeLimit),
            headers: [], begin: { collected.clear() }, sink: { (piece) throws(OCIError) in collected.append(piece) })
        let bytes = collected.bytes
        let digest = Digest(of: bytes)
        if let claimed = response.headers["docker-content-digest"].flatMap({ Digest($0) }), claimed != digest {
            throw OCIError.mismatch(what: "the manifest of \(session.reference)", expected: "\(claimed)", found: "\(digest)")
        }
        if let wanted = Digest(name), wanted != digest {
            throw OCIError.mismatch(what: "the manifest of \(session.reference)", expected: "\(wanted)", found: "\(digest)")
        }
        return (bytes, digest)
    }
}

/// One blob from a registry to the store, taken up where it broke off.
private struct BlobFetch: Sendable {
    let session: RegistrySession
    let store: ContentStore
    let descriptor: Descriptor
    let progress: @Sendable (Int64) -> Void
    private static let tries = 5

    func run() async throws(OCIError) {
        let writer = SharedWriter(try store.writer(), limit: descriptor.size, progress: progress)
        var attempt = 1
        while true {
            do throws(OCIError) {
                let offset = writer.size
                let headers = offset > 0 ? ["Range: bytes=\(offset)-"] : []
                let response = try await session.get(
                    "/v2/\(session.reference.repository)/blobs/\(descriptor.digest)", accept: [], limit: descriptor.size + 1, headers: headers,
                    begin: {}, sink: { (piece) throws(OCIError) in try writer.write(piece) })
                if offset > 0, response.status != 206 {
                    throw OCIError.malformed(what: "the answer of \(session.reference.registry)", why: "it ignores ranges: the download cannot be resumed")
                }
                return try writer.commit(descriptor)
            } catch let error where error.isTransient && attempt < Self.tries {
                attempt += 1
                do {
                    try await Task.sleep(for: .milliseconds(200 << attempt))
                } catch {
                    throw OCIError.unreachable(registry: session.reference.registry, why: "the download was given up")
                }
            }
        }
    }
}
