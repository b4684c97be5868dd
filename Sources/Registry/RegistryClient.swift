// The pull side of the OCI distribution specification 1.1, as a client: resolve a tag once, then fetch by digest and
// verify. How a single answer is had stands in RegistrySession.swift.
import JobModel
import OCI

/// Talks to registries. It keeps nothing between calls but its options, and which blobs are on their way.
package struct RegistryClient: Sendable {
    let credentials: RegistryCredentials
    let insecure: [String]
    let certificates: RegistryCertificates
    let timeouts: RegistryTimeouts
    /// Of a registry, in the order in which they are asked before it.
    let mirrors: [String: [RegistryMirror]]
    /// Hosts that may have a registry's password besides its own.
    let tokenServices: [String: [String]]
    /// What an operator should know: a mirror that is passed over. From any thread.
    let note: @Sendable (String) -> Void
    /// A blob that several images share is fetched once.
    private let flights = SingleFlight<String, Bool>()

    /// - Parameters:
    ///   - insecure: registries (`host[:port]`) that speak plain HTTP, besides those on this machine.
    ///   - certificates: where the authorities of private registries stand.
    ///   - tokenServices: by registry, hosts that its password may be sent to when it asks for that.
    package init(
        credentials: RegistryCredentials, insecure: [String] = [],
        certificates: RegistryCertificates = RegistryCertificates(), timeouts: RegistryTimeouts = RegistryTimeouts(),
        mirrors: [String: [RegistryMirror]] = [:], tokenServices: [String: [String]] = [:],
        note: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.mirrors = mirrors
        self.tokenServices = tokenServices
        self.note = note
        self.credentials = credentials
        self.insecure = insecure
        self.certificates = certificates
        self.timeouts = timeouts
    }

    /// The digest that a reference's tag points to now, computed from the manifest's bytes.
    package func resolve(_ reference: ImageReference) async throws(OCIError) -> (digest: Digest, mediaType: String) {
        try await RegistrySources(self, reference).first { (session) async throws(OCIError) in
            let (bytes, digest) = try await session.manifest(reference.digest?.description ?? reference.tag ?? "latest")
            let manifest = try Manifest(bytes, named: reference.description)
            try manifest.requireContainerImage(named: reference.description)
            return (digest, manifest.mediaType)
        }
    }

    /// Copies the image or index with `digest` into the store: manifest, configuration and layers, each verified. Of
    /// an index, the manifest of `platform` (nil: this machine's) with its blobs, and the index itself. What is there
    /// already is not fetched again. A failed pull leaves whole blobs and the beginnings of others, and the next one,
    /// also of another process, goes on from there.
    /// - Parameters:
    ///   - progress: called with the bytes received since the last call, from any thread; a negative number if a
    ///     registry made a blob begin anew.
    ///   - plan: called with the configuration and layers of the image as soon as they are known.
    package func pull(
        _ reference: ImageReference, digest: Digest, platform: String?, into store: ContentStore,
        progress: @escaping @Sendable (Int64) -> Void = { _ in },
        plan: @escaping @Sendable ([Descriptor]) -> Void = { _ in }
    ) async throws(OCIError) -> StoredImage {
        let pull = ImagePull(
            sources: try RegistrySources(self, reference), store: store, platform: platform, progress: progress,
            plan: plan, flights: flights)
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
    let sources: RegistrySources
    let store: ContentStore
    /// What was asked for; nil for this machine's.
    let platform: String?
    let progress: @Sendable (Int64) -> Void
    let plan: @Sendable ([Descriptor]) -> Void
    let flights: SingleFlight<String, Bool>
    private static let parallelism = 4

    private var reference: ImageReference { sources.reference }
    private var what: String { "the image \(reference)" }

    /// - Parameter digest: of a manifest or of an index.
    func image(_ digest: Digest, depth: Int) async throws(OCIError) {
        guard depth <= deepestIndex else {
            throw OCIError.malformed(what: what, why: "indexes are nested more than \(deepestIndex) deep")
        }
        let bytes: [UInt8]
        if store.size(of: digest) != nil {
            bytes = try store.read(digest, limit: Manifest.sizeLimit)
        } else {
            bytes = try await sources.first { (session) async throws(OCIError) in
                try await session.manifest(digest.description).0
            }
        }
        let manifest = try Manifest(bytes, named: reference.description)
        try manifest.requireContainerImage(named: reference.description)
        switch manifest {
        case .image(_, let configuration, let layers):
            guard configuration.size <= ContentStore.configurationLimit else {
                let limit = Int64(ContentStore.configurationLimit)
                throw OCIError.tooLarge(what: "the configuration of \(what)", limit: limit)
            }
            plan([configuration] + layers)
            // First, so that an image for other machines is refused before its layers are fetched.
            try await blobs([configuration])
            if depth == 0 { try requirePlatform(configuration) }
            try await blobs(layers)
        case .index(_, let manifests):
            try await image(try Platform.choose(from: manifests, for: platform, named: what).digest, depth: depth + 1)
        }
        // Last, so that a manifest in the store means that its blobs are there.
        let (store, result) = (store, bytes)
        _ = try await Self.blocking { () throws(OCIError) in try store.put(result) }
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
            _ = try await flights.run("\(reference.registry) \(descriptor.digest)") { () async throws(OCIError) in
                // Another image has fetched it meanwhile.
                if store.size(of: descriptor.digest) == descriptor.size { return true }
                try await sources.first { (session) async throws(OCIError) in try await fetch(descriptor, session) }
                return true
            }
            return nil
        } catch {
            return error
        }
    }

    /// One blob from one place, verified. What was resumed may have been damaged before: then once more, from the
    /// beginning.
    private func fetch(_ descriptor: Descriptor, _ session: RegistrySession) async throws(OCIError) {
        let item = RegistrySession.Item(
            path: "blobs/\(descriptor.digest)", what: "\(reference) (its blob \(descriptor.digest))",
            limit: descriptor.size + 1, isSmall: false)
        var mayRepeat = true
        while true {
            let body = try await Self.blocking { [store, progress] () throws(OCIError) in
                try BlobBody(descriptor, of: session.registry, into: store, progress: progress)
            }
            do throws(OCIError) {
                if !body.isComplete { _ = try await session.get(item, into: body) }
                return try await Self.blocking { () throws(OCIError) in try body.commit() }
            } catch OCIError.mismatch where mayRepeat && body.resumedFrom > 0 {
                mayRepeat = false
                progress(-body.offset)
            }
        }
    }

    private static func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(OCIError) -> Value
    ) async throws(OCIError) -> Value {
        let result = await CurlTransfer.onOwnThread { () -> Result<Value, OCIError> in
            do throws(OCIError) {
                return .success(try body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
