// Which images the archive has: names that people imported, and images whose blobs are all here. Both are asked at
// every submission, so what was found once is kept in memory; every change of them goes through this value. Fetching
// what is missing is the puller's business.
import Foundation
import JobModel
import OCI
import Synchronization

package final class ImageArchive: Sendable {
    private let store: Store
    private let loop: SchedulerLoop
    private let content: ContentStore
    private let files: BlockingWork
    private let clock: any SchedulerClock
    /// `HOST[:PORT]` under which registry clients reach this scheduler; nil where nobody stated it.
    private let ownRegistry: String?
    private let imported = Mutex(Known<String, Digest>())
    private let stored = Mutex(Known<PinnedImage, Bool>())
    /// Whoever changes what is kept passes here.
    let gate = ArchiveGate()

    package init(
        store: Store, loop: SchedulerLoop, content: ContentStore, files: BlockingWork, clock: any SchedulerClock,
        publicURL: String? = nil
    ) {
        self.store = store
        self.loop = loop
        self.content = content
        self.files = files
        self.clock = clock
        ownRegistry = publicURL?.split(separator: "/").last.map { $0.lowercased() }
    }

    // MARK: questions

    /// What was imported under this name; nil if nothing was.
    func digest(imported reference: ImageReference) throws -> Digest? {
        let name = reference.name
        let (hit, generation) = imported.withLock { ($0.entries[name], $0.generation) }
        if let hit { return hit }
        guard let digest = try store.imageDigest(reference: name) else { return nil }
        imported.withLock { $0.remember(digest, of: name, since: generation) }
        return digest
    }

    /// What is meant by a reference that names this scheduler as its registry: `ada/stack:1` for
    /// `HOST:PORT/ada/stack:1`. Nil for any other.
    func own(_ reference: ImageReference) -> ImageReference? {
        guard let ownRegistry, reference.registry.lowercased() == ownRegistry else { return nil }
        return ImageReference(String(reference.description.dropFirst(reference.registry.count + 1)))
    }

    /// A digest stands for itself, an imported name for what was imported; nil for a tag that only its registry knows.
    /// - Throws: ``Problem`` of kind `refused` if the reference names this registry, which does not have the image.
    func pinned(_ reference: ImageReference, platform: String?, field: String) throws -> PinnedImage? {
        if let own = own(reference) {
            let image = try (own.digest ?? digest(imported: own)).map { PinnedImage(digest: $0, platform: platform) }
            guard let image, try isStored(image) else {
                throw Problem(
                    .refused, "this scheduler's archive does not have \(quoted("\(reference)")): push it first",
                    field: field)
            }
            return image
        }
        if let digest = reference.digest { return PinnedImage(digest: digest, platform: platform) }
        return try digest(imported: reference).map { PinnedImage(digest: $0, platform: platform) }
    }

    /// Whether every blob is here.
    func isStored(_ image: PinnedImage) throws -> Bool {
        let (known, generation) = stored.withLock { ($0.entries[image], $0.generation) }
        if let known { return known }
        let isStored = try readStored(image)
        stored.withLock { $0.remember(isStored, of: image, since: generation) }
        return isStored
    }

    private func readStored(_ image: PinnedImage) throws -> Bool {
        guard let document = try store.image(image.digest), document.complete else { return false }
        return image.platform.map { document.platforms.contains($0) } ?? true
    }

    /// Refuses content that is here and that no engine can run: a chart, a signature.
    /// - Throws: ``Problem`` of kind `refused`.
    func mustBeRunnable(_ image: PinnedImage, named reference: ImageReference, field: String) async throws {
        try await files.run { [content] in
            guard content.size(of: image.digest) != nil else { return }
            do {
                try Manifest(content.read(image.digest, limit: Manifest.sizeLimit), named: "\(reference)")
                    .requireContainerImage(named: "\(reference)")
            } catch let error as OCIError {
                throw Problem(.refused, error.description, field: field)
            }
        }
    }

    /// By digest or by name.
    /// - Throws: ``Problem`` of kind `notFound` or `badRequest`.
    func document(named text: String) throws -> ImageDocument {
        let digest: Digest?
        if let exact = Digest(text) {
            digest = exact
        } else if let given = ImageReference(text) {
            let reference = own(given) ?? given
            digest = try reference.digest ?? self.digest(imported: reference)
        } else {
            throw Problem(.badRequest, "\(quoted(text)) is not an image: \(ImageReference.rule)", field: "reference")
        }
        guard let digest, let document = try store.image(digest) else {
            throw Problem(.notFound, "the archive has no image \(quoted(text))", field: "reference")
        }
        return document
    }

    // MARK: changes

    /// Takes a tar file into the archive under a name. Jobs that wait for the same image go on.
    func importImage(from path: String, as given: ImageReference) async throws -> ImageDocument {
        let reference = own(given) ?? given
        let image = try await files.runLong { [content] in try OCI.importImage(archive: path, into: content) }
        try await keep(image, as: reference.name, in: "\(reference.registry)/\(reference.repository)")
        guard let document = try store.image(image.digest) else {
            throw Problem(.internal, "the image \(image.digest) was imported but cannot be read back")
        }
        return document
    }

    /// Writes down an image that came from its registry, and tells whoever waits for it.
    func keep(_ image: StoredImage, pulled reference: ImageReference) async throws {
        // With its digest: such a name never answers for the tag, which is resolved anew at each submission.
        let name = reference.digest == nil ? "\(reference.name)@\(image.digest)" : reference.description
        try await keep(image, as: name, in: "\(reference.registry)/\(reference.repository)", isPulled: true)
    }

    private func keep(
        _ image: StoredImage, as name: String, in repository: String, isPulled: Bool = false
    ) async throws {
        try await gate.alone { [self] in
            let (image, tree) = try await files.run { [content] in
                (try inspectImage(image.digest, in: content), try manifestTree(image.digest, in: content))
            }
            guard image.isComplete else {
                throw Problem(.unavailable, "blobs of the image were deleted while it was stored: try again")
            }
            let manifests = tree.map { facts in
                var row = RegistryManifestRow(facts, in: repository, by: nil, at: clock.now().wall)
                row.isPulled = isPulled
                return row
            }
            try await keepAlone(image, as: name, manifests: manifests)
        }
    }

    /// Writes down an image, its name and the manifests that its repository has with it, in one commit, and tells
    /// whoever waits for it.
    /// - Precondition: the caller has the gate, and has looked since that what it needs is here.
    func keepAlone(_ image: StoredImage, as name: String?, manifests: [RegistryManifestRow]) async throws {
        let row = ImageRow(
            digest: image.digest, mediaType: image.mediaType, size: image.size, platforms: image.platforms,
            layers: image.layers, complete: image.isComplete, createdAt: clock.now().wall)
        try await loop.record(.imageKept(row, name: name, manifests: manifests))
        stored.withLock { $0.forget() }
        if name != nil { imported.withLock { $0.forget() } }
        if image.isComplete { try await loop.send(.imageStored(image.digest)) }
    }

    /// Writes down an import, whole, and tells whoever waits for its images.
    /// - Precondition: the caller has the gate, and has looked since that its content is here.
    func keepAlone(_ imported: ImportedArchive) async throws {
        try await loop.record(.archiveImported(imported))
        stored.withLock { $0.forget() }
        self.imported.withLock { $0.forget() }
        for image in imported.images { try await loop.send(.imageStored(image.row.digest)) }
    }

    /// Writes down that something is gone.
    /// - Precondition: the caller has the gate.
    func forgetAlone(_ entry: BookEntry) async throws {
        try await loop.record(entry)
        stored.withLock { $0.forget() }
        imported.withLock { $0.forget() }
    }
}

/// Answers of the database, until the next change: an answer from before it must not be remembered after it.
private struct Known<Key: Hashable, Value> {
    private(set) var entries: [Key: Value] = [:]
    private(set) var generation = 0

    mutating func remember(_ value: Value, of key: Key, since generation: Int) {
        guard generation == self.generation, entries.count < 50_000 else { return }
        entries[key] = value
    }

    mutating func forget() {
        entries = [:]
        generation += 1
    }
}
