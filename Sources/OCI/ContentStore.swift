// The archive's blobs: files named by the SHA-256 of their content. Nothing gets a name before its digest was verified and its bytes
// are on disk, so whatever has a name is whole.
import Glibc
import JobModel

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
func isNoSpace(_ code: Int32) -> Bool { code == ENOSPC || code == EDQUOT }

/// Content-addressed files below one folder: `blobs/sha256/ab/abcd…`. Safe from any thread; two writers of one digest are harmless.
package struct ContentStore: Sendable {
    package let directory: String
    private var incoming: String { directory + "/incoming" }

    /// Opens or makes the store, and removes what crashed writers left.
    package init(directory: String) throws(OCIError) {
        self.directory = directory
        for folder in ["", "/blobs", "/blobs/sha256", "/incoming"] {
            guard mkdir(directory + folder, 0o700) == 0 || errno == EEXIST else {
                throw OCIError.storage(operation: "make \(directory + folder)", errno: errno)
            }
        }
        for name in try listing(of: incoming) { unlink(incoming + "/" + name) }
    }

    /// Where the blob lies if it is there.
    package func path(of digest: Digest) -> String {
        let hex = digest.hex
        return "\(directory)/blobs/sha256/\(hex.prefix(2))/\(hex)"
    }

    /// The blob's size in bytes, nil if it is not there.
    package func size(of digest: Digest) -> Int64? {
        var information = stat()
        return stat(path(of: digest), &information) == 0 ? Int64(information.st_size) : nil
    }

    /// The whole blob, at most `limit` bytes.
    package func read(_ digest: Digest, limit: Int) throws(OCIError) -> [UInt8] {
        guard let size = size(of: digest) else { throw OCIError.blobMissing(digest) }
        guard size <= limit else { throw OCIError.tooLarge(what: "the blob \(digest)", limit: Int64(limit)) }
        return try readFile(path(of: digest), size: Int(size))
    }

    /// Stores `bytes`; returns their digest.
    package func put(_ bytes: [UInt8]) throws(OCIError) -> Digest {
        let digest = Digest(of: bytes)
        if size(of: digest) == Int64(bytes.count) { return digest }
        let writer = try self.writer()
        try writer.write(bytes)
        return try writer.commit(expecting: digest, size: Int64(bytes.count))
    }

    /// Starts a new blob.
    package func writer() throws(OCIError) -> BlobWriter { try BlobWriter(store: self, incoming: incoming) }

    private func listing(of folder: String) throws(OCIError) -> [String] {
        guard let handle = opendir(folder) else { throw OCIError.storage(operation: "list \(folder)", errno: errno) }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private func readFile(_ path: String, size: Int) throws(OCIError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: size)
        var done = 0
        while done < size {
            let count = bytes.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress?.advanced(by: done), size - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OCIError.storage(operation: "read \(path)", errno: count < 0 ? errno : EIO) }
            done += count
        }
        return bytes
    }
}

/// A blob on its way in. Write all of it, then ``commit(expecting:size:)``; a writer that is dropped leaves nothing behind.
package final class BlobWriter {
    private let store: ContentStore
    private let temporary: String
    private var file: Int32
    private var digest: DigestBuilder? = DigestBuilder()
    /// Bytes written so far.
    package private(set) var size: Int64 = 0

    fileprivate init(store: ContentStore, incoming: String) throws(OCIError) {
        self.store = store
        var template = Array((incoming + "/blob-XXXXXX").utf8CString)
        file = mkstemp(&template)
        temporary = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard file >= 0 else { throw OCIError.storage(operation: "write to \(incoming)", errno: errno) }
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    }

    deinit { abandon() }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(OCIError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(file, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OCIError.storage(operation: "write a blob", errno: errno) }
            done += count
        }
        digest?.update(bytes)
        size += Int64(bytes.count)
    }

    package func write(_ bytes: [UInt8]) throws(OCIError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(OCIError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Verifies, syncs and names the blob.
    /// - Throws: ``OCIError/mismatch(what:expected:found:)`` if digest or size are not what was promised; nothing is kept then.
    package func commit(expecting expected: Digest?, size expectedSize: Int64?) throws(OCIError) -> Digest {
        defer { abandon() }
        guard let builder = digest else { throw OCIError.malformed(what: "a blob", why: "it was committed already") }
        digest = nil
        let found = builder.finish()
        if let expectedSize, expectedSize != size {
            throw OCIError.mismatch(what: "the blob \(expected ?? found)", expected: "\(expectedSize) bytes", found: "\(size) bytes")
        }
        if let expected, expected != found {
            throw OCIError.mismatch(what: "the blob", expected: "\(expected)", found: "\(found)")
        }
        let target = store.path(of: found)
        let folder = String(target[..<(target.lastIndex(of: "/") ?? target.endIndex)])
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw OCIError.storage(operation: "make \(folder)", errno: errno) }
        guard fsync(file) == 0 else { throw OCIError.storage(operation: "sync a blob", errno: errno) }
        guard rename(temporary, target) == 0 else { throw OCIError.storage(operation: "name a blob", errno: errno) }
        try syncFolder(folder)
        return found
    }

    /// Gives the blob up. Harmless after a commit.
    package func abandon() {
        guard file >= 0 else { return }
        close(file)
        file = -1
        unlink(temporary)
    }

    private func syncFolder(_ folder: String) throws(OCIError) {
        let handle = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard handle >= 0 else { throw OCIError.storage(operation: "open \(folder)", errno: errno) }
        defer { close(handle) }
        guard fsync(handle) == 0 else { throw OCIError.storage(operation: "sync \(folder)", errno: errno) }
    }
}
