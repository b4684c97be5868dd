// The output of attempts: one append-only file a stream, DATA/logs/<job>/<task>.<attempt>.<stream>, and an empty file
// beside it with `.complete` added once all of it is there and on disk. A worker may send any piece twice: what
// overlaps is skipped, so no byte is lost or doubled. The database knows nothing of them. Functions block: call them
// from a thread pool.
import Foundation
import JobModel
import OCI
import Synchronization

package enum LogStream: String, Codable, Sendable, CaseIterable { case stdout, stderr }

/// Names one file.
package struct LogKey: Hashable, Sendable {
    package let attempt: AttemptID
    package let stream: LogStream
    package init(attempt: AttemptID, stream: LogStream) {
        self.attempt = attempt
        self.stream = stream
    }
}

/// How much of a stream is stored. The answer to an upload: the worker goes on from `size`, and is done when
/// `complete`.
package struct LogExtent: Hashable, Codable, Sendable {
    package var size: Int64
    package var complete: Bool
    package init(size: Int64, complete: Bool) {
        self.size = size
        self.complete = complete
    }
}

package final class LogFiles: Sendable {
    /// Where a stream ends if nobody asks for another limit: 1 GiB.
    package static let standardLimit = ByteCount(bytes: 1 << 30)

    let directory: String
    private let limit: ByteCount
    /// One writer a file; files share locks by hash.
    private let locks: [FileLock]
    private let watchers = Mutex(LogWatchers())

    /// - Throws: ``Problem`` if the folder cannot be made.
    package init(directory: String, limit: ByteCount = LogFiles.standardLimit) throws(Problem) {
        self.directory = directory
        self.limit = limit
        locks = (0..<64).map { _ in FileLock() }
        try Self.makeFolder(directory)
    }

    /// Appends what lies beyond the stored size. Nothing is appended if `offset` is beyond it, or once the stream is
    /// complete. A stream that reaches the size limit ends there and is complete.
    /// - Throws: ``Problem`` of kind `diskFull` or `internal`.
    package func append(_ piece: [UInt8], at offset: Int64, complete: Bool, to key: LogKey) throws(Problem) -> LogExtent
    {
        let lock = locks[Int(UInt(bitPattern: key.hashValue) % UInt(locks.count))]
        let result = lock.mutex.withLock { _ in
            Result { () throws(Problem) in try locked(piece, at: offset, complete: complete, to: key) }
        }
        let extent = try result.get()
        wake(key)
        return extent
    }

    /// How much of the stream is stored; nil if nothing ever came.
    /// - Throws: ``Problem`` of kind `internal` if it is damaged.
    package func extent(of key: LogKey) throws(Problem) -> LogExtent? {
        var status = stat()
        if stat(path(of: key), &status) == 0 {
            return LogExtent(size: Int64(status.st_size), complete: access(markerPath(of: key), F_OK) == 0)
        }
        return try compressed(key).map { LogExtent(size: $0.size, complete: true) }
    }

    /// The stream in its compressed form; nil if it has none.
    private func compressed(_ key: LogKey) throws(Problem) -> SeekableReader? {
        do throws(OCIError) {
            return try SeekableReader(path: compressedPath(of: key))
        } catch {
            throw Problem(.internal, "the log of \(key.attempt) cannot be read: \(error)")
        }
    }

    /// When the stream was written to last; nil if nothing ever came.
    package func modified(_ key: LogKey) -> Timestamp? {
        var status = stat()
        guard stat(path(of: key), &status) == 0 || stat(compressedPath(of: key), &status) == 0 else { return nil }
        return Timestamp(
            millisecondsSinceEpoch: Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000)
    }

    /// At most `count` bytes from `offset`; none if that is at or beyond the end.
    /// - Throws: ``Problem`` of kind `internal` if the file cannot be read.
    package func read(_ key: LogKey, from offset: Int64, count: Int) throws(Problem) -> [UInt8] {
        let file = open(path(of: key), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            guard errno == ENOENT else { throw Self.failure("read", errno) }
            return try readCompressed(key, from: offset, count: count)
        }
        defer { close(file) }
        var filled = 0
        var failed: Int32 = 0
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
        if failed != 0 { throw Self.failure("read", failed) }
        return bytes
    }

    private func readCompressed(_ key: LogKey, from offset: Int64, count: Int) throws(Problem) -> [UInt8] {
        guard let reader = try compressed(key) else { return [] }
        do throws(OCIError) {
            return try reader.read(from: offset, count: count)
        } catch {
            throw Problem(.internal, "the log of \(key.attempt) cannot be read: \(error)")
        }
    }

    /// Ticks after each append, from now until the stream's iteration ends.
    package func changes(of key: LogKey) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = watchers.withLock { $0.add(continuation, to: key) }
        continuation.onTermination = { [weak self] _ in self?.watchers.withLock { $0.remove(id, from: key) } }
        return stream
    }

    private func wake(_ key: LogKey) {
        for continuation in watchers.withLock({ Array($0.byKey[key, default: [:]].values) }) { continuation.yield() }
    }

    // MARK: the file

    private func locked(_ piece: [UInt8], at offset: Int64, complete: Bool, to key: LogKey) throws(Problem) -> LogExtent
    {
        if let extent = try extent(of: key), extent.complete || (offset > extent.size) { return extent }
        try Self.makeFolder(folder(of: key))
        let file = open(path(of: key), O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        guard file >= 0 else { throw Self.failure("open", errno) }
        defer { close(file) }
        let size = Int64(lseek(file, 0, SEEK_END))
        guard offset <= size else { return LogExtent(size: size, complete: false) }
        let fresh = piece.dropFirst(Int(min(size - offset, Int64(piece.count))))
        let kept = fresh.prefix(Int(clamping: max(0, limit.bytes - size)))
        try Self.write(kept, to: file, at: size)
        let extent = LogExtent(size: size + Int64(kept.count), complete: complete || kept.count < fresh.count)
        if extent.complete { try finish(key, file) }
        return extent
    }

    /// All of the stream is on disk before its marker is.
    private func finish(_ key: LogKey, _ file: Int32) throws(Problem) {
        guard fdatasync(file) == 0 else { throw Self.failure("sync", errno) }
        let marker = open(markerPath(of: key), O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        guard marker >= 0 else { throw Self.failure("mark", errno) }
        close(marker)
        try syncNames(of: key)
    }

    func syncNames(of key: LogKey) throws(Problem) {
        let parent = open(folder(of: key), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw Self.failure("open the folder of", errno) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw Self.failure("sync the folder of", errno) }
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to file: Int32, at offset: Int64) throws(Problem) {
        var written = 0
        var failed: Int32 = 0
        bytes.withUnsafeBytes { buffer in
            while written < buffer.count, let base = buffer.baseAddress {
                let count = pwrite(file, base + written, buffer.count - written, off_t(offset) + off_t(written))
                if count < 0, errno == EINTR { continue }
                if count < 0 { failed = errno }
                if count <= 0 { break }
                written += count
            }
        }
        // What was written before the failure stays: it is a prefix, and the worker sends the rest again.
        if failed != 0 { throw failure("write", failed) }
    }

    func folder(of key: LogKey) -> String { "\(directory)/\(key.attempt.job)" }
    func path(of key: LogKey) -> String {
        "\(folder(of: key))/\(key.attempt.task.index).\(key.attempt.number).\(key.stream.rawValue)"
    }
    func markerPath(of key: LogKey) -> String { path(of: key) + ".complete" }
    func compressedPath(of key: LogKey) -> String { path(of: key) + ".zst" }

    private static func makeFolder(_ path: String) throws(Problem) {
        if mkdir(path, 0o750) != 0, errno != EEXIST { throw failure("make the folder of", errno) }
    }

    private static func failure(_ action: String, _ code: Int32) -> Problem {
        if code == ENOSPC || code == EDQUOT {
            return Problem(
                .diskFull, "the scheduler's disk is full: the log could not be stored; free space in its data folder")
        }
        return Problem(.internal, "the scheduler could not \(action) a log file: \(String(cString: strerror(code)))")
    }
}

private final class FileLock: Sendable {
    let mutex = Mutex<Void>(())
}

/// Who waits for more of which stream.
private struct LogWatchers {
    var byKey: [LogKey: [Int: AsyncStream<Void>.Continuation]] = [:]
    private var lastID = 0

    mutating func add(_ continuation: AsyncStream<Void>.Continuation, to key: LogKey) -> Int {
        lastID += 1
        byKey[key, default: [:]][lastID] = continuation
        return lastID
    }

    mutating func remove(_ id: Int, from key: LogKey) {
        byKey[key]?[id] = nil
        if byKey[key]?.isEmpty == true { byKey[key] = nil }
    }
}
