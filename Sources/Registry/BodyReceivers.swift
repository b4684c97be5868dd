// Where the bodies of answers go: small ones into memory, blobs into the content store, taken up where they broke
// off.
import JobModel
import OCI
import Synchronization

/// A small body, in memory.
final class CollectedBody: BodyReceiver {
    private let content = Mutex<[UInt8]>([])
    var bytes: [UInt8] { content.withLock { $0 } }
    let offset: Int64 = 0
    let isComplete = true

    func begin(_ head: CurlResponse) { content.withLock { $0.removeAll() } }
    func take(_ piece: UnsafeRawBufferPointer) { content.withLock { $0.append(contentsOf: piece) } }
}

/// A blob on its way to the store, through as many answers as it takes.
final class BlobBody: BodyReceiver {
    private let descriptor: Descriptor
    private let registry: String
    private let progress: @Sendable (Int64) -> Void
    private let writer: Mutex<BlobWriter>
    /// What an earlier try, perhaps of an earlier process, had left.
    let resumedFrom: Int64

    /// Hashes what an earlier try left of the blob: blocks for as long as that takes.
    init(
        _ descriptor: Descriptor, of registry: String, into store: ContentStore,
        progress: @escaping @Sendable (Int64) -> Void
    ) throws(OCIError) {
        self.descriptor = descriptor
        self.registry = registry
        self.progress = progress
        let writer = try store.writer(resuming: descriptor.digest, size: descriptor.size)
        resumedFrom = writer.size
        self.writer = Mutex(writer)
        progress(resumedFrom)
    }

    var offset: Int64 { writer.withLock { $0.size } }
    var isComplete: Bool { offset == descriptor.size }

    func begin(_ head: CurlResponse) throws(OCIError) {
        let here = offset
        guard here > 0 else { return }
        switch head.status {
        case 206:
            guard head.headers["content-range"]?.hasPrefix("bytes \(here)-") == true else {
                let why = "it was asked for the blob \(descriptor.digest) from byte \(here) and answers another range"
                throw OCIError.malformed(what: "the answer of \(registry)", why: why)
            }
        default:
            // It does not know ranges and begins anew; so does the blob.
            try locked { (writer) throws(OCIError) in try writer.startOver() }
            progress(-here)
        }
    }

    func take(_ piece: UnsafeRawBufferPointer) throws(OCIError) {
        let bytes = Array(piece)  // A copy of libcurl's buffer: raw memory may not cross into the lock's region.
        try locked { (writer) throws(OCIError) in
            guard writer.size + Int64(bytes.count) <= descriptor.size else {
                try writer.startOver()
                let found = "more than \(descriptor.size) bytes"
                let what = "the blob \(descriptor.digest)"
                throw OCIError.mismatch(what: what, expected: "\(descriptor.size) bytes", found: found)
            }
            try writer.write(bytes)
        }
        progress(Int64(bytes.count))
    }

    /// Verifies and names the blob. Waits for the disk.
    func commit() throws(OCIError) {
        try locked { (writer) throws(OCIError) in
            _ = try writer.commit(expecting: descriptor.digest, size: descriptor.size)
        }
    }

    /// `Mutex.withLock` forgets the type of an error.
    private func locked(_ body: (inout sending BlobWriter) throws(OCIError) -> Void) throws(OCIError) {
        let error: OCIError? = writer.withLock { (writer) -> OCIError? in
            do throws(OCIError) {
                try body(&writer)
                return nil
            } catch {
                return error
            }
        }
        if let error { throw error }
    }
}
