// What can go wrong with images, blobs and registries, each with a sentence for the user. No HTTP status of ours
// here.
import JobModel

package enum OCIError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A blob that is not in the archive.
    case blobMissing(Digest)
    /// The content does not have the digest or the size that was promised.
    case mismatch(what: String, expected: String, found: String)
    case tooLarge(what: String, limit: Int64)
    /// A manifest, index, archive or registry answer that cannot be understood.
    case malformed(what: String, why: String)
    /// Content that is understood and not wanted: a layer's entry that would leave its root, a bomb.
    case refused(what: String, why: String)
    /// The disk said no. The errno decides whether it was full.
    case storage(operation: String, errno: Int32)
    /// The registry has no such image or blob.
    case notFound(reference: String)
    /// The registry wants other credentials, or any.
    case denied(registry: String)
    /// The registry cannot be reached, is too slow or answers nonsense. Trying again later may help.
    case unreachable(registry: String, why: String)
    /// The registry asks to be left alone for a while.
    case busy(registry: String, why: String, seconds: Int)
    /// The archive of the scheduler cannot be reached, or the connection breaks again and again.
    case archiveUnreachable(why: String)
    /// Whoever asked has given up.
    case cancelled

    package var description: String {
        switch self {
        case .blobMissing(let digest): "the blob \(digest) is not in the archive"
        case .mismatch(let what, let expected, let found): "\(what) is damaged: expected \(expected), found \(found)"
        case .tooLarge(let what, let limit): "\(what) is larger than \(ByteCount(bytes: limit))"
        case .malformed(let what, let why): "\(what) cannot be understood: \(why)"
        case .refused(let what, let why): "\(what) is refused: \(why)"
        case .storage(let operation, let code): "the disk failed to \(operation): \(errorText(code))"
        case .notFound(let reference): "the registry has no image \(reference)"
        case .denied(let registry):
            "the registry \(registry) wants other credentials: run 'docker login \(registry)' as the scheduler's user"
        case .unreachable(let registry, let why): "the registry \(registry) cannot be reached: \(why)"
        case .busy(let registry, let why, let seconds):
            "the registry \(registry) asks to wait for \(seconds) s: \(why)"
        case .archiveUnreachable(let why): "the scheduler's archive cannot be reached: \(why)"
        case .cancelled: "it was given up"
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    package var isTransient: Bool {
        switch self {
        case .unreachable, .busy, .archiveUnreachable, .cancelled: true
        case .blobMissing, .mismatch, .tooLarge, .malformed, .refused, .storage, .notFound, .denied: false
        }
    }

    /// Whether the disk is full.
    package var isDiskFull: Bool {
        if case .storage(_, let code) = self { isNoSpace(code) } else { false }
    }
}
