// Content that is kept compressed (zstd), named by the SHA-256 of what it is without compression. Like the archive's
// blobs, nothing gets a name before it was verified and is on disk. What the content means is not known here.
import CArchive
import Glibc
import JobModel

/// Compressed files below one folder: `ab/abcd….zst`. Safe from any thread; two writers of one digest are harmless.
/// Calls block on the disk.
package struct CompressedStore: Sendable {
    package let directory: String
    private var incoming: String { directory + "/incoming" }

    /// Opens or makes the store, and removes what crashed writers left. One process at a time may have it open.
    package init(directory: String) throws(OCIError) {
        self.directory = directory
        for folder in ["", "/incoming"] { try makeFolder(directory + folder) }
        for name in try listing(of: incoming) { unlink(incoming + "/" + name) }
    }

    private func folder(of digest: Digest) -> String { "\(directory)/\(digest.hex.prefix(2))" }
    package func path(of digest: Digest) -> String { "\(folder(of: digest))/\(digest.hex).zst" }
    package func has(_ digest: Digest) -> Bool { access(path(of: digest), F_OK) == 0 }

    /// Stores what comes in pieces, nil at the end.
    /// - Throws: ``OCIError/mismatch(what:expected:found:)`` if it is something else than `digest`; then nothing is
    ///   kept.
    package func put(_ digest: Digest, _ pieces: () throws -> [UInt8]?) throws {
        let writer = try CompressedWriter(folder: incoming)
        var builder = DigestBuilder()
        while let piece = try pieces() {
            builder.update(piece)
            try writer.write(piece)
        }
        let found = builder.finish()
        guard found == digest else {
            throw OCIError.mismatch(what: "the content", expected: "\(digest)", found: "\(found)")
        }
        let folder = self.folder(of: digest)
        try makeFolder(folder)
        try writer.finish(as: path(of: digest))
        try syncFolder(folder)
    }

    /// The content, piece by piece; verify what must be whole by its digest.
    /// - Throws: ``OCIError/blobMissing(_:)``.
    package func reader(_ digest: Digest) throws(OCIError) -> CompressedReader {
        guard has(digest) else { throw OCIError.blobMissing(digest) }
        return try CompressedReader(path: path(of: digest))
    }

    /// Every file with its size on disk and the second of its last use, in no order.
    /// - Parameter body: returns false to end.
    package func each(_ body: (Digest, Int64, Int64) throws -> Bool) throws {
        for name in try listing(of: directory) where name.utf8.count == 2 {
            for file in try listing(of: directory + "/" + name) where file.hasSuffix(".zst") {
                var information = stat()
                guard let digest = Digest("sha256:" + file.dropLast(4)), stat(path(of: digest), &information) == 0
                else { continue }
                guard try body(digest, Int64(information.st_size), Int64(information.st_mtim.tv_sec)) else { return }
            }
        }
    }

    /// Notes that somebody relies on it.
    package func touch(_ digest: Digest) { _ = utimensat(AT_FDCWD, path(of: digest), nil, 0) }

    /// - Returns: false if it is not here.
    @discardableResult
    package func remove(_ digest: Digest) throws(OCIError) -> Bool {
        if unlink(path(of: digest)) == 0 { return true }
        guard errno == ENOENT else { throw OCIError.storage(operation: "delete a compressed file", errno: errno) }
        return false
    }
}

/// One file on its way in. For one thread at a time.
final class CompressedWriter {
    private let temporary: String
    private let handle: OpaquePointer
    private let file: Int32
    private var isNamed = false

    init(folder: String) throws(OCIError) {
        temporary = "\(folder)/\(getpid())-\(UInt64.random(in: 0 ... .max))"
        file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw OCIError.storage(operation: "write to \(folder)", errno: errno) }
        guard let handle = archive_write_new(), let entry = archive_entry_new() else {
            close(file)
            unlink(temporary)
            throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM)
        }
        self.handle = handle
        defer { archive_entry_free(entry) }
        archive_entry_set_filetype(entry, 0o100000)
        guard archive_write_set_format_raw(handle) == ARCHIVE_OK,
            archive_write_add_filter_zstd(handle) == ARCHIVE_OK,
            archive_write_open_fd(handle, file) == ARCHIVE_OK, archive_write_header(handle, entry) == ARCHIVE_OK
        else { throw failure() }
    }

    deinit {
        archive_write_free(handle)
        close(file)
        if !isNamed { unlink(temporary) }
    }

    private func failure() -> OCIError {
        let code = archive_errno(handle)
        return .storage(operation: "write a compressed file", errno: code == 0 ? EIO : code)
    }

    func write(_ bytes: [UInt8]) throws(OCIError) {
        guard !bytes.isEmpty else { return }
        guard archive_write_data(handle, bytes, bytes.count) == bytes.count else { throw failure() }
    }

    /// On disk first, then named.
    func finish(as path: String) throws(OCIError) {
        guard archive_write_close(handle) == ARCHIVE_OK else { throw failure() }
        guard fsync(file) == 0 else { throw OCIError.storage(operation: "sync a compressed file", errno: errno) }
        guard rename(temporary, path) == 0 else {
            throw OCIError.storage(operation: "name a compressed file", errno: errno)
        }
        isNamed = true
    }
}

/// The content of one compressed file, from its beginning. For one thread at a time.
package final class CompressedReader {
    private let handle: OpaquePointer
    private let path: String
    private var isAtEnd = false

    init(path: String) throws(OCIError) {
        guard let handle = archive_read_new() else {
            throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM)
        }
        self.handle = handle
        self.path = path
        archive_read_support_filter_zstd(handle)
        archive_read_support_format_raw(handle)
        archive_read_support_format_empty(handle)
        var entry: OpaquePointer?
        guard archive_read_open_filename(handle, path, 1 << 17) == ARCHIVE_OK else { throw failure() }
        let code = archive_read_next_header(handle, &entry)
        guard code == ARCHIVE_OK || code == ARCHIVE_EOF else { throw failure() }
        isAtEnd = code == ARCHIVE_EOF
    }

    deinit { archive_read_free(handle) }

    private func failure() -> OCIError {
        let text = archive_error_string(handle).map { String(cString: $0) } ?? "unknown reason"
        return .malformed(what: "the compressed file \(path)", why: text)
    }

    /// The next bytes, nil at the end.
    package func next() throws(OCIError) -> [UInt8]? {
        guard !isAtEnd else { return nil }
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 17) { buffer, initialized in
            count = archive_read_data(handle, buffer.baseAddress, buffer.count)
            initialized = max(0, count)
        }
        guard count >= 0 else { throw failure() }
        isAtEnd = count == 0
        return isAtEnd ? nil : bytes
    }
}
