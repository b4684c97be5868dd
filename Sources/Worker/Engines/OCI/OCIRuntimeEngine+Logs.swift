// A container's output from the runner's own files, which hold exactly what the program wrote up to the limit.
import Foundation
import Glibc
import JobModel
import RunnerCore

extension OCIRuntimeEngine {
    package func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error> {
        let reader = RunnerLogReader(engine: self, id: id, skip: skip)
        return AsyncThrowingStream { try await reader.next() }
    }

    package func logFile(_ attempt: AttemptID, _ stream: LogPiece.Stream) -> String? { path(stream, folder(attempt)) }

    fileprivate func path(_ stream: LogPiece.Stream, _ folder: RunnerFolder) -> String {
        switch stream {
        case .stdout: folder.stdout
        case .stderr: folder.stderr
        }
    }

    /// Whether nothing more will be written.
    fileprivate func isOver(_ attempt: AttemptID, _ folder: RunnerFolder) -> Bool {
        if access(folder.end, F_OK) == 0 { return true }
        return !processes.adopt(attempt, folder: folder) && (hasBegun(folder) || access(folder.path, F_OK) != 0)
    }
}

/// Where a reader of an attempt's output is.
private actor RunnerLogReader {
    private let engine: OCIRuntimeEngine
    private let id: String
    private var offsets: [LogPiece.Stream: Int64]
    private var delay = Duration.milliseconds(2)

    init(engine: OCIRuntimeEngine, id: String, skip: [LogPiece.Stream: Int64]) {
        self.engine = engine
        self.id = id
        offsets = skip
    }

    func next() async throws -> LogPiece? {
        let (attempt, folder) = try engine.known(id)
        while true {
            try Task.checkCancellation()
            // The state comes before the reading: what was written before the end is read after it.
            let isOver = engine.isOver(attempt, folder)
            for stream in LogPiece.Stream.allCases {
                if let piece = read(stream, folder) {
                    delay = .milliseconds(2)
                    return piece
                }
            }
            if isOver { return nil }
            await engine.processes.ended(attempt, within: delay)
            delay = min(delay * 2, .milliseconds(200))
        }
    }

    private func read(_ stream: LogPiece.Stream, _ folder: RunnerFolder) -> LogPiece? {
        let file = open(engine.path(stream, folder), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return nil }
        defer { close(file) }
        // Not a divisor of the limit: the line after the limit comes with bytes before it.
        var buffer = [UInt8](repeating: 0, count: 250_000)
        let count = pread(file, &buffer, buffer.count, off_t(offsets[stream, default: 0]))
        guard count > 0 else { return nil }
        offsets[stream, default: 0] += Int64(count)
        return LogPiece(stream: stream, bytes: Array(buffer[..<count]))
    }
}
