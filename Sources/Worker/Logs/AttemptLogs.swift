// An attempt's output: from the engine into bounded files of the worker, and from there to the scheduler by offset.
// Both ends say how much they have, so a crash on either side loses and doubles nothing.
import Foundation
import Glibc
import JobModel
import SchedulerClient

/// The worker's files of one attempt.
struct LogFiles: Sendable {
    /// Bytes of one stream that are kept; what comes after is read and dropped.
    static let limit: Int64 = 64 << 20
    private static let cutMark = "\n[jobctl: the output is longer than 64 MiB: the rest is not kept]\n"

    let folder: String

    func path(_ stream: LogPiece.Stream) -> String { "\(folder)/\(stream.rawValue)" }

    func size(_ stream: LogPiece.Stream) -> Int64 {
        var information = stat()
        return stat(path(stream), &information) == 0 ? Int64(information.st_size) : 0
    }

    /// - Throws: ``AttemptFailure`` if the disk cannot take it.
    func append(_ piece: LogPiece) throws {
        let size = size(piece.stream)
        guard size < Self.limit else { return }
        var bytes = Array(piece.bytes.prefix(Int(Self.limit - size)))
        if bytes.count < piece.bytes.count { bytes += Array(Self.cutMark.utf8) }
        let file = open(path(piece.stream), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw AttemptFailure(
                reason: .engineError, message: "the worker cannot write logs: \(String(cString: strerror(errno)))")
        }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: done), bytes.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw AttemptFailure(
                    reason: .engineError, message: "the worker cannot write logs: \(String(cString: strerror(errno)))")
            }
            done += count
        }
    }

    func read(_ stream: LogPiece.Stream, from offset: Int64) -> [UInt8] {
        let file = open(path(stream), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: SchedulerClient.logPieceLimit)
        let count = pread(file, &buffer, buffer.count, off_t(offset))
        return count > 0 ? Array(buffer[..<count]) : []
    }
}

/// Sends one attempt's files to the scheduler.
struct LogShipper: Sendable {
    let files: LogFiles
    let attempt: AttemptID
    let worker: WorkerName
    let scheduler: any SchedulerConnection

    /// Ships what grows until it is cancelled.
    func follow() async {
        var sent: [LogPiece.Stream: Int64] = [:]
        while !Task.isCancelled {
            for stream in LogPiece.Stream.allCases where files.size(stream) > sent[stream, default: 0] {
                if let size = try? await ship(stream, from: sent[stream, default: 0], complete: false) {
                    sent[stream] = size
                }  // allowed: the next round tries again
            }
            do { try await Task.sleep(for: .milliseconds(250)) } catch { return }
        }
    }

    /// Ships all that is left and says that it is complete. Tries while the scheduler is away; gives up when it refuses
    /// for good.
    func finish() async {
        await withTaskGroup(of: Void.self) { group in
            for stream in LogPiece.Stream.allCases { group.addTask { await finish(stream) } }
        }
    }

    private func finish(_ stream: LogPiece.Stream) async {
        var offset: Int64 = 0
        var pause = 100
        while true {
            do throws(Problem) {
                // Offset 0 with all of a short log, or the scheduler's own size for a long one.
                let size = try await ship(stream, from: offset, complete: true)
                if size >= files.size(stream) { return }
                offset = size
            } catch {
                guard error.retryable || error.kind == .unavailable, !Task.isCancelled else { return }
                try? await Task.sleep(for: .milliseconds(pause))  // allowed: a cancelled pause ends at the check above
                pause = min(pause * 2, 5_000)
            }
        }
    }

    /// The scheduler's size after a piece from `offset`.
    private func ship(_ stream: LogPiece.Stream, from offset: Int64, complete: Bool) async throws(Problem) -> Int64 {
        let bytes = files.read(stream, from: offset)
        let isLast = offset + Int64(bytes.count) >= files.size(stream)
        let wire: LogStream = stream == .stdout ? .stdout : .stderr
        let position = try await scheduler.appendLog(
            worker: worker, attempt: attempt, wire, offset: offset, bytes: bytes, complete: complete && isLast)
        return position.size
    }
}
