// An attempt's output: from the engine into bounded files of the worker, unless the engine keeps such files itself, and
// from there to the scheduler by offset. Both ends say how much they have, so a crash on either side loses and doubles
// nothing. A stream without output makes no file and no call: an attempt that ended without a stream's file has an
// empty one.
import Foundation
import Glibc
import JobModel
import SchedulerClient

/// The worker's files of one attempt.
struct LogFiles: Sendable {
    /// Bytes of one stream that are kept; what comes after is read and dropped.
    static let standardLimit: Int64 = 64 << 20

    let folder: String
    var limit = LogFiles.standardLimit
    /// The engine's own files, where it keeps them: read until ``keep()``.
    var kept: [LogPiece.Stream: String] = [:]

    /// Stands once at the end of a stream that was cut.
    var cutMark: [UInt8] {
        let size = limit >= 1 << 20 ? "\(limit >> 20) MiB" : "\(limit) bytes"
        return Array("\n[jobctl: the output is longer than \(size): the rest is not kept]\n".utf8)
    }

    func path(_ stream: LogPiece.Stream) -> String {
        let own = "\(folder)/\(stream.rawValue)"
        guard let engines = kept[stream], access(own, F_OK) != 0 else { return own }
        return engines
    }

    /// Takes the engine's files over, before they go with the container. Whoever still writes there goes on.
    func keep() {
        for (stream, path) in kept where access(path, F_OK) == 0 {
            mkdir(folder, 0o700)
            rename(path, "\(folder)/\(stream.rawValue)")
        }
    }

    func size(_ stream: LogPiece.Stream) -> Int64 {
        var information = stat()
        return stat(path(stream), &information) == 0 ? Int64(information.st_size) : 0
    }

    /// Writes a piece where it belongs: a collector that a successor has overtaken writes what is there already.
    /// - Parameter offset: how much of the stream comes before it.
    /// - Returns: the offset of the next piece.
    /// - Throws: ``LogFailure`` if the disk cannot take it. What was written until then is counted by ``size(_:)``.
    func write(_ piece: LogPiece, at offset: Int64) throws(LogFailure) -> Int64 {
        func opened() -> Int32 { open(path(piece.stream), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) }
        var file = opened()
        if file < 0, errno == ENOENT, mkdir(folder, 0o700) == 0 { file = opened() }
        guard file >= 0 else { throw LogFailure(errno) }
        defer { close(file) }
        guard offset <= limit, !piece.bytes.isEmpty else { return offset }
        var kept = piece.bytes.prefix(Int(limit - offset))
        if kept.count < piece.bytes.count { kept += cutMark }
        try Self.write(kept, to: file, at: offset)
        return offset + Int64(kept.count)
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to file: Int32, at offset: Int64) throws(LogFailure) {
        let failure = bytes.withUnsafeBytes { buffer -> LogFailure? in
            var done = 0
            while done < buffer.count, let base = buffer.baseAddress {
                let count = pwrite(file, base + done, buffer.count - done, off_t(offset) + off_t(done))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return LogFailure(count < 0 ? errno : ENOSPC) }
                done += count
            }
            return nil
        }
        if let failure { throw failure }
    }

    func read(_ stream: LogPiece.Stream, from offset: Int64) -> [UInt8] {
        let file = open(path(stream), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        let wanted = Int(max(0, min(Int64(SchedulerClient.logPieceLimit), size(stream) - offset)))
        return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            count = max(0, pread(file, buffer.baseAddress, wanted, off_t(offset)))
        }
    }
}

/// The worker's disk did not take a piece of output.
struct LogFailure: Error, Sendable, CustomStringConvertible {
    let description: String
    init(_ code: Int32) { description = "the worker cannot write it: \(String(cString: strerror(code)))" }
}

/// From the engine into the files.
struct LogCollector: Sendable {
    let files: LogFiles
    let engine: any ContainerEngine

