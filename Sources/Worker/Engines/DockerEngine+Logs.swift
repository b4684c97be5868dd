// A container's exact output from the engine's log. dockerd keeps it with its `local` driver, because `json-file`
// replaces bytes that are no UTF-8; podman keeps `k8s-file`, which conmon writes byte for byte. Invariant: between
// two gaps, the pieces of a stream join to exactly what the program wrote, whoever died meanwhile.
import AsyncHTTPClient
import CLinux
import Foundation
import Glibc
import JobModel
import NIOCore

extension DockerEngine {
    package func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error> {
        logs(id, follow: true, skip: skip)
    }

    /// Without `follow` it ends with what the engine has now.
    func logs(_ id: String, follow: Bool, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<
        LogPiece, any Error
    > {
        let handoff = Handoff<LogPiece>()
        let reader = Task { [self] in
            do {
                try await readAll(id, follow: follow, skip: skip) { try await handoff.send($0) }
                await handoff.finish(nil)
            } catch {
                await handoff.finish(error)
            }
        }
        let lifetime = CancelOnDeinit(task: reader)
        return AsyncThrowingStream {
            _ = lifetime
            return try await handoff.next()
        }
    }

    /// The container's own output, and after it what services that failed wrote last.
    private func readAll(
        _ id: String, follow: Bool, skip: [LogPiece.Stream: Int64], _ give: @Sendable (LogPiece) async throws -> Void
    ) async throws {
        if follow, case .failed(_, let words)? = await services.outcome(of: id) {
            let rest = Array(words.utf8.dropFirst(Int(clamping: skip[.stderr] ?? 0)))
            if !rest.isEmpty { try await give(LogPiece(stream: .stderr, bytes: rest)) }
            return
        }
        try await readLogs(id, follow: follow, skip: skip, give)
        guard follow, let found = try await inspect(id), !found.serviceNames.isEmpty else { return }
        let words = await lastWords(after: found)
        if !words.isEmpty { try await give(LogPiece(stream: .stderr, bytes: Array(words.utf8))) }
    }

    /// Hands out the log: once while it grows, and again from where that ended until a reading after the end brings
    /// nothing new, because both engines may close a followed log before its last lines.
    private func readLogs(
        _ id: String, follow: Bool, skip: [LogPiece.Stream: Int64], _ give: @Sendable (LogPiece) async throws -> Void
    ) async throws {
        guard let found = try await inspect(id) else {
            throw EngineError.noProof("the container \(id.prefix(12)) is gone")
        }
        var position = skip
        if try wasRotated(found) {
            try await give(Self.gap)
            position = [:]
        }
        if case .podman = dialect, let path = found.host?.log?.path, access(path, R_OK) == 0 {
            return try await readPodmanFile(path, found, follow: follow, from: position, give)
        }
        guard follow else {
            _ = try await readOnce(found, follow: false, from: position, give)
            return
        }
        while true {
            let hasEnded = try await hasEnded(id)
            do {
                position = try await readOnce(found, follow: !hasEnded, from: position, give)
            } catch let error as InterruptedReading {
                position = error.position
                try await pause(.milliseconds(200))
                continue
            }
            if hasEnded { return }
        }
    }

    /// Podman's file, from its beginning until the container has ended.
    private func readPodmanFile(
        _ path: String, _ found: InspectedContainer, follow: Bool, from position: [LogPiece.Stream: Int64],
        _ give: @Sendable (LogPiece) async throws -> Void
    ) async throws {
        guard var file = PodmanLogFile(path: path) else { throw EngineError.noProof("the container's log is gone") }
        var rest = position
        var delay = Duration.milliseconds(10)
        var pid = found.state.pid
        var asked = ContinuousClock.now
        while true {
            // The state comes before the reading: what was written before the end is read after it.
            var hasEnded = !follow
            if follow, pid <= 0 || kill(pid_t(clamping: pid), 0) != 0 && errno == ESRCH || .now - asked > .seconds(10) {
                hasEnded = try await self.hasEnded(found.id)
                if !hasEnded { pid = try await inspect(found.id)?.state.pid ?? 0 }
                asked = .now
            }
            var isIdle = true
            while let pieces = try file.next() {
                try Task.checkCancellation()
                isIdle = false
                for piece in pieces {
                    let known = min(rest[piece.stream, default: 0], Int64(piece.bytes.count))
                    rest[piece.stream, default: 0] -= known
                    guard known < piece.bytes.count else { continue }
                    try await give(LogPiece(stream: piece.stream, bytes: Array(piece.bytes.dropFirst(Int(known)))))
                }
            }
            if hasEnded { return }
            delay = isIdle ? min(delay * 2, .milliseconds(200)) : .milliseconds(10)
            try await Task.sleep(for: delay)
        }
    }

    /// What stands in the output where the engine has dropped some, or may have.
    static let gap = LogPiece(
        stream: .stderr, bytes: Array("\n[jobctl: the engine's log reached its limit: output is missing here]\n".utf8))

    /// The connection broke. What was handed out until then stands.
    private struct InterruptedReading: Error { let position: [LogPiece.Stream: Int64] }

    /// Reads the log once from its beginning, and hands out what lies beyond `position`.
    private func readOnce(
        _ found: InspectedContainer, follow: Bool, from position: [LogPiece.Stream: Int64],
        _ give: (LogPiece) async throws -> Void
    ) async throws
        -> [LogPiece.Stream: Int64]
    {
        let flag = follow ? "true" : "false"
        let isDocker = if case .docker = dialect { true } else { false }
        let query = [
            ("stdout", "true"), ("stderr", "true"), ("follow", flag), ("timestamps", isDocker ? "true" : "false"),
        ]
        let response = try await http.open(.GET, container(found.id, "/logs"), query: query, within: EngineHTTP.endless)
        guard response.status.code == 200 else {
            let body = try await response.body.collect(upTo: 1 << 20)
            throw EngineAnswer(call: "logs of \(found.id)", status: Int(response.status.code), body: body).failure
        }
        var demultiplexer = LogDemultiplexer(isLocalDriver: isDocker)
        var seen: [LogPiece.Stream: Int64] = [:]
        var given = position
        var limit = keptAtLeast(found)
        func pass(_ piece: LogPiece) async throws {
            let before = seen[piece.stream, default: 0]
            let after = before + Int64(piece.bytes.count)
            seen[piece.stream] = after
            let known = min(max(given[piece.stream, default: 0] - before, 0), Int64(piece.bytes.count))
            guard known < piece.bytes.count else { return }
            try await give(LogPiece(stream: piece.stream, bytes: Array(piece.bytes.dropFirst(Int(known)))))
            given[piece.stream] = after
        }
        do {
            for try await buffer in response.body {
                for piece in try demultiplexer.take(buffer.readableBytesView) {
                    if let least = limit, demultiplexer.storedEstimate > least {
                        limit = nil
                        try await give(Self.gap)
                    }
                    try await pass(piece)
                }
            }
        } catch let error as HTTPClientError where error != .cancelled {
            throw InterruptedReading(position: given)
        } catch is IOError {
            throw InterruptedReading(position: given)
        }
        if !follow {
            for stream in demultiplexer.unsettled where endsWithLineFeed(found, stream) {
                try await pass(LogPiece(stream: stream, bytes: [UInt8(ascii: "\n")]))
            }
        }
        return given
    }

    /// Whether a long last line of an ended container has a line feed. Where dockerd's file cannot be read it is
    /// taken to have one, as nearly all output does.
    private func endsWithLineFeed(_ found: InspectedContainer, _ stream: LogPiece.Stream) -> Bool {
        guard let dataFolder else { return true }
        return LocalLogFile.lastLineIsComplete(folder: "\(dataFolder)/containers/\(found.id)/local-logs", stream)
            ?? true
    }

    private func hasEnded(_ id: String) async throws(EngineError) -> Bool {
        let asked = ContinuousClock.now
        while true {
            let found: InspectedContainer?
            do throws(EngineError) {
                found = try await inspect(id)
            } catch {
                guard error.isUnavailable, !Task.isCancelled else { throw error }
                try await pause(.milliseconds(500))
                continue
            }
            guard let found else { throw .noProof("the container \(id.prefix(12)) is gone") }
            switch found.state.judge() {
            case .ended: return true
            case .notStarted, .running: return false
            // The last output may still be on its way into the log.
            case .ending:
                if .now - asked > Self.patience { return true }
                try await pause(.milliseconds(50))
            }
        }
    }

    /// How much of its log dockerd holds at least, once it has dropped some: a log that is shorter is whole.
    private func keptAtLeast(_ found: InspectedContainer) -> Int64? {
        guard case .docker = dialect, let options = found.host?.log?.options,
            let size = options["max-size"].flatMap({ Int64($0) }),
            let files = options["max-file"].flatMap({ Int64($0) }), size > 0, files > 1
        else { return nil }
        let (least, overflowed) = size.multipliedReportingOverflow(by: files - 1)
        return overflowed ? nil : least
    }

    /// Whether podman's log was begun anew. conmon replaces the file when it is full, so a file that is younger than
    /// the container's start is not the first. Only told where the agent may look at the file.
    private func wasRotated(_ found: InspectedContainer) throws -> Bool {
        guard case .podman = dialect, let path = found.host?.log?.path, path.hasPrefix("/"),
            let started = RecordedState.time(found.state.startedAt), let born = birthTime(of: path)
        else { return false }
        return born > started
    }
}

/// When the file was made, where its file system knows.
private func birthTime(of path: String) -> Timestamp? {
    let milliseconds = jc_birth_milliseconds(path)
    return milliseconds > 0 ? Timestamp(millisecondsSinceEpoch: milliseconds) : nil
}

/// Ends the reading task when the stream that it feeds is dropped.
private final class CancelOnDeinit: Sendable {
    private let task: Task<Void, Never>
    init(task: Task<Void, Never>) { self.task = task }
    deinit { task.cancel() }
}

extension DockerEngine {
    /// What the init says if it could not start the program: the program's fault, told like a shell tells it.
    ///
    /// The witness and docker's tini exit with 126 or 127, podman's catatonit with 1; each writes one line to stderr
    /// and nothing else was written.
    func initFailure(of id: String) async throws(EngineError) -> (exitCode: Int, message: String)? {
        var output: [UInt8] = []
        do {
            for try await piece in logs(id, follow: false, skip: [:]) {
                guard piece.stream == .stderr, output.count + piece.bytes.count <= 4096 else { return nil }
                output += piece.bytes
            }
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError(EngineError.unavailable, "the container's log could not be read", cause: "\(error)")
        }
        return Self.initFailure(in: String(decoding: output, as: UTF8.self))
    }

    static func initFailure(in text: String) -> (exitCode: Int, message: String)? {
        guard text.hasSuffix("\n"), !text.dropLast().contains("\n") else { return nil }
        let line = text.dropLast()
        let reason: Substring
        if line.hasPrefix(Witness.complaint), let number = Int32(line.dropFirst(Witness.complaint.count)) {
            reason = Substring(String(cString: strerror(number)))
        } else if line.hasPrefix("[FATAL tini ("), let end = line.range(of: " failed: ") {
            reason = line[end.upperBound...]
        } else if line.hasPrefix("ERROR (catatonit:"), let end = line.range(of: "failed to exec pid1: ") {
            reason = line[end.upperBound...]
        } else {
            return nil
        }
        return reason == "No such file or directory"
            ? (127, "the command was not found in the image")
            : (126, "the command could not be started: \(reason.prefix(200))")
    }
}
