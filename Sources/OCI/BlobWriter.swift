// A blob on its way into the content store: temporary file, verify, fsync, rename, fsync of the folder, in this
// order. A writer that fails or is dropped leaves nothing behind; a crash leaves a file that the next start removes.
// A writer that resumes is the exception: what it wrote stays, and whoever comes next for the same blob goes on there.
import CLinux
import Glibc
import JobModel

/// A blob on its way in. Write all of it, then ``commit(expecting:size:)``. For one thread at a time.
package final class BlobWriter {
    private let store: ContentStore
    private let temporary: String
    /// What was written stays when the writer is given up, for the next one of the same blob.
    private let isResumable: Bool
    /// -1 once the writer is done.
    private var file: Int32
    private var digest = DigestBuilder()
    /// Bytes written so far.
    package private(set) var size: Int64 = 0
    /// Bytes that the disk was asked to begin with.
    private var handedOver: Int64 = 0
    private static let writebackStride: Int64 = 8 << 20

    init(store: ContentStore) throws(OCIError) {
        self.store = store
        isResumable = false
        temporary = "\(store.incoming)/\(getpid())-\(UInt64.random(in: 0 ... .max))"
        file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw OCIError.storage(operation: "write to \(store.incoming)", errno: errno) }
    }

    /// Goes on where an earlier writer of the same blob ended, in this process or one before, after hashing what it
    /// left. Blocks for as long as that takes.
    /// - Parameter limit: the blob's size; what is longer on disk is not its beginning, and is thrown away.
    /// - Returns: nil if another writer has the blob at this moment.
    init?(resuming blob: Digest, limit: Int64, in store: ContentStore) throws(OCIError) {
        self.store = store
        isResumable = true
        temporary = store.partialPath(of: blob)
        let file = open(temporary, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw OCIError.storage(operation: "write to \(temporary)", errno: errno) }
        self.file = file
        // Goes with the descriptor: nobody has to be told when its owner is killed.
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            self.file = -1
            return nil
        }
        try hashAgain(limit: limit)
    }

    private func hashAgain(limit: Int64) throws(OCIError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        while size <= limit {
            let count = read(file, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            // What cannot be read is not worth keeping: it is fetched again.
            guard count >= 0 else { break }
            if count == 0 {
                handedOver = size
                return
            }
            digest.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            size += Int64(count)
        }
        try startOver()
    }

    /// Throws away what is there; the next byte written is the first.
    package func startOver() throws(OCIError) {
        guard file >= 0, ftruncate(file, 0) == 0, lseek(file, 0, SEEK_SET) == 0 else {
            throw OCIError.storage(operation: "begin a blob anew", errno: errno)
        }
        (digest, size, handedOver) = (DigestBuilder(), 0, 0)
    }

    deinit { abandon() }

    /// Appends. A piece that could not be written makes the whole blob fail.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(OCIError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(file, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let code = errno
                abandon()
                throw OCIError.storage(operation: "write a blob", errno: code)
            }
            done += count
        }
        digest.update(bytes)
        size += Int64(bytes.count)
        startWriteback()
    }

    /// Lets the disk begin with what has gathered, so that a large blob's sync at its end is short and the page cache
    /// does not fill with what is still to be written. It promises nothing: the sync does.
    private func startWriteback() {
        guard size - handedOver >= Self.writebackStride else { return }
        jc_start_writing(file, handedOver, size - handedOver)
        handedOver = size
    }

    package func write(_ bytes: [UInt8]) throws(OCIError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(OCIError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Verifies, syncs and names the blob.
    /// - Throws: ``OCIError/mismatch(what:expected:found:)`` if digest or size are not what was promised; nothing is
    ///   kept then.
    package func commit(expecting expected: Digest?, size expectedSize: Int64?) throws(OCIError) -> Digest {
        guard file >= 0 else { throw OCIError.malformed(what: "a blob", why: "it was committed or given up already") }
        defer { abandon() }
        let found = digest.finish()
        if let expectedSize, expectedSize != size {
            unlink(temporary)
            let what = "the blob \(expected ?? found)"
            throw OCIError.mismatch(what: what, expected: "\(expectedSize) bytes", found: "\(size) bytes")
        }
        if let expected, expected != found {
            unlink(temporary)
            throw OCIError.mismatch(what: "the blob", expected: "\(expected)", found: "\(found)")
        }
        let folder = store.folder(of: found)
        try makeFolder(folder)
        guard fsync(file) == 0 else { throw OCIError.storage(operation: "sync a blob", errno: errno) }
        guard rename(temporary, store.path(of: found)) == 0 else {
            throw OCIError.storage(operation: "name a blob", errno: errno)
        }
        // The temporary name may belong to another writer from here on: only the descriptor is left to close.
        close(file)
        file = -1
        try syncFolder(folder)
        return found
    }

    /// Gives the blob up; what was written stays if it can be resumed. Harmless after a commit.
    package func abandon() {
        guard file >= 0 else { return }
        if !isResumable { unlink(temporary) }
        close(file)
        file = -1
    }
}
