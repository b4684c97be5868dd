// The archive's blobs: files named by the SHA-256 of their content. Nothing gets a name before its digest was
// verified and its bytes are on disk (BlobWriter.swift), so whatever has a name is whole. What a blob means is not
// known here.
import Glibc
import JobModel

func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}

func isNoSpace(_ code: Int32) -> Bool {
    code == ENOSPC || code == EDQUOT
}

/// Content-addressed files below one folder: `blobs/sha256/ab/abcd…`. Safe from any thread; two writers of one digest
/// are harmless. Calls block on the disk.
package struct ContentStore: Sendable {
    package let directory: String
    var incoming: String { directory + "/incoming" }

    /// Opens or makes the store, and removes what crashed writers left, but for the beginnings of blobs that can be
    /// resumed. One process at a time may have it open.
    package init(directory: String) throws(OCIError) {
        self.directory = directory
        for folder in ["", "/blobs", "/blobs/sha256", "/incoming", "/partial"] { try makeFolder(directory + folder) }
        for name in try listing(of: incoming) { unlink(incoming + "/" + name) }
    }

    /// Where the blob lies if it is there.
    package func path(of digest: Digest) -> String {
        let hex = digest.hex
        return "\(folder(of: digest))/\(hex)"
    }

    func folder(of digest: Digest) -> String { "\(directory)/blobs/sha256/\(digest.hex.prefix(2))" }

    /// The blob's size in bytes, nil if it is not there.
    package func size(of digest: Digest) -> Int64? {
        var information = stat()
        guard stat(path(of: digest), &information) == 0, information.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(information.st_size)
    }

    /// The whole blob, at most `limit` bytes.
    /// - Throws: ``OCIError/mismatch(what:expected:found:)`` if the disk has not kept what was written.
    package func read(_ digest: Digest, limit: Int) throws(OCIError) -> [UInt8] {
        guard let size = size(of: digest) else { throw OCIError.blobMissing(digest) }
        guard size <= limit else { throw OCIError.tooLarge(what: "the blob \(digest)", limit: Int64(limit)) }
        let bytes = try readFile(path(of: digest), size: Int(size))
        let found = Digest(of: bytes)
        guard found == digest else {
            throw OCIError.mismatch(what: "a blob in the archive", expected: "\(digest)", found: "\(found)")
        }
        return bytes
    }

    /// Stores `bytes`; returns their digest.
    package func put(_ bytes: [UInt8]) throws(OCIError) -> Digest {
        let digest = Digest(of: bytes)
        if size(of: digest) == Int64(bytes.count) {
            touch(digest)
            return digest
        }
        let writer = try self.writer()
        try writer.write(bytes)
        return try writer.commit(expecting: digest, size: Int64(bytes.count))
    }

    /// Notes that somebody relies on the blob from now on: garbage collection spares what was touched lately.
    package func touch(_ digest: Digest) { _ = utimensat(AT_FDCWD, path(of: digest), nil, 0) }

    /// Deletes a blob. Readers that have it open read on.
    /// - Returns: false if it is not there.
    @discardableResult
    package func remove(_ digest: Digest) throws(OCIError) -> Bool {
        if unlink(path(of: digest)) == 0 { return true }
        guard errno == ENOENT else { throw OCIError.storage(operation: "delete a blob", errno: errno) }
        return false
    }

    /// Starts a new blob.
    package func writer() throws(OCIError) -> BlobWriter { try BlobWriter(store: self) }

    private func readFile(_ path: String, size: Int) throws(OCIError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: size)
        var done = 0
        while done < size {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(file, $0.baseAddress?.advanced(by: done), size - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OCIError.storage(operation: "read \(path)", errno: count < 0 ? errno : EIO) }
            done += count
        }
        return bytes
    }
}

/// Makes a folder if it is not there, and its name durable.
func makeFolder(_ path: String) throws(OCIError) {
    if mkdir(path, 0o700) == 0 {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        return try syncFolder(String(path[..<slash]))
    }
    guard errno == EEXIST else { throw OCIError.storage(operation: "make \(path)", errno: errno) }
}

/// Makes the names in a folder durable.
func syncFolder(_ path: String) throws(OCIError) {
    let handle = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard handle >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
    defer { close(handle) }
    guard fsync(handle) == 0 else { throw OCIError.storage(operation: "sync \(path)", errno: errno) }
}

/// The names in a folder.
func listing(of folder: String) throws(OCIError) -> [String] {
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
