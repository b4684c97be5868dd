// A file that grows at its end while an export is planned; and lines of a part of a file. Functions block.
import Foundation
import JobModel

/// For one thread at a time.
final class ScratchFile {
    private let file: Int32
    private var size: Int64 = 0

    init(path: String) throws(Problem) {
        file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Spool.failure(errno) }
    }

    deinit { close(file) }

    private var pending: [UInt8] = []

    /// Where the next bytes come.
    var end: Int64 {
        get throws(Problem) { size + Int64(pending.count) }
    }

    /// - Returns: where the bytes stand in the file, once it is flushed.
    func append(_ bytes: [UInt8]) throws(Problem) -> Int64 {
        let offset = try end
        pending += bytes
        if pending.count >= 1 << 20 { try flush() }
        return offset
    }

    func flush() throws(Problem) {
        var done = 0
        while done < pending.count {
            let count = pending.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: done), $0.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Spool.failure(errno) }
            done += count
        }
        size += Int64(done)
        pending = []
    }
}

/// The lines of a part of a file, each of a limited length. For one thread at a time.
final class ExportLines {
    static let longest = 1 << 20
    private let reader: PartReader
    private var buffer: [UInt8] = []
    private var start = 0

    init(path: String, offset: Int64, size: Int64) throws(Problem) {
        reader = try PartReader(path: path, offset: offset, size: size)
    }

    /// The next line without its end; nil at the end.
    /// - Throws: ``Problem`` of kind `refused` if a line is too long or the last one has no end.
    func next() throws(Problem) -> ArraySlice<UInt8>? {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                return buffer[start..<end]
            }
            guard buffer.count - start <= Self.longest else {
                throw Problem(.refused, "a line has more than \(Self.longest) bytes")
            }
            buffer.removeFirst(start)
            (start, searched) = (0, buffer.count)
            guard let piece = try reader.next() else {
                guard buffer.isEmpty else { throw Problem(.refused, "the last line has no end") }
                return nil
            }
            buffer += piece
        }
    }
}

/// A part of a file, piece by piece. For one thread at a time.
final class PartReader {
    static let piece = 1 << 20
    private let file: Int32
    private var offset: Int64
    private let end: Int64

    init(path: String, offset: Int64, size: Int64) throws(Problem) {
        file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw Problem(.internal, "a file cannot be opened any more: \(String(cString: strerror(errno)))")
        }
        self.offset = offset
        end = offset + size
    }

    deinit { close(file) }

    /// Nil at the end of the part.
    /// - Throws: ``Problem`` of kind `refused` if the file ends before.
    func next() throws(Problem) -> [UInt8]? {
        guard offset < end else { return nil }
        var (count, code) = (0, Int32(0))
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(min(Int64(Self.piece), end - offset))) { buffer, filled in
            repeat {
                count = pread(file, buffer.baseAddress, buffer.count, off_t(offset))
                code = errno
            } while count < 0 && code == EINTR
            filled = max(0, count)
        }
        guard count >= 0 else { throw Problem(.internal, "a file cannot be read: \(String(cString: strerror(code)))") }
        guard count > 0 else { throw Problem(.refused, "it was cut short") }
        offset += Int64(count)
        return bytes
    }
}
