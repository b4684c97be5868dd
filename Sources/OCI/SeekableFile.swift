// Compressed files that are read from any place: frames of zstd, each of a known piece of the content, and behind them
// a table of the frames in a frame that decoders skip (zstd's "seekable format", contrib/seekable_format in its
// sources). `zstd -dc` reads the whole of it; a range costs the frames that it touches, never the file.
import CArchive
import Glibc
import JobModel

package enum SeekableFile {
    /// Bytes of content in a frame; what a reader holds in memory at most, beside its answer.
    package static let frameSize = 1 << 20
    fileprivate static let skippable: UInt32 = 0x184D_2A5E
    fileprivate static let seekable: UInt32 = 0x8F92_EAB1
    /// Number of frames, descriptor, magic number.
    fileprivate static let footerSize = 9

    /// Compresses one file into another that is new. Each frame is read back and compared before the next, and all of
    /// it is on disk when this returns. The new file keeps the old one's time of change.
    /// - Returns: the size of the new file.
    package static func compress(_ source: String, into target: String) throws(OCIError) -> Int64 {
        let input = open(source, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw OCIError.storage(operation: "open \(source)", errno: errno) }
        defer { close(input) }
        let output = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard output >= 0 else { throw OCIError.storage(operation: "write \(target)", errno: errno) }
        defer { close(output) }
        do throws(OCIError) {
            let size = try frames(from: input, to: output)
            var information = stat()
            if fstat(input, &information) == 0 {
                let times = [information.st_mtim, information.st_mtim]
                futimens(output, times)
            }
            guard fsync(output) == 0 else { throw OCIError.storage(operation: "sync \(target)", errno: errno) }
            return size
        } catch {
            unlink(target)
            throw error
        }
    }

    private static func frames(from input: Int32, to output: Int32) throws(OCIError) -> Int64 {
        var table: [UInt8] = []
        var (count, written): (UInt32, Int64) = (0, 0)
        while true {
            let piece = try read(input, at: Int64(count) * Int64(frameSize), frameSize)
            guard !piece.isEmpty else { break }
            let frame = try Frame.compressed(piece)
            guard try Frame.content(frame, size: piece.count) == piece else {
                throw OCIError.malformed(what: "a compressed frame", why: "it does not give back what went in")
            }
            try write(frame, to: output)
            written += Int64(frame.count)
            table += UInt32(frame.count).bytes + UInt32(piece.count).bytes
            count += 1
        }
        // Offsets are multiples of the frame's size in readers, so only the last frame may be shorter.
        let footer = count.bytes + [0] + seekable.bytes
        let end = skippable.bytes + UInt32(table.count + footer.count).bytes + table + footer
        try write(end, to: output)
        return written + Int64(end.count)
    }

    fileprivate static func read(_ file: Int32, at offset: Int64, _ count: Int) throws(OCIError) -> [UInt8] {
        var (filled, failed) = (0, Int32(0))
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while filled < count, let base = buffer.baseAddress {
                let got = pread(file, base + filled, count - filled, off_t(offset) + off_t(filled))
                if got < 0, errno == EINTR { continue }
                if got < 0 { failed = errno }
                if got <= 0 { break }
                filled += got
            }
            initialized = filled
        }
        if failed != 0 { throw OCIError.storage(operation: "read a compressed file", errno: failed) }
        return bytes
    }

    private static func write(_ bytes: [UInt8], to file: Int32) throws(OCIError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(file, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OCIError.storage(operation: "write a compressed file", errno: errno) }
            done += count
        }
    }
}

