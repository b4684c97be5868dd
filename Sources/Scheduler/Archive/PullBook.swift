// Which images are on their way into the archive, how far they are, and which registries asked for patience. What has
// come is read from the disk when somebody asks, so it is right after a restart as well.
import JobModel
import OCI
import Synchronization

final class PullBook: Sendable {
    private struct Pull {
        let wanted: ImagePuller.Wanted
        var state = ImagePullDocument.State.queued
        /// Configuration and layers, once the manifest is known.
        var blobs: [Descriptor] = []
        var note: String?
        var retryAt: Timestamp?
    }

    private struct State {
        var pulls: [PinnedImage: Pull] = [:]
        /// Until when a registry wants to be left alone.
        var quiet: [String: Timestamp] = [:]
    }

    private let content: ContentStore
    private let state = Mutex(State())

    init(content: ContentStore) { self.content = content }

    /// - Returns: false if it is underway already.
    func add(_ wanted: ImagePuller.Wanted) -> Bool {
        state.withLock { state in
            guard state.pulls[wanted.image] == nil else { return false }
            state.pulls[wanted.image] = Pull(wanted: wanted)
            return true
        }
    }

    func remove(_ image: PinnedImage) { state.withLock { $0.pulls[image] = nil } }

    func began(_ image: PinnedImage) {
        state.withLock { state in
            state.pulls[image]?.state = .pulling
            state.pulls[image]?.note = nil
            state.pulls[image]?.retryAt = nil
        }
    }

    func planned(_ image: PinnedImage, _ blobs: [Descriptor]) {
        var seen: Set<Digest> = []
        let each = blobs.filter { seen.insert($0.digest).inserted }
        state.withLock { $0.pulls[image]?.blobs = each }
    }

    func waits(_ image: PinnedImage, _ note: String, until time: Timestamp) {
        state.withLock { state in
            state.pulls[image]?.state = .waiting
            state.pulls[image]?.note = note
            state.pulls[image]?.retryAt = time
        }
    }

    // MARK: registries that ask for patience

    func leaveAlone(_ registry: String, until time: Timestamp) {
        state.withLock { $0.quiet[registry] = max($0.quiet[registry] ?? time, time) }
    }

    /// Until when; nil for a registry that may be asked.
    func quietUntil(_ registry: String, now: Timestamp) -> Timestamp? {
        state.withLock { state in
            guard let until = state.quiet[registry] else { return nil }
            if until <= now { state.quiet[registry] = nil }
            return until > now ? until : nil
        }
    }

    // MARK: questions

    /// - Parameter digests: nil for all.
    func documents(of digests: Set<Digest>? = nil) -> [ImagePullDocument] {
        let pulls = state.withLock { Array($0.pulls.values) }
        return pulls.filter { digests?.contains($0.wanted.image.digest) ?? true }.map(document)
            .sorted { ($0.reference, $0.platform ?? "") < ($1.reference, $1.platform ?? "") }
    }

    private func document(_ pull: Pull) -> ImagePullDocument {
        let received = pull.blobs.reduce(Int64(0)) { $0 + min($1.size, content.received(of: $1.digest)) }
        let size = pull.blobs.reduce(Int64(0)) { $0 + $1.size }
        return ImagePullDocument(
            reference: "\(pull.wanted.reference)", digest: pull.wanted.image.digest,
            platform: pull.wanted.image.platform, state: pull.state, received: ByteCount(bytes: received),
            size: pull.blobs.isEmpty ? nil : ByteCount(bytes: size), note: pull.note, retryAt: pull.retryAt)
    }
}
