// libarchive fed by a conveyor: once to take a layer's compression off, once to read the tar inside. What the entries
// mean is not known here.
import CArchive
import Glibc
import JobModel

/// How a stage of the line from the network to the disk ends badly.
enum StageFailure: Error {
    case own(OCIError)
    /// Another stage has failed, and it says why.
    case neighbour
    /// The entry at hand is refused: the end of a sentence that begins with the entry and the layer.
    case refusedEntry(String)
}

/// libarchive, reading what a closure gives.
final class LayerArchive {
    /// Pieces for libarchive, which keeps a pointer to the last one.
    private final class Feed {
        let pull: () throws(StageFailure) -> [UInt8]?
        var failure: StageFailure?
        var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)

        init(_ pull: @escaping () throws(StageFailure) -> [UInt8]?) { self.pull = pull }
        deinit { buffer.deallocate() }

        func next() -> Int {
            do throws(StageFailure) {
                guard let piece = try pull() else { return 0 }
                if piece.count > buffer.count {
                    buffer.deallocate()
                    buffer = .allocate(byteCount: piece.count, alignment: 16)
                }
                piece.withUnsafeBytes { buffer.copyMemory(from: $0) }
                return piece.count
            } catch {
                failure = error
                return -1
            }
        }
    }

    let handle: OpaquePointer
    private let feed: Feed
    private let what: String

    /// - Parameters:
    ///   - what: what messages call the layer.
    ///   - pull: the next piece, never an empty one; nil at the end.
    private init(
        named what: String, _ pull: @escaping () throws(StageFailure) -> [UInt8]?, _ setUp: (OpaquePointer) -> Void
    ) throws(StageFailure) {
        guard let handle = archive_read_new() else {
            throw StageFailure.own(.storage(operation: "set up libarchive", errno: ENOMEM))
        }
        self.handle = handle
        self.what = what
        feed = Feed(pull)
        setUp(handle)
        let code = archive_read_open(
            handle, Unmanaged.passUnretained(feed).toOpaque(), nil,
            { _, context, pointer in
                guard let context, let pointer else { return -1 }
                let feed = Unmanaged<Feed>.fromOpaque(context).takeUnretainedValue()
                let count = feed.next()
                pointer.pointee = UnsafeRawPointer(feed.buffer.baseAddress)
                return count
            }, nil)
        guard code == ARCHIVE_OK else { throw failure() }
    }

    deinit { archive_read_free(handle) }

    /// A layer as it is kept, to be read as one file without its compression: none, gzip or zstd.
    static func compressed(
        named what: String, _ pull: @escaping () throws(StageFailure) -> [UInt8]?
    ) throws(StageFailure) -> LayerArchive {
        try LayerArchive(named: what, pull) { handle in
            archive_read_support_filter_gzip(handle)
            archive_read_support_filter_zstd(handle)
            archive_read_support_format_raw(handle)
            archive_read_support_format_empty(handle)
        }
    }

    /// The tar inside.
    static func tar(
        named what: String, _ pull: @escaping () throws(StageFailure) -> [UInt8]?
    ) throws(StageFailure) -> LayerArchive {
        try LayerArchive(named: what, pull) { handle in
            archive_read_support_format_tar(handle)
            archive_read_support_format_empty(handle)
        }
    }

    private func failure(in place: String? = nil) -> StageFailure {
        if let failure = feed.failure { return failure }
        let text = archive_error_string(handle).map { String(cString: $0) } ?? "unknown reason"
        return .own(.malformed(what: place ?? what, why: text))
    }

    /// The next entry, nil at the end.
    func next() throws(StageFailure) -> OpaquePointer? {
        var entry: OpaquePointer?
        let code = archive_read_next_header(handle, &entry)
        if code == ARCHIVE_EOF { return nil }
        // A warning says that a name does not fit the locale, which nobody here cares about.
        guard code == ARCHIVE_OK || code == ARCHIVE_WARN, let entry else { throw failure() }
        return entry
    }

    /// The entry's content piece by piece, each with its place in the file: holes are skipped.
    func forEachPiece(
        of place: String, _ body: (UnsafeRawBufferPointer, Int64) throws(StageFailure) -> Void
    ) throws(StageFailure) {
        while true {
            var pointer: UnsafeRawPointer?
            var count = 0
            var offset: Int64 = 0
            let code = archive_read_data_block(handle, &pointer, &count, &offset)
            if code == ARCHIVE_EOF { return }
            guard code == ARCHIVE_OK || code == ARCHIVE_WARN else { throw failure(in: place) }
            if count > 0 { try body(UnsafeRawBufferPointer(start: pointer, count: count), offset) }
        }
    }

    /// How many times the content was compressed. Known after the first ``next()``.
    var compressions: Int { Int(archive_filter_count(handle)) - 1 }
}
