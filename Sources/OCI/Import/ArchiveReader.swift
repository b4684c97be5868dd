// libarchive as a stream of members, and a file's content with its compression taken off. Nothing is ever extracted
// to disk here, so member names are harmless. What an archive means stands in the other files of this folder.
import CArchive
import Glibc
import JobModel

/// Reads a tar, or any one file, compressed or not.
final class ArchiveReader {
    enum Format {
        /// Member by member.
        case tar
        /// The whole file as one member, without its compression.
        case raw
    }

    struct Entry {
        /// Without a leading `./`.
        let name: String
        let size: Int64
        let isFile: Bool
        /// Permission bits.
        let mode: UInt32
        /// The target of a symbolic or hard link.
        let link: String?
    }

    private let handle: OpaquePointer
    private let what: String
    private var current: String
    private var total: Int64 = 0
    /// Against small files that never stop growing: the content of one reading, without its compression.
    private static let largestContent: Int64 = 1 << 38
    private static let mostEntries = 20_000_000
    private var entries = 0

    /// - Parameter what: what messages call the file.
    init(path: String, named what: String, format: Format) throws(OCIError) {
        guard let handle = archive_read_new() else {
            throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM)
        }
        self.handle = handle
        self.what = what
        current = what
        for filter in [
            archive_read_support_filter_gzip, archive_read_support_filter_zstd, archive_read_support_filter_xz,
            archive_read_support_filter_bzip2,
        ] { _ = filter(handle) }
        switch format {
        case .tar: archive_read_support_format_tar(handle)
        case .raw:
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
        // A warning says that a name does not fit the locale, which nobody here cares about.
        guard code == ARCHIVE_OK || code == ARCHIVE_WARN, let entry else { throw failure() }
        entries += 1
        guard entries <= Self.mostEntries else {
            throw OCIError.malformed(what: what, why: "it has more than \(Self.mostEntries) members")
        }
        // Names in pax headers are UTF-8 and those elsewhere mere bytes; only one of the two readings exists.
        let raw = archive_entry_pathname_utf8(entry) ?? archive_entry_pathname(entry)
        var name = raw.map { String(cString: $0) } ?? ""
        while name.hasPrefix("./") { name.removeFirst(2) }
        current = "the member \(quoted(name)) of \(what)"
        let link = archive_entry_symlink_utf8(entry) ?? archive_entry_hardlink_utf8(entry)
        return Entry(
            name: name, size: archive_entry_size(entry), isFile: archive_entry_filetype(entry) == 0o100000,
            mode: UInt32(archive_entry_perm(entry)),
            link: link.map { String(cString: $0) })
    }

    /// The content of the member that ``next()`` returned.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) throws(OCIError) -> Void) throws(OCIError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = archive_read_data(handle, buffer.baseAddress, buffer.count)
            if count == 0 { return }
            guard count > 0 else { throw failure() }
            total += Int64(count)
            guard total <= Self.largestContent else {
                throw OCIError.tooLarge(what: "the content of \(what)", limit: Self.largestContent)
            }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    /// Reads the member without keeping anything: a skipped one may be cut short, and nobody would know.
    func readThrough() throws(OCIError) {
        try forEachPiece { (_) throws(OCIError) in }
    }

    /// How the file is compressed. Known after the first ``next()``.
    func compression() throws(OCIError) -> Compression {
        guard archive_filter_count(handle) <= 2 else {
            throw OCIError.malformed(what: what, why: "it is compressed more than once")
        }
        switch archive_filter_code(handle, 0) {
        case ARCHIVE_FILTER_NONE: return .none
        case ARCHIVE_FILTER_GZIP: return .gzip
        case ARCHIVE_FILTER_ZSTD: return .zstd
        default: return .foreign
        }
    }
}

/// How a layer may be compressed.
enum Compression {
    case none
    case gzip
    case zstd
    /// What archives have but layers may not: xz, bzip2.
    case foreign

    /// nil where there is none for a layer.
    var layerType: String? {
        switch self {
        case .none: MediaType.layer
        case .gzip: MediaType.layer + "+gzip"
        case .zstd: MediaType.layer + "+zstd"
        case .foreign: nil
        }
    }
}

/// A layer's content without its compression.
struct UncompressedLayer {
    let diffID: Digest
    let compression: Compression
    /// The two empty blocks that close every tar are there.
    let isClosed: Bool

    /// Reads the file to its end.
    /// - Parameter what: what messages call it.
    init(path: String, named what: String) throws(OCIError) {
        let reader = try ArchiveReader(path: path, named: what, format: .raw)
        var builder = DigestBuilder()
        var zeros = 0
        while try reader.next() != nil {
            try reader.forEachPiece { (piece) throws(OCIError) in
                builder.update(piece)
                let trailing = piece.reversed().prefix { $0 == 0 }.count
                zeros = trailing == piece.count ? zeros + trailing : trailing
            }
        }
        diffID = builder.finish()
        compression = try reader.compression()
        isClosed = zeros >= 1024
    }
}