    /// Collects until the container has ended and all is read; goes on from the files' sizes after each interruption.
    /// - Parameter hasEnded: whether the container is known to have ended: from then on, interruptions are counted.
    /// - Returns: why output is missing, if it is.
    func collect(_ container: String, hasEnded: @Sendable () async -> Bool) async -> String? {
        var pause = 100
        var failures = 0
        while !Task.isCancelled {
            var sizes = Dictionary(uniqueKeysWithValues: LogPiece.Stream.allCases.map { ($0, files.size($0)) })
            do {
                for try await piece in engine.logs(container, skip: sizes) {
                    if Task.isCancelled { return nil }
                    sizes[piece.stream] = try files.write(piece, at: sizes[piece.stream, default: 0])
                    (pause, failures) = (100, 0)
                }
                return nil
            } catch EngineError.noProof(let why) {
                return "a part of the output may be missing: \(why)"
            } catch {
                if await hasEnded() { failures += 1 }
                if failures > Self.mostFailures { return "a part of the output is missing: \(error)" }
            }
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { break }
            pause = min(pause * 2, 5_000)
        }
        return nil
    }

    /// About ten seconds of them.
    private static let mostFailures = 7
}

/// Sends one attempt's files to the scheduler. Used by one task at a time.
actor LogShipper {
    private let files: LogFiles
    private let attempt: AttemptID
    private let worker: WorkerName
    private let scheduler: any SchedulerConnection
    /// What the scheduler has, as far as this agent knows.
    private var sent: [LogPiece.Stream: Int64] = [:]
    private var complete: Set<LogPiece.Stream> = []

    init(files: LogFiles, attempt: AttemptID, worker: WorkerName, scheduler: any SchedulerConnection) {
        self.files = files
        self.attempt = attempt
        self.worker = worker
        self.scheduler = scheduler
    }

    /// Ships what grows until it is cancelled; a call that is under way then is still waited for. A program that ends
    /// within the first pause costs no call here.
    func follow() async {
        var pause = 200
        while true {
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { return }
            // Of its own, so that the end of the program does not break the connection.
            let hasGrown = await Task { await shipOnce() }.value
            pause = hasGrown ? 200 : min(pause * 2, 1_000)
        }
    }

    /// - Returns: whether there was something to ship.
    private func shipOnce() async -> Bool {
        var hasGrown = false
        for stream in LogPiece.Stream.allCases where files.size(stream) > sent[stream, default: 0] {
            guard !complete.contains(stream) else { continue }
            hasGrown = true
            // allowed: the next round, or the end, tries again
            try? await ship(stream, isLast: false)
        }
        return hasGrown
    }

    /// Ships all that is left and says that it is complete. Tries while the scheduler is away, until `isOver`; gives
    /// up when it
    /// refuses for good.
    func finish(unless isOver: @Sendable () async -> Bool) async {
        for stream in LogPiece.Stream.allCases where files.size(stream) > 0 {
            var pause = 100
            while !complete.contains(stream) {
                if await isOver() { return }
                do throws(Problem) {
                    try await ship(stream, isLast: true)
                    pause = 100
                } catch {
                    guard error.retryable || error.kind == .unavailable else { break }
                    try? await Task.sleep(for: .milliseconds(pause))  // allowed: nobody cancels a runner
                    pause = min(pause * 2, 5_000)
                }
            }
        }
    }

    private func ship(_ stream: LogPiece.Stream, isLast: Bool) async throws(Problem) {
        let offset = sent[stream, default: 0]
        let bytes = files.read(stream, from: offset)
        // What cannot be read will not be sent: better an end than an attempt that never ends.
        let reachesEnd = bytes.isEmpty || offset + Int64(bytes.count) >= files.size(stream)
        let position = try await scheduler.appendLog(
            worker: worker, attempt: attempt, stream == .stdout ? .stdout : .stderr, offset: offset, bytes: bytes,
            complete: isLast && reachesEnd)
        // The scheduler may end a stream before the worker does: at its own limit.
        if position.complete { complete.insert(stream) }
        guard position.complete || position.size != offset, position.size >= 0 else {
            throw Problem(.unavailable, "the scheduler did not take a piece of a log")
        }
        sent[stream] = position.size
    }
}