/// A file that ``SeekableFile/compress(_:into:)`` made. Holds its table, 8 bytes for each MiB of content.
package struct SeekableReader {
    private let path: String
    /// Where each frame begins in the file, and the end of the last.
    private let places: [Int64]
    /// Of the content.
    package let size: Int64

    /// The largest table that is read: of 512 GiB of content.
    private static let largestTable: Int64 = 4 << 20

    /// - Returns: nil if there is no such file.
    /// - Throws: ``OCIError/malformed(what:why:)`` for a file that is damaged.
    package init?(path: String) throws(OCIError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw OCIError.storage(operation: "open \(path)", errno: errno)
        }
        defer { close(file) }
        var information = stat()
        guard fstat(file, &information) == 0 else { throw OCIError.storage(operation: "read \(path)", errno: errno) }
        let end = Int64(information.st_size)
        let damaged = OCIError.malformed(what: "the compressed file \(path)", why: "its table of frames is damaged")
        let footerSize = Int64(SeekableFile.footerSize)
        let footer = try SeekableFile.read(file, at: max(0, end - footerSize), Int(footerSize))
        guard footer.count == Int(footerSize), UInt32(bytes: footer[5...]) == SeekableFile.seekable, footer[4] == 0
        else {
            throw damaged
        }
        let count = Int64(UInt32(bytes: footer[...]))
        let tableSize = count * 8
        let start = end - footerSize - tableSize
        guard tableSize <= Self.largestTable, start >= 8 else { throw damaged }
        let table = try SeekableFile.read(file, at: start, Int(tableSize))
        guard table.count == Int(tableSize) else { throw damaged }
        var places: [Int64] = [0]
        var size: Int64 = 0
        for frame in 0..<Int(count) {
            let content = Int64(UInt32(bytes: table[(frame * 8 + 4)...]))
            let isLast = frame == Int(count) - 1
            guard content > 0, isLast ? content <= SeekableFile.frameSize : content == SeekableFile.frameSize else {
                throw damaged
            }
            places.append(places[frame] + Int64(UInt32(bytes: table[(frame * 8)...])))
            size += content
        }
        guard places[Int(count)] == start - 8 else { throw damaged }
        self.path = path
        self.places = places
        self.size = size
    }

    /// At most `count` bytes of the content from `offset`; none if that is at or beyond the end.
    package func read(from offset: Int64, count: Int) throws(OCIError) -> [UInt8] {
        guard offset >= 0, offset < size, count > 0 else { return [] }
        let end = min(size, offset + Int64(count))
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
        defer { close(file) }
        let width = Int64(SeekableFile.frameSize)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(end - offset))
        for frame in Int(offset / width)...Int((end - 1) / width) {
            let length = Int(places[frame + 1] - places[frame])
            let start = Int64(frame) * width
            let content = try Frame.content(
                SeekableFile.read(file, at: places[frame], length), size: Int(min(width, size - start)))
            bytes += content[Int(max(0, offset - start))..<Int(min(width, end - start))]
        }
        return bytes
    }
}

/// One piece of content, compressed in memory.
private enum Frame {
    static func compressed(_ content: [UInt8]) throws(OCIError) -> [UInt8] {
        // What does not become smaller becomes hardly larger. libarchive writes to both until it is freed.
        let result = UnsafeMutableRawBufferPointer.allocate(
            byteCount: content.count + content.count / 128 + 4096, alignment: 16)
        let used = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        used.initialize(to: 0)
        defer {
            result.deallocate()
            used.deallocate()
        }
        guard let handle = archive_write_new(), let entry = archive_entry_new() else {
            throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM)
        }
        defer {
            archive_write_free(handle)
            archive_entry_free(entry)
        }
        archive_entry_set_filetype(entry, 0o100000)
        guard archive_write_set_format_raw(handle) == ARCHIVE_OK, archive_write_add_filter_zstd(handle) == ARCHIVE_OK,
            archive_write_open_memory(handle, result.baseAddress, result.count, used) == ARCHIVE_OK,
            archive_write_header(handle, entry) == ARCHIVE_OK,
            archive_write_data(handle, content, content.count) == content.count,
            archive_write_close(handle) == ARCHIVE_OK
        else { throw OCIError.storage(operation: "compress a file", errno: EIO) }
        return Array(result[..<used.pointee])
    }

    /// - Parameter size: what must come out.
    static func content(_ frame: [UInt8], size: Int) throws(OCIError) -> [UInt8] {
        let damaged = OCIError.malformed(what: "a compressed file", why: "one of its frames is damaged")
        guard let handle = archive_read_new() else {
            throw OCIError.storage(operation: "set up libarchive", errno: ENOMEM)
        }
        defer { archive_read_free(handle) }
        archive_read_support_filter_zstd(handle)
        archive_read_support_format_raw(handle)
        var filled = 0
        // One byte more than there may be, so that too much is found out.
        let content = frame.withUnsafeBytes { input in
            [UInt8](unsafeUninitializedCapacity: size + 1) { buffer, initialized in
                defer { initialized = filled }
                var entry: OpaquePointer?
                guard archive_read_open_memory(handle, input.baseAddress, input.count) == ARCHIVE_OK,
                    archive_read_next_header(handle, &entry) == ARCHIVE_OK
                else { return }
                while filled <= size, let base = buffer.baseAddress {
                    let count = archive_read_data(handle, base + filled, size + 1 - filled)
                    if count <= 0 { break }
                    filled += count
                }
            }
        }
        guard content.count == size else { throw damaged }
        return content
    }
}

extension UInt32 {
    /// Little endian.
    fileprivate var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> ($0 * 8)) } }

    /// - Precondition: at least four bytes.
    fileprivate init(bytes: ArraySlice<UInt8>) {
        self = bytes.prefix(4).enumerated().reduce(0) { $0 | UInt32($1.element) << (UInt32($1.offset) * 8) }
    }
}
