// libarchive as a stream of members, and a file's content with its compression taken off. Nothing is ever extracted to disk here.
import CArchive
import Glibc
import JobModel

/// Reads a tar, compressed or not, member by member.
final class ArchiveReader {
    struct Entry {
        /// Without a leading `./`.
        let name: String
        let size: Int64
        let isFile: Bool
        /// The target of a symbolic or hard link.
        let link: String?
    }

    private let handle: OpaquePointer
    private let path: String
    private var current = "the archive"

    /// - Parameter compressedTarOnly: false reads any bytes as one member whose content is uncompressed.
    init(path: String, compressedTarOnly: Bool) throws(OCIError) {
        guard let handle = archive_read_new() else { throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM) }
        self.handle = handle
        self.path = path
        for filter in [archive_read_support_filter_gzip, archive_read_support_filter_zstd, archive_read_support_filter_xz, archive_read_support_filter_bzip2] {
            _ = filter(handle)
        }
        if compressedTarOnly {
            archive_read_support_format_tar(handle)
        } else {
            archive_read_support_format_raw(handle)
            archive_read_support_format_empty(handle)
        }
        guard archive_read_open_filename(handle, path, 1 << 18) == ARCHIVE_OK else { throw failure() }
    }

    deinit { archive_read_free(handle) }

    private func failure() -> OCIError {
        let text = archive_error_string(handle).map { String(cString: $0) } ?? "unknown reason"
        return .malformed(what: current, why: text)
    }

    /// The next member, nil at the end.
    func next() throws(OCIError) -> Entry? {
        var entry: OpaquePointer?
        let code = archive_read_next_header(handle, &entry)
        if code == ARCHIVE_EOF { return nil }
        guard code == ARCHIVE_OK || code == ARCHIVE_WARN, let entry else { throw failure() }
        guard let raw = archive_entry_pathname(entry) else { throw OCIError.malformed(what: "the archive", why: "a member has no name") }
        var name = String(cString: raw)
        while name.hasPrefix("./") { name.removeFirst(2) }
        current = "the member \(quoted(name)) of the archive"
        let link = archive_entry_symlink(entry) ?? archive_entry_hardlink(entry)
        return Entry(
            name: name, size: archive_entry_size(entry), isFile: archive_entry_filetype(entry) == 0o100000, link: link.map { String(cString: $0) })
    }

    /// The content of the member that ``next()`` returned.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) throws(OCIError) -> Void) throws(OCIError) {
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = buffer.withUnsafeMutableBytes { archive_read_data(handle, $0.baseAddress, $0.count) }
            if count == 0 { return }
            guard count > 0 else { throw failure() }
            try buffer.withUnsafeBufferPointer { (bytes) throws(OCIError) in try body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<count])) }
        }
    }

    /// The name of the outermost compression: `gzip`, `zstd`, …, `none`. Known after the first ``next()``.
    var compression: String {
        archive_filter_name(handle, 0).map { String(cString: $0) } ?? "none"
    }
}

/// A file's bytes in pieces.
func forEachPiece(of path: String, _ body: (UnsafeRawBufferPointer) throws(OCIError) -> Void) throws(OCIError) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = buffer.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw OCIError.storage(operation: "read \(path)", errno: errno) }
        if count == 0 { return }
        try buffer.withUnsafeBufferPointer { (bytes) throws(OCIError) in try body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<count])) }
    }
}

/// The digest of a layer's content without its compression: its diff id.
func uncompressedDigest(of path: String) throws(OCIError) -> Digest {
    let reader = try ArchiveReader(path: path, compressedTarOnly: false)
    var builder = DigestBuilder()
    while try reader.next() != nil {
        try reader.forEachPiece { (piece) throws(OCIError) in builder.update(piece) }
    }
    return builder.finish()
}

/// The media type of a layer by its compression.
func layerType(of path: String) throws(OCIError) -> String {
    let reader = try ArchiveReader(path: path, compressedTarOnly: true)
    _ = try reader.next()
    switch reader.compression {
    case "gzip": return MediaType.layer + "+gzip"
    case "zstd": return MediaType.layer + "+zstd"
    case "none": return MediaType.layer
    case let other: throw OCIError.malformed(what: "the archive", why: "a layer compressed with \(other) cannot be used: use gzip, zstd or none")
    }
}
