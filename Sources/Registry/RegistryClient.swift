// The pull side of the OCI distribution specification 1.1, as a client: resolve a tag once, then fetch by digest and
// verify. How a single answer is had stands in RegistrySession.swift.
import JobModel
import OCI

/// Talks to registries. A value: it keeps nothing between calls but its options.
package struct RegistryClient: Sendable {
    let credentials: RegistryCredentials
    let insecure: [String]
    let certificates: RegistryCertificates
    let timeouts: RegistryTimeouts

    /// - Parameters:
    ///   - insecure: registries (`host[:port]`) that speak plain HTTP, besides those on this machine.
    ///   - certificates: where the authorities of private registries stand.
    package init(
        credentials: RegistryCredentials, insecure: [String] = [],
        certificates: RegistryCertificates = RegistryCertificates(), timeouts: RegistryTimeouts = RegistryTimeouts()
    ) {
        self.credentials = credentials
        self.insecure = insecure
        self.certificates = certificates
        self.timeouts = timeouts
    }

    /// The digest that a reference's tag points to now, computed from the manifest's bytes.
    package func resolve(_ reference: ImageReference) async throws(OCIError) -> (digest: Digest, mediaType: String) {
        let session = try RegistrySession(client: self, reference: reference)
        let (bytes, digest) = try await session.manifest(reference.digest?.description ?? reference.tag ?? "latest")
        let manifest = try Manifest(bytes, named: reference.description)
        try manifest.requireContainerImage(named: reference.description)
        return (digest, manifest.mediaType)
    }

    /// Copies the image or index with `digest` into the store: manifest, configuration and layers, each verified. Of
    /// an index, the manifest of `platform` (nil: this machine's) with its blobs, and the index itself. What is there
    /// already is not fetched again. A failed pull leaves whole blobs, and the next one goes on from there.
    /// - Parameter progress: called with the bytes received since the last call, from any thread; a negative number if
    ///   a registry made a blob begin anew.
    package func pull(
        _ reference: ImageReference, digest: Digest, platform: String?, into store: ContentStore,
        progress: @escaping @Sendable (Int64) -> Void = { _ in }
    ) async throws(OCIError) -> StoredImage {
        let session = try RegistrySession(client: self, reference: reference)
        let pull = ImagePull(session: session, store: store, platform: platform, progress: progress)
        // Garbage collection knows what a pinned manifest needs once it is here: what it took of a long pull before
        // that comes once more, and stays.
        for _ in 0..<2 {
            try await pull.image(digest, depth: 0)
            let image = try inspectImage(digest, in: store)
            if image.isComplete { return image }
        }
        throw OCIError.malformed(what: "the image \(reference)", why: "it is not whole")
    }
}

extension RegistrySession {
    /// A manifest's bytes and their digest. A digest that was asked for, or that the registry claims, must be theirs.
    fileprivate func manifest(_ name: String) async throws(OCIError) -> ([UInt8], Digest) {
        let body = CollectedBody()
        let item = Item(
            path: "manifests/\(name)", what: "\(reference)", accept: MediaType.accepted,
            limit: Int64(Manifest.sizeLimit),
            isSmall: true)
        let response = try await get(item, into: body)
        let bytes = body.bytes
        let digest = Digest(of: bytes)
        let claimed = response.headers["docker-content-digest"].flatMap { Digest($0) }
        for expected in [claimed, Digest(name)].compactMap(\.self) where expected != digest {
            throw OCIError.mismatch(what: "the manifest of \(reference)", expected: "\(expected)", found: "\(digest)")
        }
        return (bytes, digest)
    }
}

/// One image on its way into the store.
private struct ImagePull: Sendable {
    let session: RegistrySession
    let store: ContentStore
    /// What was asked for; nil for this machine's.
    let platform: String?
    let progress: @Sendable (Int64) -> Void
    private static let parallelism = 4

    private var what: String { "the image \(session.reference)" }

    /// - Parameter digest: of a manifest or of an index.
    func image(_ digest: Digest, depth: Int) async throws(OCIError) {
        guard depth <= deepestIndex else {
            throw OCIError.malformed(what: what, why: "indexes are nested more than \(deepestIndex) deep")
        }
        let bytes: [UInt8]
        if store.size(of: digest) != nil {
            bytes = try store.read(digest, limit: Manifest.sizeLimit)
        } else {
            bytes = try await session.manifest(digest.description).0
        }
        let manifest = try Manifest(bytes, named: session.reference.description)
        try manifest.requireContainerImage(named: session.reference.description)
        switch manifest {
        case .image(_, let configuration, let layers):
            guard configuration.size <= ContentStore.configurationLimit else {
                let limit = Int64(ContentStore.configurationLimit)
                throw OCIError.tooLarge(what: "the configuration of \(what)", limit: limit)
            }
            // First, so that an image for other machines is refused before its layers are fetched.
            try await blobs([configuration])
            if depth == 0 { try requirePlatform(configuration) }
            try await blobs(layers)
        case .index(_, let manifests):
            try await image(try Platform.choose(from: manifests, for: platform, named: what).digest, depth: depth + 1)
        }
        // Last, so that a manifest in the store means that its blobs are there.
        let (store, result) = (store, bytes)
        let failure = await CurlTransfer.onOwnThread { () -> OCIError? in
            do throws(OCIError) {
                _ = try store.put(result)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    private func requirePlatform(_ configuration: Descriptor) throws(OCIError) {
        guard let platform, let found = try store.platform(of: configuration), !Platform.fits(found, platform) else {
            return
        }
        throw OCIError.malformed(what: what, why: "it is for \(found), not for \(platform)")
    }

    /// Fetches what is missing, four at a time; after a failure the others are given up.
    private func blobs(_ descriptors: [Descriptor]) async throws(OCIError) {
        var missing: [Descriptor] = []
        var seen: Set<Digest> = []
        for descriptor in descriptors where store.size(of: descriptor.digest) != descriptor.size {
            if seen.insert(descriptor.digest).inserted { missing.append(descriptor) }
        }
        var rest = missing[...]
        let failure: OCIError? = await withTaskGroup(of: OCIError?.self) { group in
            var first: OCIError?
            for descriptor in rest.prefix(Self.parallelism) { group.addTask { await attempt(descriptor) } }
            rest = rest.dropFirst(Self.parallelism)
            while let result = await group.next() {
                if let error = result {
                    first = first ?? error
                    group.cancelAll()
                } else if first == nil, let descriptor = rest.popFirst() {
                    group.addTask { await attempt(descriptor) }
                }
            }
            return first
        }
        if let failure { throw failure }
    }

    private func attempt(_ descriptor: Descriptor) async -> OCIError? {
        do throws(OCIError) {
            let body = try BlobBody(descriptor, of: session.reference.registry, into: store, progress: progress)
            let item = RegistrySession.Item(
                path: "blobs/\(descriptor.digest)", what: "\(session.reference) (its blob \(descriptor.digest))",
                limit: descriptor.size + 1, isSmall: false)
            _ = try await session.get(item, into: body)
            return await CurlTransfer.onOwnThread { () -> OCIError? in
                do throws(OCIError) {
                    try body.commit()
                    return nil
                } catch {
                    return error
                }
            }
        } catch {
            return error
        }
    }
}
