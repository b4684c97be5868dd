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
    private let imported = Mutex<[String: Digest]>([:])
    private let stored = Mutex(Completeness())
    /// Beyond this many entries a table begins anew.
    private static let capacity = 50_000

    package init(
        store: Store, loop: SchedulerLoop, content: ContentStore, files: BlockingWork, clock: any SchedulerClock
    ) {
        self.store = store
        self.loop = loop
        self.content = content
        self.files = files
        self.clock = clock
    }

    // MARK: questions

    /// What was imported under this name; nil if nothing was.
    func digest(imported reference: ImageReference) throws -> Digest? {
        let name = reference.name
        if let hit = imported.withLock({ $0[name] }) { return hit }
        guard let digest = try store.imageDigest(reference: name) else { return nil }
        remember(name, digest)
        return digest
    }

    /// A digest stands for itself, an imported name for what was imported; nil for a tag that only its registry knows.
    func pinned(_ reference: ImageReference, platform: String?) throws -> PinnedImage? {
        if let digest = reference.digest { return PinnedImage(digest: digest, platform: platform) }
        return try digest(imported: reference).map { PinnedImage(digest: $0, platform: platform) }
    }

    /// Whether every blob is here.
    func isStored(_ image: PinnedImage) throws -> Bool {
        let (known, generation) = stored.withLock { ($0.known[image], $0.generation) }
        if let known { return known }
        let isStored = try readStored(image)
        stored.withLock { $0.remember(isStored, of: image, since: generation) }
        return isStored
    }

    private func readStored(_ image: PinnedImage) throws -> Bool {
        guard let document = try store.image(image.digest), document.complete else { return false }
        return image.platform.map { document.platforms.contains($0) } ?? true
    }

    /// For registry clients: what `repository:tag` was imported as.
    /// - Throws: ``Problem`` of kind `notFound`.
    func digest(repository: String, tag: String) throws -> Digest {
        guard let reference = ImageReference("\(repository):\(tag)"), let digest = try digest(imported: reference)
        else {
            throw Problem(.notFound, "the archive has no image \(quoted("\(repository):\(tag)"))", field: "manifest")
        }
        return digest
    }

    /// By digest or by name.
    /// - Throws: ``Problem`` of kind `notFound` or `badRequest`.
    func document(named text: String) throws -> ImageDocument {
        let digest: Digest?
        if let exact = Digest(text) {
            digest = exact
        } else if let reference = ImageReference(text) {
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
    func importImage(from path: String, as reference: ImageReference) async throws -> ImageDocument {
        let image = try await files.runLong { [content] in try OCI.importImage(archive: path, into: content) }
        try await keep(image)
        try await loop.record(.imageNamed(reference: reference.name, image.digest))
        remember(reference.name, image.digest)
        guard let document = try store.image(image.digest) else {
            throw Problem(.internal, "the image \(image.digest) was imported but cannot be read back")
        }
        return document
    }

    /// Writes down an image whose blobs are all in the content store, and tells whoever waits for it.
    func keep(_ image: StoredImage, pulled reference: ImageReference? = nil) async throws {
        let row = ImageRow(
            digest: image.digest, mediaType: image.mediaType, size: image.size, platforms: image.platforms,
            layers: image.layers,
            complete: image.isComplete, createdAt: clock.now().wall)
        try await loop.record(.imageSaved(row))
        stored.withLock { $0.forget() }
        if let reference {
            // With its digest: such a name never answers for the tag, which is resolved anew at each submission.
            let name = reference.digest == nil ? "\(reference.name)@\(image.digest)" : reference.description
            try await loop.record(.imageNamed(reference: name, image.digest))
        }
        if image.isComplete { try await loop.send(.imageStored(image.digest)) }
    }

    private func remember(_ name: String, _ digest: Digest) {
        imported.withLock { table in
            if table.count >= Self.capacity { table.removeAll() }
            table[name] = digest
        }
    }
}

/// What is known of images, until the next one arrives: an answer from before it must not be remembered after it.
private struct Completeness {
    private(set) var known: [PinnedImage: Bool] = [:]
    private(set) var generation = 0

    mutating func remember(_ isStored: Bool, of image: PinnedImage, since generation: Int) {
        guard generation == self.generation, known.count < 50_000 else { return }
        known[image] = isStored
    }

    mutating func forget() {
        known = [:]
        generation += 1
    }
}
